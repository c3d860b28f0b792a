"""The block `monitor.responses`: what is bound to which rule, and what makes a response unsafe."""

import json

import pytest

from lessee.config.monitor import response_name, tag_of
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHpE5vGv0W0sNn4Ndm0Q2X5Zr0O7Qh8yqkq7f5yZ5A1B alice@example.org"
DENIALS = {"consecutive_denials": 5}
REVOKE = {"rule": "consecutive-denials", "action": "revoke-token"}
EMERGENCY = {"rule": "consecutive-denials", "action": "emergency", "path": "a", "approval": "required"}
APPROVAL = {"approvers": {"alice": KEY}, "approvals_dir": "/var/lib/approvals"}


def read(*actions, audit=None, alerts=None, watch=(), **responses):
    responses = {"actions": list(actions), "protected": [], **responses}
    monitor = {"audit": audit or {"file": "a"}, "alerts": alerts or DENIALS, "watch": list(watch)}
    text = json.dumps({"monitor": {**monitor, "responses": responses}})
    return parse(text, source="lessee.yaml", environ={}, blocks=("monitor",)).monitor.responses


def problems(*actions, **settings):
    with pytest.raises(ConfigError) as info:
        read(*actions, **settings)
    return str(info.value)


def test_a_response_is_off_until_it_is_configured_and_then_bounded():
    text = json.dumps({"monitor": {"audit": {"file": "a"}}})
    assert parse(text, source="lessee.yaml", environ={}, blocks=("monitor",)).monitor.responses is None
    [response] = read(REVOKE).actions
    assert (response.max_per_hour, response.dry_run, response.approval) == (1, False, "none")


def test_a_response_has_its_own_name_or_that_of_its_action_and_rule():
    first, second = read(REVOKE, {**REVOKE, "name": "second"}).actions
    assert (response_name(first), response_name(second)) == ("revoke-token.consecutive-denials", "second")
    assert tag_of(first) == "revoke-token"


def test_the_protected_must_be_listed():
    text = json.dumps({"monitor": {"audit": {"file": "a"}, "alerts": DENIALS, "responses": {"actions": [REVOKE]}}})
    with pytest.raises(ConfigError, match=r"monitor.responses.protected: missing"):
        parse(text, source="lessee.yaml", environ={}, blocks=("monitor",))


@pytest.mark.parametrize("audit", [{"socket": "localhost:9"}, {"stdin": True}, [{"name": "a", "socket": "/run/a"}]])
def test_a_log_whose_lines_another_client_may_forge_causes_no_response(audit):
    assert "monitor.responses: responses need audit logs that are files" in problems(REVOKE, audit=audit)


def test_two_responses_need_two_names_because_each_has_its_budget():
    assert "monitor.responses.actions[1]: " in (found := problems(REVOKE, REVOKE))
    assert "has the same name, revoke-token.consecutive-denials; write another `name:`" in found


def test_a_response_names_a_rule_that_exists():
    found = problems({**REVOKE, "rule": "reads-per-hour"})
    assert (
        "actions[0].rule: no rule has the name reads-per-hour; the rules are: audit-changed, audit-off, auth-" in found
    )
    assert read({**REVOKE, "rule": "reads-per-hour"}, alerts={"reads_per_hour": 5})
    assert read({**REVOKE, "rule": "mine"}, alerts={"rules": [{"rule": "denials", "name": "mine"}]})
    assert read({**REVOKE, "rule": "policy-changed"})
    assert "no rule has" in problems({**REVOKE, "rule": "policy-changed"}, alerts={"default_rules": False})
    # A configured rule replaces the default one of its type.
    replaced = {"rules": [{"rule": "policy-changed", "name": "mine"}]}
    assert "no rule has" in problems({**REVOKE, "rule": "policy-changed"}, alerts=replaced)


def test_rules_about_services_need_services():
    command = {"rule": "agent-silent", "action": "command", "command": ["true"]}
    assert "no rule has the name agent-silent" in problems(command)
    assert read(command, watch=["/run/a.sock"])


@pytest.mark.parametrize("action", ["revoke-token", "disable-role"])
def test_only_a_rule_about_requests_has_something_to_strike(action):
    found = problems({"rule": "audit-off", "action": action})
    assert f"alerts of this rule are not about requests, so {action} has nothing to strike" in found
    assert f"{action} never strikes a root token" in problems({"rule": "root-token", "action": action})
    assert read({"rule": "root-token", "action": "command", "command": ["true"]})


def test_an_emergency_always_needs_an_approval():
    assert read(EMERGENCY, **APPROVAL)
    found = problems({**EMERGENCY, "approval": "none"}, **APPROVAL)
    assert "actions[0].approval: an emergency ends the access of all apps" in found


@pytest.mark.parametrize("missing", APPROVAL)
def test_an_approval_needs_approvers_and_a_place_for_their_signatures(missing):
    settings = {key: value for key, value in APPROVAL.items() if key != missing}
    found = problems({**REVOKE, "approval": "required"}, **settings)
    assert (
        "actions[0].approval: the configuration has no approver for it; write `approvers` and `approvals_dir`" in found
    )


@pytest.mark.parametrize("key", ["ssh-rsa AAAAB3NzaC1yc2E= a", KEY[:60], "alice"])
def test_an_approver_has_an_ed25519_key(key):
    found = problems({**REVOKE, "approval": "required"}, approvers={"a": key}, approvals_dir="/a")
    assert "expected an SSH public key `ssh-ed25519 AAAA…`" in found
