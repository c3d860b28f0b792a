"""Rotation of MinIO's service accounts, with a stand-in for MinIO."""

import json
import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

from lessee.config.grammar import rotation as grammar
from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds import aws, kind_of
from lessee.ops.rotate.kinds.kind import Case, KindContext, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.minio import ServiceAccounts
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget, StoppedClock
from support.needs import need
from support.servers.fault_proxy import Fault, Proxy, Status
from support.servers.minio_stand_in import Minio, real_encryption, weak_encryption
from support.systems import minio as system

_REQUESTS = 8
"""Of one rotation: delete the retained account; verify, read two accounts, create, verify twice, disable."""


@pytest.fixture
def minio():
    with Minio() as minio:
        yield minio


@pytest.fixture
def proxy(minio):
    with Proxy(minio.port) as proxy:
        yield proxy


@pytest.fixture
def made(bao, tmp_path, minio, proxy, monkeypatch):
    """Creates a target with more settings, whose MinIO is behind the proxy."""
    monkeypatch.setattr(ServiceAccounts, "propagation_timeout", 0.3)
    return lambda **settings: RotationTarget(bao, tmp_path, system.ServiceAccounts(minio, proxy.port), **settings)


@pytest.fixture
def mc(minio, tmp_path):
    """Runs a command of MinIO's own client."""
    program = shutil.which("minio-client")
    need(program, "needs MinIO's client: apt install minio-client")
    login = f"{minio.admin['access_key']}:{minio.admin['secret_key']}"
    host = f"http://{login}@127.0.0.1:{minio.port}"
    environ = {"MC_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path), "MC_HOST_store": host}

    def mc(*words):
        command = [program, "--json", "admin", "user", "svcacct", words[0], "store", *words[1:]]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        return json.loads(done.stdout)

    return mc


@pytest.fixture(autouse=True)
def encryption(request):
    """The real one only where MinIO's own client needs it: it takes 64 MiB for each message."""
    with real_encryption() if "mc" in request.fixturenames else weak_encryption():
        yield


def test_minio_s_own_client_accepts_the_stand_in(minio, mc):
    """Otherwise the other tests would prove nothing about MinIO."""
    made = mc("add", "simba", "--access-key", "manual", "--secret-key", "manual-secret")
    assert (made["status"], made["accessKey"]) == ("success", "manual")
    assert minio.accounts["manual"]["parentUser"] == "simba"
    assert mc("disable", "manual")["status"] == "success"
    assert minio.secret_of("manual") is None
    assert mc("info", "manual")["accountStatus"] == "off"
    assert mc("rm", "manual")["status"] == "success"
    cause = mc("info", "manual")["error"]["cause"]["error"]
    assert cause["Code"] == "XMinioInvalidIAMCredentials"


def test_a_new_account_has_the_parent_and_the_policy_of_the_old(made, minio, mc):
    target = made()
    target.rotate()
    info = mc("info", target.fields()["access_key"])
    assert (info["parentUser"], info["accountStatus"]) == ("simba", "on")
    assert not info.get("impliedPolicy")
    assert info["policy"] == target.system.policy
    assert minio.accounts[target.fields()["access_key"]]["name"] == "simba-app"


def test_a_policy_in_several_encrypted_chunks_is_copied_whole(made, minio):
    """The encryption uses chunks of 16 KiB."""
    target = made()
    policy = {**target.system.policy, "Id": "x" * 40_000}
    minio.accounts[target.fields()["access_key"]]["policy"] = policy
    target.rotate()
    assert minio.accounts[target.fields()["access_key"]]["policy"] == policy


def test_who_may_write_the_secret_gets_no_permissions_of_another_account(made, minio):
    """And cannot have it disabled."""
    target = made()
    minio.accounts["of-a-victim"] = {"secretKey": "victims", "parentUser": "minio-admin", "accountStatus": "on"}
    for _ in range(2):
        own, before = target.fields(), {**minio.accounts["of-a-victim"]}
        target.put(target.secret_path, **{**own, "access_key": "of-a-victim"})
        with pytest.raises(SystemRefusedError, match="MinIO rejects the published key …ctim, which lessee has not cre"):
            target.rotate()
        assert minio.accounts["of-a-victim"] == before
        assert minio.accounts.keys() == {"of-a-victim", own["access_key"]}
        target.put(target.secret_path, **own)
        target.recover()
        target.rotate()
        assert minio.accounts[target.fields()["access_key"]]["policy"] == target.system.policy


def test_a_key_that_does_not_exist_gives_no_more_permissions_than_the_last_one_had(made, minio):
    target = made(user="simba")
    target.rotate()
    target.put(target.secret_path, **{**target.fields(), "access_key": "unknown"})
    target.rotate()
    assert minio.accounts[target.fields()["access_key"]]["policy"] == target.system.policy


def test_an_account_without_a_policy_gets_a_successor_without_one(made, minio):
    target = made()
    del minio.accounts[target.fields()["access_key"]]["policy"]
    target.rotate()
    assert "policy" not in minio.accounts[target.fields()["access_key"]]


def test_without_a_parent_no_account_is_created(made, minio):
    """Otherwise the account would be the admin's, with all permissions."""
    target = made()
    minio.accounts.clear()
    target.put(target.secret_path, **{**target.fields(), "access_key": "simba", "secret_key": minio.users["simba"]})
    with pytest.raises(SystemRefusedError, match=r"is not a service account of MinIO; .* set `user`"):
        target.rotate()
    assert minio.accounts == {}


def test_the_first_service_account_replaces_a_user_s_own_key(made, minio, caplog):
    target = made(user="simba", delete_delay="0s")
    minio.accounts.clear()
    target.put(target.secret_path, **{**target.fields(), "access_key": "simba", "secret_key": minio.users["simba"]})
    assert target.rotate() is Outcome.ROTATED
    assert minio.accounts[target.fields()["access_key"]]["parentUser"] == "simba"
    assert "published key not revocable" in caplog.text
    assert "simba" in minio.users


def test_the_old_account_is_disabled_and_deleted_after_the_delay(made, minio):
    target = made()
    old = target.fields()["access_key"]
    target.rotate()
    assert minio.accounts[old]["accountStatus"] == "off"
    target.expire_delete_delay()
    target.rotate(finish_only=True, force=False)
    assert set(minio.accounts) == {target.fields()["access_key"]}
    assert target.journal.step is Step.IDLE


def test_a_manually_restored_account_stays_and_the_new_one_is_deleted(made, minio):
    target = made(delete_delay="0s", confirmation_timeout="1m")
    target.confirm(version=1)
    old = target.fields()
    target.rotate(wait=False)
    new = target.fields()
    target.put(target.secret_path, **old)
    target.confirm()
    target.recover()
    assert target.system.accepts(old)
    assert new["access_key"] not in minio.accounts


def test_an_existing_account_is_enabled_with_the_pending_secret(minio):
    """The response was lost, or an operator has changed the account."""
    first = system.ServiceAccounts(minio)
    config = grammar.Minio(secret="s", admin_secret="a", user="simba")
    kind = kind_of(config, KindContext(name="t", admin=first.admin(), folder=Path(), environ={}, vault=None))
    secret = first.secrets()["storage/minio"]
    case = Case(id="1", secret=secret, current=secret, pending=kind.create(Case(id="1", secret=secret)).fields)
    kind.apply(case)
    minio.accounts[case.pending["access_key"]].update(accountStatus="off", secretKey="another-secret")
    kind.apply(case)
    assert kind.verify({**secret, **case.pending})
    kind.discard(case)
    kind.discard(case)
    assert set(minio.accounts) == {secret["access_key"]}
    kind.close()


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Fault.DROP, Status(200)], ids=["unavailable", "not MinIO"])
def test_an_outage_of_minio_at_any_step_loses_nothing_and_leaves_no_account(made, proxy, monkeypatch, fault):
    StoppedClock(monkeypatch)  # Each rotation waits for consumers, and verifies the account once more.
    session = aws.library("botocore.httpsession").URLLib3Session
    inner, left = session.send, [0]

    def send(self, request):
        left[0] -= 1
        proxy.fault = fault if left[0] == 0 else None
        return inner(self, request)

    monkeypatch.setattr(session, "send", send)
    target = made()
    errors = 0
    for step in count(1):
        left[0] = step
        try:
            target.rotate()
        except (SystemUnavailableError, SystemRefusedError):  # The verification detects a false success.
            errors += 1
        if left[0] > 0:
            break
        left[0] = 0
        proxy.clear()
        target.recover()
        assert target.system.orphans(target.fields()) == set()
    assert errors == step - 1 >= _REQUESTS  # More where a new account needs time to propagate.


def test_a_key_that_was_never_created_needs_no_time_to_propagate(bao, tmp_path, minio, monkeypatch):
    monkeypatch.setattr(ServiceAccounts, "propagation_timeout", 3600.0)
    target = RotationTarget(bao, tmp_path, system.ServiceAccounts(minio))
    target._calls = target.system.calls
    assert target.rotate_and_kill(0, after=False)
    assert target.journal.step is Step.CREATED
    target.recover()


def test_a_minio_that_cannot_serve_counts_as_unavailable(made, proxy):
    target = made()
    proxy.on_path("/minio/admin", Status(503))
    with pytest.raises(SystemUnavailableError, match=r"temporarily unavailable \(HTTP 503\)"):
        target.rotate()
    proxy.clear()
    assert target.rotate() is Outcome.ROTATED


def test_missing_permissions_of_the_admin_are_reported_and_the_old_account_stays(made, minio):
    target = made()
    minio.admin_allowed = False
    with pytest.raises(SystemRefusedError, match=r"AccessDenied.*grant the admin admin:CreateServiceAccount"):
        target.rotate()
    assert target.system.accepts(target.fields())
    minio.admin_allowed = True
    target.recover()
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"secret_key": "canary-wrong"}, SystemRefusedError, "SignatureDoesNotMatch"),
        ({"access_key": "canary-unknown"}, SystemRefusedError, "InvalidAccessKeyId"),
        ({"access_key": "canary\n"}, SystemUnavailableError, "no response"),
        ({"secret_key": ""}, LesseeError, "the secret lacks secret_key"),
        ({"endpoint": "127.0.0.1:1"}, SystemUnavailableError, "no response"),
        ({"secure": True}, SystemUnavailableError, "no response"),
        ({"ca_file": "/missing/ca.pem", "secure": True}, SystemUnavailableError, "no response"),
    ],
)
def test_an_invalid_admin_secret_is_reported_without_its_values(made, minio, fields, error, text, caplog):
    target = made()
    target.put("storage/admin", **target.system.admin(**fields))
    with pytest.raises(error, match=text) as caught:
        target.rotate()
    text = f"{caught.value}{caplog.text}"
    assert "canary" not in text
    assert minio.admin["secret_key"] not in text
    assert target.system.accepts(target.fields())
