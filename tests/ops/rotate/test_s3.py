"""Rotation of access keys on a real SeaweedFS: no published key is ever deleted, and no other key is left."""

import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from botocore.client import BaseClient

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.s3 import AccessKeys
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget, StoppedClock
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Fault, Proxy, Status
from support.systems import s3

_REQUESTS = 6
"""Of one rotation: delete the retained key; list, create, verify twice, disable."""


@pytest.fixture
def proxy(store):
    with Proxy(store.port) as proxy:
        yield proxy


@pytest.fixture
def made(bao, tmp_path, store, proxy, monkeypatch):
    """Creates a target with more settings, whose store is behind the proxy."""
    monkeypatch.setattr(AccessKeys, "propagation_timeout", 1.0)
    systems = []

    def make(**settings):
        systems.append(s3.AccessKeys(store, proxy.port))
        return RotationTarget(bao, tmp_path, systems[-1], **settings)

    yield make
    for system in systems:
        system.remove()


class _FaultPlan:
    """Faults of a request, by its number from now on or by its operation."""

    def __init__(self, proxy, monkeypatch):
        self._proxy, self._faults, self._count = proxy, {}, 0
        inner = BaseClient._make_api_call

        def call(client, operation, parameters):
            if client.meta.endpoint_url == proxy.address:
                self._count += 1
                proxy.fault = self._faults.get(operation, self._faults.get(self._count))
            return inner(client, operation, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)

    def at(self, request, fault):
        self._count, self._faults = 0, {request: fault}

    def clear(self):
        self._faults = {}
        self._proxy.clear()


@pytest.fixture
def faults(proxy, monkeypatch):
    return _FaultPlan(proxy, monkeypatch)


def _error(status, code):
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    return Status(status, body=body.encode())


@pytest.mark.thorough
def test_with_two_keys_neither_is_deleted_and_the_error_names_the_other(made):
    target = made()
    second = target.system.new_key()
    for _ in range(2):
        with pytest.raises(SystemRefusedError, match="has 2 of 2 keys") as caught:
            target.rotate()
    text = str(caught.value)
    assert f"…{second['access_key'][-4:]} (Active)" in text
    assert second["access_key"] not in text
    assert target.fields()["access_key"] not in text
    assert target.system.accepts(target.fields())
    assert target.system.accepts(second)
    target.system.iam.delete_access_key(UserName=target.system.user, AccessKeyId=second["access_key"])
    assert target.rotate() is Outcome.ROTATED


def test_a_manually_disabled_key_is_not_deleted(made):
    target = made()
    second = target.system.new_key()["access_key"]
    target.system.iam.update_access_key(UserName=target.system.user, AccessKeyId=second, Status="Inactive")
    with pytest.raises(SystemRefusedError, match=rf"…{second[-4:]} \(Inactive\)"):
        target.rotate()
    assert set(target.system.keys()) == {second, target.fields()["access_key"]}


def test_the_limit_of_keys_is_reported_and_the_rotation_continues_below_it(made, faults):
    target = made()
    faults.at("CreateAccessKey", _error(409, "LimitExceeded"))
    with pytest.raises(SystemRefusedError, match="the maximum number of keys"):
        target.rotate()
    faults.clear()
    assert target.rotate() is Outcome.ROTATED
    assert target.system.orphans(target.fields()) == set()


def test_the_old_key_is_disabled_and_deleted_after_the_delay(made):
    target = made()
    old = target.fields()
    target.rotate()
    assert target.system.keys()[old["access_key"]] == "Inactive"
    assert target.journal.step is Step.RETAINING
    assert old["secret_key"] == target.journal.current["secret_key"], "it can be restored"
    target.expire_delete_delay()
    target.rotate(finish_only=True, force=False)
    assert set(target.system.keys()) == {target.fields()["access_key"]}
    assert target.journal.step is Step.IDLE
    assert not target.journal.current


def test_without_a_delay_the_old_key_is_deleted_immediately(made):
    target = made(delete_delay="0s")
    target.rotate()
    assert set(target.system.keys()) == {target.fields()["access_key"]}
    assert target.journal.step is Step.IDLE


def test_an_iam_that_cannot_disable_keys_is_logged_and_the_key_deleted_after_the_delay(made, faults, caplog):
    target = made()
    old = target.fields()["access_key"]
    faults.at("UpdateAccessKey", _error(501, "NotImplemented"))
    target.rotate()
    assert target.system.keys()[old] == "Active"
    assert "old key not disabled" in caplog.text
    target.expire_delete_delay()
    target.rotate(finish_only=True, force=False)
    assert set(target.system.keys()) == {target.fields()["access_key"]}


@pytest.mark.parametrize("delay", ["0s", "24h"])
def test_a_manually_restored_key_stays_and_the_new_one_is_revoked(made, delay):
    target = made(delete_delay=delay, confirmation_timeout="1m")
    target.confirm(version=1)
    old = target.fields()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(target.rotate)
        eventually(lambda: target.journal.step is Step.PUBLISHED, "the new key")
        new = target.fields()
        target.put(target.secret_path, **{**new, "access_key": old["access_key"], "secret_key": old["secret_key"]})
        target.confirm()
        assert running.result() is Outcome.ROTATED
    assert target.system.accepts(target.fields())
    assert target.fields()["access_key"] == old["access_key"]
    assert not target.system.accepts(new)
    assert target.system.orphans(old) == set()


def test_a_key_restored_during_its_retention_is_not_deleted(made):
    target = made()
    old = target.fields()
    target.rotate()
    enabled = {"UserName": target.system.user, "AccessKeyId": old["access_key"], "Status": "Active"}
    target.system.iam.update_access_key(**enabled)
    target.put(target.secret_path, **old)
    target.expire_delete_delay()
    target.recover()
    assert old["access_key"] in set(target.system.keys())


def test_a_manually_published_key_stays_and_the_pending_one_is_deleted(made):
    target = made()
    target.system.allow(s3.ELSEWHERE)  # The verification of the new key fails.
    with pytest.raises(SystemRefusedError):
        target.rotate()
    target.system.allow(s3.MAY_LIST)
    pending, manual = target.journal.pending["access_key"], target.system.new_key()
    target.put(target.secret_path, **{**target.fields(), **manual})
    target.recover()
    assert target.fields()["access_key"] == manual["access_key"]
    assert pending not in set(target.system.keys())


def test_a_manually_published_key_is_not_a_leftover(made, faults):
    target = made()
    faults.at("CreateAccessKey", Fault.CLOSED)
    with pytest.raises(SystemUnavailableError):
        target.rotate()
    faults.clear()
    assert target.journal.step is Step.CREATING
    lost = set(target.system.keys()) - {target.fields()["access_key"]}
    manual = target.system.new_key()
    target.put(target.secret_path, **{**target.fields(), **manual})
    target.recover()
    assert target.fields()["access_key"] == manual["access_key"]
    assert len(lost) == 1
    assert not lost & set(target.system.keys())


def test_a_denying_policy_is_reported_and_the_same_key_is_published_after_its_change(made):
    target = made()
    old = target.fields()
    target.system.allow(s3.ELSEWHERE)
    for _ in range(2):
        with pytest.raises(SystemRefusedError, match="has no access to the bucket docs"):
            target.rotate()
    recorded = target.journal.pending
    assert len(target.system.keys()) == 2
    assert target.fields() == old
    target.system.allow(s3.MAY_LIST)
    target.recover()
    assert target.fields()["access_key"] == recorded["access_key"]


@pytest.mark.parametrize("statement", [s3.MAY_LIST, s3.MAY_READ, s3.MAY_WRITE], ids=["list", "read", "write"])
def test_a_user_needs_no_more_permissions_than_the_app(made, statement):
    target = made()
    target.system.allow(statement)
    assert target.rotate() is Outcome.ROTATED


def test_a_rejected_new_key_is_deleted_and_no_other_is_created(made, proxy):
    target = made()
    old = target.fields()
    proxy.on_path("/docs", Status(403, body=b"<Error><Code>InvalidAccessKeyId</Code></Error>"))
    with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
        target.rotate()
    proxy.clear()
    assert set(target.system.keys()) == {old["access_key"]}
    assert target.fields() == old
    assert target.journal.failures == 1
    assert target.rotate() is Outcome.ROTATED


@pytest.mark.thorough
@pytest.mark.parametrize(
    "fault", [Fault.DROP, Fault.CLOSED, Status(503), Status(200)], ids=["unavailable", "response lost", "503", "not S3"]
)
def test_an_outage_of_the_store_at_any_step_loses_nothing_and_leaves_no_key(made, faults, fault, monkeypatch):
    StoppedClock(monkeypatch)  # Each rotation waits for consumers, and verifies the key once more.
    target = made()
    for step in count(1):
        faults.at(step, fault)
        try:
            target.rotate()
            break
        except SystemUnavailableError:
            assert target.system.accepts(target.fields())
        faults.clear()
        target.recover()
        assert target.system.orphans(target.fields()) == set()
    assert step > _REQUESTS  # More where a new key needs time to propagate.
    assert target.system.orphans(target.fields()) == set()


def test_a_key_created_while_another_rotator_continued_is_deleted(made, monkeypatch):
    target = made()
    inner, old = AccessKeys.create, target.fields()

    def create(kind, case):
        monkeypatch.setattr(AccessKeys, "create", inner)
        new = inner(kind, case)
        path = f"{target.environment}/{j.FOLDER}{target.name}"
        body = {"data": j.serialize(j.closed(target.journal, handle="")), "options": {"cas": 1}}
        target.bao.ask("POST", f"secret/data/{path}", body)
        return new

    monkeypatch.setattr(AccessKeys, "create", create)
    assert target.rotate() is Outcome.ROTATED
    assert set(target.system.keys()) == {old["access_key"], target.fields()["access_key"]}


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"secret_key": "canary-wrong"}, SystemRefusedError, "cannot list its keys"),
        ({"access_key": "canary-unknown"}, SystemRefusedError, "cannot list its keys"),
        ({"access_key": "canary\n"}, SystemUnavailableError, "no response"),
        ({"secret_key": ""}, LesseeError, "the secret lacks secret_key"),
        ({"endpoint": "127.0.0.1:1"}, SystemUnavailableError, "no response"),
        ({"secure": True}, SystemUnavailableError, "no response"),
        ({"ca_file": "/missing/ca.pem", "secure": True}, SystemUnavailableError, "no response"),
    ],
)
def test_an_invalid_admin_secret_is_reported_without_its_values(made, fields, error, text, caplog):
    target = made()
    target.put("storage/admin", **target.system.admin(**fields))
    with pytest.raises(error, match=text) as caught:
        target.rotate()
    text = f"{caught.value}{caught.getrepr()}{caplog.text}"
    assert "canary" not in str(caught.value)
    assert s3.ADMIN["secret_access_key"] not in text
    assert set(target.system.keys()) == {target.fields()["access_key"]}


def test_a_missing_user_is_reported(made):
    target = made(user="unknown")
    with pytest.raises(SystemRefusedError, match="the user unknown does not exist"):
        target.rotate()


def test_the_admin_s_own_key_is_never_revoked(made, caplog):
    target = made(delete_delay="0s")
    admin = target.system.admin()
    target.put(target.secret_path, **{**target.fields(), **admin})
    target.system.iam.delete_access_key(UserName=target.system.user, AccessKeyId=next(iter(target.system.keys())))
    target.rotate()
    assert "old key not revoked" in caplog.text
    assert target.system.accepts(admin)
    assert target.fields()["access_key"] != admin["access_key"]


def test_the_log_holds_no_key(made, caplog):
    caplog.set_level(logging.DEBUG, logger="lessee")
    target = made(delete_delay="0s")
    old = target.fields()
    target.rotate()
    new = target.fields()
    for fields in (old, new):
        assert fields["access_key"] not in caplog.text
        assert fields["secret_key"] not in caplog.text
