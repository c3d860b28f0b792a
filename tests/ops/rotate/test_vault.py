"""Credentials that only Vault has: random values, and the secret_ids of AppRoles."""

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


def _configure(target, **settings):
    target.config["rotation"]["target"].update(settings)
    target.write_config()


def _configure_role(target, **settings):
    target.bao.ask("POST", f"auth/approle/role/{target.system.role}", settings)


def test_the_previous_value_stays_in_the_secret(values):
    """Clients accept signatures of both; only the signer needs the new one."""
    chain = [values.fields()["secret"]]
    for _ in range(3):
        values.rotate()
        fields = values.fields()
        assert fields["old"] == chain[-1]
        chain.append(fields["secret"])
    assert len(set(chain)) == 4


def test_each_version_has_the_new_and_the_previous_value(values):
    """No version of the secret lacks one of them."""
    for _ in range(3):
        values.rotate()
    newest = values.metadata()["current_version"]
    versions = [values.fields(version=version) for version in range(1, newest + 1)]
    assert all(after["old"] == before["secret"] for before, after in pairwise(versions))


def test_values_have_the_configured_length_and_charset(values):
    _configure(values, keys={"session": {}, "pin": {"generate": 9, "charset": "01"}})
    values.rotate()
    fields = values.fields()
    assert len(fields["session"]) == 48
    assert set(fields["session"]) <= set(ALPHABET)
    assert len(fields["pin"]) == 9
    assert set(fields["pin"]) <= {"0", "1"}
    assert fields["issuer"] == "simba"


def test_without_a_value_no_previous_value_is_published(values):
    """An empty value would be a key that everyone has."""
    _configure(values, keys={"current": {"previous_key": "previous"}})
    values.rotate()
    assert "previous" not in values.fields()
    first = values.fields()["current"]
    values.rotate()
    assert values.fields()["previous"] == first


def test_a_missing_secret_is_created(values):
    _configure(values, secret="sessions/new", keys={"key": {}})
    values.secret_path = "sessions/new"
    values.rotate()
    assert len(values.fields()["key"]) == 48


def test_a_target_without_keys_and_approle_is_rejected(values):
    _configure(values, keys={})
    with pytest.raises(LesseeError, match=r"rotation\.target\.keys: missing, and `approle` is missing too; write"):
        values.rotate()


def test_other_secret_ids_stay_valid(role):
    path = f"auth/approle/role/{role.system.role}/secret-id"
    other = role.bao.ask("POST", path, {"metadata": json.dumps({"lessee_rotation": "another"})})["data"]
    before = role.fields()
    role.rotate()
    fields = role.fields()
    assert role.system.orphans(fields) == {other["secret_id_accessor"]}
    assert fields["role_id"] == before["role_id"]
    assert not role.system.accepts(before)


def test_a_secret_id_has_the_rotation_in_its_metadata(role):
    role.rotate()
    path = f"auth/approle/role/{role.system.role}/secret-id-accessor/lookup"
    secret_id = role.bao.ask("POST", path, {"secret_id_accessor": role.system.accessor_of(role.fields())})["data"]
    assert secret_id["metadata"]["lessee_target"] == "target"
    assert secret_id["metadata"]["lessee_rotation"] == role.metadata()["custom_metadata"]["rotation_id"]


def test_only_secret_ids_of_the_interrupted_rotation_are_destroyed(role, bao):
    """The rotator is killed at each call, while another client creates secret_ids of the same role."""
    path, others = f"auth/approle/role/{role.system.role}/secret-id", set()
    for call_index in count(4):
        if not role.rotate_and_kill(call_index, after=True):
            break
        others.add(bao.ask("POST", path, {})["data"]["secret_id_accessor"])
        role.recover()
        assert role.system.orphans(role.fields()) == others
    assert len(others) >= 10


def test_a_secret_id_that_a_user_has_replaced_is_destroyed(role, bao):
    role.rotate()
    path = f"auth/approle/role/{role.system.role}/secret-id"
    manual = bao.ask("POST", path, {})["data"]["secret_id"]
    role.put(role.secret_path, **{**role.fields(), "secret_id": manual})
    role.rotate()
    assert role.system.orphans(role.fields()) == set()


def test_both_secret_ids_work_until_all_consumers_have_confirmed(role):
    _configure(role, consumers=["simba"], confirmation_timeout="1h")
    before = role.fields()
    assert role.rotate(wait=False) is Outcome.ROTATED
    assert role.system.accepts(before)
    assert role.system.accepts(role.fields())
    role.confirm()
    role.rotate(finish_only=True)
    assert not role.system.accepts(before)


def test_a_manually_published_secret_id_stays_and_the_pending_one_is_destroyed(role, bao):
    path = f"auth/approle/role/{role.system.role}/secret-id"
    for call_index in count():
        assert role.rotate_and_kill(call_index, after=True)
        if role.journal.pending:
            break
    manual = bao.ask("POST", path, {})["data"]
    role.put(role.secret_path, **{**role.fields(), "secret_id": manual["secret_id"]})
    pending = role.journal.pending_handle
    role.rotate(finish_only=True)
    assert role.fields()["secret_id"] == manual["secret_id"]
    assert pending not in role.system.accessors()


def test_a_verification_leaves_no_token(role, bao):
    def tokens():
        return set(bao.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])

    before = tokens()
    role.rotate()
    assert tokens() <= before


def test_a_secret_may_have_random_values_and_a_secret_id(role):
    _configure(role, keys={"signing": {"previous_key": "signing_before"}})
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
    _configure(role, approle="web", mount=mount)
    role.rotate()
    login = {key: role.fields()[key] for key in ("role_id", "secret_id")}
    assert bao.ask("POST", f"auth/{mount}/login", login)["auth"]["client_token"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"secret_id_num_uses": 1}, "a secret_id allows one login, which its verification needs; set secret_id_num_us"),
        (
            {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.0/8"]},
            "the AppRole does not use secret_ids; set bind_secret_id=true",
        ),
    ],
)
def test_an_unsuitable_approle_is_rejected(role, settings, text):
    _configure_role(role, **settings)
    before, accessors = role.fields(), role.system.accessors()
    with pytest.raises(SystemRefusedError) as caught:
        role.rotate()
    assert f"auth/approle/role/{role.system.role}: {text}" in str(caught.value)
    assert (role.fields(), role.system.accessors()) == (before, accessors)


def test_a_missing_approle_is_reported(role):
    _configure(role, approle="missing")
    with pytest.raises(
        SystemRefusedError, match="role/missing: the AppRole does not exist; create it: bao write auth/approle"
    ):
        role.rotate()


def test_limits_of_a_secret_id_are_logged(role, caplog):
    _configure_role(role, secret_id_num_uses=5, secret_id_ttl="1h")
    _configure(role, rotation_period="2h")
    role.rotate()
    logged = {record.getMessage(): record.fields for record in caplog.records}
    assert logged["secret_id logins limited"]["logins"] == 5
    assert logged["secret_id expires before its rotation"]["ttl"] == 3600


def test_a_rejected_secret_id_is_not_published(role, caplog):
    _configure_role(role, secret_id_bound_cidrs=["10.0.0.0/8"])
    before, accessors = role.fields(), role.system.accessors()
    with pytest.raises(
        SystemRefusedError, match="the system rejects the new credential; see the system's log: may the login be"
    ):
        role.rotate()
    assert (role.fields(), role.system.accessors()) == (before, accessors)
    assert role.journal.failures == 1
    assert before["secret_id"] not in caplog.text


POLICY = """
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
    name, policy = f"rotator-{role.environment}", POLICY.format(environment=role.environment, role=path)
    bao.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    token = bao.ask("POST", "auth/token/create", {"policies": [name]})["auth"]["client_token"]
    monkeypatch.setattr("support.environments.rotation_targets.ROOT_TOKEN", token)
    before = role.fields()
    role.rotate()
    assert role.system.accepts(role.fields())
    assert not role.system.accepts(before)
