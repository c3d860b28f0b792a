"""What Vault itself makes or keeps: random values, and the secret_ids of AppRoles."""

import json
import secrets
from itertools import count, pairwise

import pytest

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.setup.policy.initial_values import ALPHABET
from support.environments.rotation_targets import RotationTarget
from support.systems.approle import SecretIds
from support.systems.vault import VaultValues


@pytest.fixture
def values(bao, tmp_path):
    return RotationTarget(bao, tmp_path, VaultValues(tmp_path))


@pytest.fixture
def role(bao, tmp_path):
    return RotationTarget(bao, tmp_path, SecretIds())


def _set(target, **settings):
    target.config["rotation"]["target"].update(settings)
    target.write_config()


def _role(target, **settings):
    target.bao.ask("POST", f"auth/approle/role/{target.system.role}", settings)


def test_the_previous_value_stays_in_the_secret(values):
    """Who checks a signature takes both; only who signs needs the new one."""
    chain = [values.fields()["secret"]]
    for _ in range(3):
        values.rotate()
        fields = values.fields()
        assert fields["old"] == chain[-1]
        chain.append(fields["secret"])
    assert len(set(chain)) == 4


def test_each_version_has_the_new_and_the_previous_value(values):
    """There is no version of the secret in which one of the two is missing."""
    for _ in range(3):
        values.rotate()
    newest = values.metadata()["current_version"]
    found = [values.fields(version=version) for version in range(1, newest + 1)]
    assert all(after["old"] == before["secret"] for before, after in pairwise(found))


def test_values_have_the_configured_length_and_charset(values):
    _set(values, keys={"session": {}, "pin": {"generate": 9, "charset": "01"}})
    values.rotate()
    fields = values.fields()
    assert len(fields["session"]) == 48
    assert set(fields["session"]) <= set(ALPHABET)
    assert len(fields["pin"]) == 9
    assert set(fields["pin"]) <= {"0", "1"}
    assert fields["issuer"] == "simba"


def test_without_a_value_no_previous_value_is_published(values):
    """An empty one would be a key that everybody has."""
    _set(values, keys={"fresh": {"previous_key": "stale"}})
    values.rotate()
    assert "stale" not in values.fields()
    first = values.fields()["fresh"]
    values.rotate()
    assert values.fields()["stale"] == first


def test_a_missing_secret_is_created(values):
    _set(values, secret="sessions/new", keys={"key": {}})
    values.secret_path = "sessions/new"
    values.rotate()
    assert len(values.fields()["key"]) == 48


def test_a_target_without_keys_and_approle_is_rejected(values):
    _set(values, keys={})
    with pytest.raises(LesseeError, match=r"rotation\.target\.keys: missing, and there is no `approle`; write `keys:`"):
        values.rotate()


def test_other_secret_ids_stay_valid(role):
    path = f"auth/approle/role/{role.system.role}/secret-id"
    theirs = role.bao.ask("POST", path, {"metadata": json.dumps({"lessee_rotation": "another"})})["data"]
    before = role.fields()
    role.rotate()
    fields = role.fields()
    assert role.system.orphans(fields) == {theirs["secret_id_accessor"]}
    assert fields["role_id"] == before["role_id"]
    assert not role.system.accepts(before)


def test_a_secret_id_has_the_rotation_in_its_metadata(role):
    role.rotate()
    path = f"auth/approle/role/{role.system.role}/secret-id-accessor/lookup"
    found = role.bao.ask("POST", path, {"secret_id_accessor": role.system.accessor_of(role.fields())})["data"]
    assert found["metadata"]["lessee_target"] == "target"
    assert found["metadata"]["lessee_rotation"] == role.metadata()["custom_metadata"]["rotation_id"]


def test_only_secret_ids_of_the_interrupted_rotation_are_destroyed(role, bao):
    """Killed at each call, while another makes secret_ids of the same role."""
    path, theirs = f"auth/approle/role/{role.system.role}/secret-id", set()
    for call_index in count(4):
        if not role.rotate_and_kill(call_index, after=True):
            break
        theirs.add(bao.ask("POST", path, {})["data"]["secret_id_accessor"])
        role.recover()
        assert role.system.orphans(role.fields()) == theirs
    assert len(theirs) >= 10


def test_a_secret_id_that_a_user_has_replaced_is_destroyed(role, bao):
    role.rotate()
    path = f"auth/approle/role/{role.system.role}/secret-id"
    theirs = bao.ask("POST", path, {})["data"]["secret_id"]
    role.put(role.secret_path, **{**role.fields(), "secret_id": theirs})
    role.rotate()
    assert role.system.orphans(role.fields()) == set()


def test_both_secret_ids_work_until_all_consumers_have_confirmed(role):
    _set(role, consumers=["simba"], confirmation_timeout="1h")
    before = role.fields()
    assert role.rotate(wait=False) is Outcome.ROTATED
    assert role.system.accepts(before)
    assert role.system.accepts(role.fields())
    role.confirm()
    role.rotate(finish_only=True)
    assert not role.system.accepts(before)


def test_a_manually_published_secret_id_stays_and_the_pending_one_is_destroyed(role, bao):
    """The one that was made and not published is destroyed."""
    path = f"auth/approle/role/{role.system.role}/secret-id"
    for call_index in count():
        assert role.rotate_and_kill(call_index, after=True)
        if role.journal.pending:
            break
    theirs = bao.ask("POST", path, {})["data"]
    role.put(role.secret_path, **{**role.fields(), "secret_id": theirs["secret_id"]})
    before = role.journal.pending_handle
    role.rotate(finish_only=True)
    assert role.fields()["secret_id"] == theirs["secret_id"]
    assert before not in role.system.accessors()


def test_a_verification_leaves_no_token(role, bao):
    def tokens():
        return set(bao.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])

    before = tokens()
    role.rotate()
    assert tokens() <= before


def test_a_secret_may_have_random_values_and_a_secret_id(role):
    _set(role, keys={"signing": {"previous_key": "signing_before"}})
    role.rotate()
    first = role.fields()
    role.rotate()
    fields = role.fields()
    assert fields["signing_before"] == first["signing"] != fields["signing"]
    assert role.system.accepts(fields)


def test_an_approle_at_another_mount_is_rotated(role, bao):
    mount = f"auth-{secrets.token_hex(4)}"
    bao.ask("POST", f"sys/auth/{mount}", {"type": "approle"})
    bao.ask("POST", f"auth/{mount}/role/web", {"token_ttl": "5m"})
    role_id = bao.ask("GET", f"auth/{mount}/role/web/role-id")["data"]["role_id"]
    role.put(role.secret_path, role_id=role_id)
    _set(role, approle="web", mount=mount)
    role.rotate()
    login = {key: role.fields()[key] for key in ("role_id", "secret_id")}
    assert bao.ask("POST", f"auth/{mount}/login", login)["auth"]["client_token"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"secret_id_num_uses": 1}, "a secret_id is good for one login, which the proof takes; set secret_id_num_us"),
        (
            {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.0/8"]},
            "a login of this role takes no secret_id; set bind_secret_id=true",
        ),
    ],
)
def test_an_unsuitable_approle_is_rejected(role, settings, told):
    _role(role, **settings)
    before, accessors = role.fields(), role.system.accessors()
    with pytest.raises(SystemRefusedError) as caught:
        role.rotate()
    assert f"auth/approle/role/{role.system.role}: {told}" in str(caught.value)
    assert (role.fields(), role.system.accessors()) == (before, accessors)


def test_a_missing_approle_is_reported(role):
    _set(role, approle="nobody")
    with pytest.raises(
        SystemRefusedError, match="role/nobody: there is no such AppRole; make it: bao write auth/approle"
    ):
        role.rotate()


def test_limits_of_a_secret_id_are_logged(role, caplog):
    _role(role, secret_id_num_uses=5, secret_id_ttl="1h")
    _set(role, rotation_period="2h")
    role.rotate()
    told = {record.getMessage(): record.fields for record in caplog.records}
    assert told["each proof takes one of a secret_id's logins"]["logins"] == 5
    assert told["a secret_id ends before the next one comes"]["ttl"] == 3600


def test_a_rejected_secret_id_is_not_published(role, caplog):
    _role(role, secret_id_bound_cidrs=["10.0.0.0/8"])
    before, accessors = role.fields(), role.system.accessors()
    with pytest.raises(
        SystemRefusedError, match="the new credential is not let in; see the system's log: may the login be"
    ):
        role.rotate()
    assert (role.fields(), role.system.accessors()) == (before, accessors)
    assert role.journal.failures == 1
    assert before["secret_id"] not in caplog.text


RIGHTS = """
path "secret/+/{environment}/*" {{ capabilities = ["create", "read", "update", "list", "delete"] }}
path "{role}" {{ capabilities = ["read"] }}
path "{role}/role-id" {{ capabilities = ["read"] }}
path "{role}/secret-id" {{ capabilities = ["list", "update"] }}
path "{role}/secret-id/lookup" {{ capabilities = ["update"] }}
path "{role}/secret-id-accessor/lookup" {{ capabilities = ["update"] }}
path "{role}/secret-id-accessor/destroy" {{ capabilities = ["update"] }}
"""


def test_the_documented_permissions_are_enough(role, bao, monkeypatch):
    path = f"auth/approle/role/{role.system.role}"
    name, policy = f"rotator-{role.environment}", RIGHTS.format(environment=role.environment, role=path)
    bao.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    token = bao.ask("POST", "auth/token/create", {"policies": [name]})["auth"]["client_token"]
    monkeypatch.setattr("support.environments.rotation_targets.ROOT_TOKEN", token)
    before = role.fields()
    role.rotate()
    assert role.system.accepts(role.fields())
    assert not role.system.accepts(before)
