"""The monitor's policy grants what its responses change, and nothing that would undo or widen it."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.hcl import parse as parse_hcl
from lessee.ops.access.policy.monitor_policy import DISABLED, of_monitor, rules
from lessee.ops.monitor.responses import vault_actions

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHpE5vGv0W0sNn4Ndm0Q2X5Zr0O7Qh8yqkq7f5yZ5A1B"
REVOKE = {"rule": "policy-changed", "action": "revoke-token"}
DISABLE = {"rule": "policy-changed", "action": "disable-role"}
COMMAND = {"rule": "policy-changed", "action": "command", "command": ["true"]}
EMERGENCY = {"rule": "policy-changed", "action": "emergency", "path": "database", "approval": "required"}
LOOK = {"auth/token/lookup-accessor": "update", "sys/capabilities-accessor": "update"}
OWN = {"auth/token/lookup-self": "read", "auth/token/renew-self": "update", "auth/token/revoke-self": "update"}
NETWORKS = "auth/approle/role/{}/secret-id-bound-cidrs"
DENIED = {NETWORKS.format(f"{one}-{kind}"): "deny" for one in ("testing", "staging") for kind in ("rotator", "monitor")}


def read(*actions, rotation=None, **responses):
    responses = {"actions": list(actions), "protected": [], "approvers": {"a": KEY}, "approvals_dir": "/a", **responses}
    said = {
        "environment": "testing",
        "setup": {"environments": ["staging"]},
        "monitor": {"audit": {"file": "a"}, "responses": responses},
        "rotation": rotation or {},
    }
    return parse(json.dumps(said), source="x", environ={}, blocks=("monitor", "rotation"))


def granted(*actions, **settings):
    made = rules(read(*actions, **settings))
    assert [rule.path for rule in made] == sorted({rule.path for rule in made})
    assert all(rule.comments for rule in made)
    return {rule.path: ", ".join(rule.capabilities) for rule in made}


def test_without_a_response_that_needs_vault_there_is_no_policy():
    assert rules(parse("environment: a", source="x", environ={})) == ()
    assert rules(parse("monitor: {audit: {file: a}}", source="x", environ={}, blocks=("monitor",))) == ()
    assert of_monitor("monitor", read(COMMAND)) == ""


def test_the_metrics_of_the_cluster_need_to_read_its_raft_peers():
    read_only = "monitor: {audit: {file: a}, cluster: {}}"
    made = rules(parse(read_only, source="x", environ={}, blocks=("monitor",)))
    assert {rule.path: ", ".join(rule.capabilities) for rule in made} == {
        **OWN, "sys/storage/raft/configuration": "read",
    }  # fmt: skip
    said = parse(read_only, source="x", environ={}, blocks=("monitor",))
    assert of_monitor("a-monitor", said).startswith("# a-monitor: counts the raft peers\n")


def test_a_revocation_needs_to_look_and_to_revoke():
    assert granted(REVOKE, COMMAND) == {**LOOK, **OWN, "auth/token/revoke-accessor": "update"}
    assert granted({**REVOKE, "dry_run": True}) == {**LOOK, **OWN}


def test_hashed_accessors_are_compared_with_those_of_all_tokens():
    assert granted({**REVOKE, "dry_run": True}, audit_device="file") == {
        **LOOK, **OWN, "auth/token/accessors": "list, sudo", "sys/audit-hash/file": "update",
    }  # fmt: skip


def test_a_role_can_only_be_disabled_and_a_protected_one_cannot():
    protected = ["CI-deploy", "ops-*", "a/b", "x?", "[ab]"]
    assert granted(DISABLE, protected=protected) == {
        **LOOK, **OWN, **DENIED, NETWORKS.format("+"): "read, update", NETWORKS.format("ci-deploy"): "deny",
    }  # fmt: skip
    assert granted({**DISABLE, "dry_run": True})[NETWORKS.format("+")] == "read"
    text = of_monitor("testing-monitor", read(DISABLE))
    assert text.startswith("# testing-monitor: responds to alerts\n")
    allowed = f'  allowed_parameters = {{\n    "secret_id_bound_cidrs" = ["{DISABLED}"]\n  }}\n'
    assert text.count(allowed) == 1
    assert parse_hcl(text, "policy")
    assert DISABLED == vault_actions.DISABLED


ROTATION = {
    "inside": {"kind": "vault", "secret": "database/one", "keys": {"password": {}}},
    "admin": {"kind": "redis", "secret": "cache/one", "admin_secret": "database/admin", "user": "app"},
    "outside": {"kind": "vault", "secret": "databases", "keys": {"password": {}}},
}


def test_an_emergency_rotates_the_targets_of_its_path_alone():
    found = granted(EMERGENCY, rotation=ROTATION)
    assert found["secret/metadata/testing/database/*"] == "list, read"
    assert found["auth/approle/role/+/secret-id-accessor/destroy"] == "update"
    assert found["secret/data/testing/database/one"] == "create, read, update"
    assert found["secret/data/testing/cache/one"] == "create, read, update"
    assert "secret/data/testing/databases" not in found
    assert not any(path.startswith("secret/data/") for path in granted(EMERGENCY))


@pytest.mark.parametrize("actions", [(REVOKE,), (DISABLE,), (EMERGENCY,), (REVOKE, DISABLE, EMERGENCY)])
def test_no_response_may_write_a_policy_a_role_or_a_token(actions):
    writable = [
        path for path, capabilities in granted(*actions).items() if set(capabilities.split(", ")) & {"create", "update"}
    ]
    assert not [path for path in writable if path.startswith(("sys/policies", "sys/auth", "auth/token/create"))]
    assert {path for path in writable if path.startswith("auth/approle/role/")} <= {
        NETWORKS.format("+"), "auth/approle/role/+/secret-id-accessor/destroy",
    }  # fmt: skip
