"""Access keys on a real SeaweedFS: nothing that the apps read is ever deleted, and nothing is left behind."""

import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from botocore.client import BaseClient

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds import aws
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.s3 import AccessKeys
from lessee.ops.rotate.policy import journal as j
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import Rotated
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Fault, Proxy, Status
from support.systems import s3

_REQUESTS = 6
"""One rotation's: the kept one deleted; listed, made, proved, once more after the waiting, disabled."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with s3.started(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def proxy(store):
    with Proxy(store.port) as proxy:
        yield proxy


@pytest.fixture
def made(bao, tmp_path, store, proxy, monkeypatch):
    """Makes a target with further settings, whose store is behind the proxy."""
    monkeypatch.setattr(AccessKeys, "patience", 1.0)
    monkeypatch.setattr(aws, "TIMEOUTS", (2, 2))
    return lambda **settings: Rotated(bao, tmp_path, s3.AccessKeys(store, proxy.port), **settings)


class _Weather:
    """What befalls the so manyeth request from now on, or those of an operation."""

    def __init__(self, proxy, monkeypatch):
        self._proxy, self._changes, self._asked = proxy, {}, 0
        inner = BaseClient._make_api_call

        def call(client, operation, said):
            if client.meta.endpoint_url == proxy.address:
                self._asked += 1
                proxy.fault = self._changes.get(operation, self._changes.get(self._asked))
            return inner(client, operation, said)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)

    def at(self, what, fault):
        self._asked, self._changes = 0, {what: fault}

    def clear(self):
        self._changes = {}
        self._proxy.clear()


@pytest.fixture
def weather(proxy, monkeypatch):
    return _Weather(proxy, monkeypatch)


def _error(status, code):
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    return Status(status, body=body.encode())


def test_where_two_keys_are_in_use_neither_is_touched_and_the_person_is_told_which(made):
    rotated = made()
    second = rotated.system.new_key()
    for _ in range(2):
        with pytest.raises(SystemRefusedError, match="has 2 keys") as caught:
            rotated.rotate()
    text = str(caught.value)
    assert f"…{second['access_key'][-4:]} (Active)" in text
    assert second["access_key"] not in text
    assert rotated.fields()["access_key"] not in text
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.system.lets_in(second)
    rotated.system.iam.delete_access_key(UserName=rotated.system.user, AccessKeyId=second["access_key"])
    assert rotated.rotate() is Outcome.ROTATED


def test_a_key_that_a_person_disabled_is_not_deleted_either(made):
    rotated = made()
    second = rotated.system.new_key()["access_key"]
    rotated.system.iam.update_access_key(UserName=rotated.system.user, AccessKeyId=second, Status="Inactive")
    with pytest.raises(SystemRefusedError, match=rf"…{second[-4:]} \(Inactive\)"):
        rotated.rotate()
    assert set(rotated.system.keys()) == {second, rotated.fields()["access_key"]}


def test_the_system_s_own_limit_is_told_and_the_rotation_goes_on_once_there_is_room(made, weather):
    rotated = made()
    weather.at("CreateAccessKey", _error(409, "LimitExceeded"))
    with pytest.raises(SystemRefusedError, match="as many keys as it may"):
        rotated.rotate()
    weather.clear()
    assert rotated.rotate() is Outcome.ROTATED
    assert rotated.system.orphans(rotated.fields()) == set()


def test_the_old_key_is_disabled_then_deleted_when_its_time_is_over(made):
    rotated = made()
    old = rotated.fields()
    rotated.rotate()
    assert rotated.system.keys()[old["access_key"]] == "Inactive"
    assert rotated.journal.step is Step.RETAINING
    assert old["secret_key"] == rotated.journal.current["secret_key"], "it can be brought back"
    rotated.let_it_be_kept_no_longer()
    rotated.rotate(finish_only=True, force=False)
    assert set(rotated.system.keys()) == {rotated.fields()["access_key"]}
    assert rotated.journal.step is Step.IDLE
    assert not rotated.journal.current


def test_without_a_time_to_keep_it_the_old_key_is_deleted_at_once(made):
    rotated = made(delete_delay="0s")
    rotated.rotate()
    assert set(rotated.system.keys()) == {rotated.fields()["access_key"]}
    assert rotated.journal.step is Step.IDLE


def test_where_the_old_key_cannot_be_disabled_it_is_told_and_deleted_in_the_end(made, weather, caplog):
    rotated = made()
    old = rotated.fields()["access_key"]
    weather.at("UpdateAccessKey", _error(501, "NotImplemented"))
    rotated.rotate()
    assert rotated.system.keys()[old] == "Active"
    assert "disables no keys" in caplog.text
    rotated.let_it_be_kept_no_longer()
    rotated.rotate(finish_only=True, force=False)
    assert set(rotated.system.keys()) == {rotated.fields()["access_key"]}


@pytest.mark.parametrize("delay", ["0s", "24h"])
def test_a_key_that_is_put_back_by_hand_while_others_are_waited_for_is_the_one_that_stays(made, delay):
    rotated = made(delete_delay=delay, confirmation_timeout="1m")
    rotated.confirm(version=1)
    old = rotated.fields()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(rotated.rotate)
        eventually(lambda: rotated.journal.step is Step.PUBLISHED, "the new key")
        new = rotated.fields()
        rotated.put(rotated.secret_path, **{**new, "access_key": old["access_key"], "secret_key": old["secret_key"]})
        rotated.confirm()
        assert running.result() is Outcome.ROTATED
    assert rotated.system.lets_in(rotated.fields())
    assert rotated.fields()["access_key"] == old["access_key"]
    assert not rotated.system.lets_in(new)
    assert rotated.system.orphans(old) == set()


def test_a_key_that_is_put_back_by_hand_while_it_is_kept_is_not_deleted(made):
    rotated = made()
    old = rotated.fields()
    rotated.rotate()
    back = {"UserName": rotated.system.user, "AccessKeyId": old["access_key"], "Status": "Active"}
    rotated.system.iam.update_access_key(**back)
    rotated.put(rotated.secret_path, **old)
    rotated.let_it_be_kept_no_longer()
    rotated.recover()
    assert old["access_key"] in set(rotated.system.keys())


def test_a_key_that_was_put_there_by_hand_meanwhile_wins_and_the_new_one_is_deleted(made):
    rotated = made()
    rotated.system.allow(s3.ELSEWHERE)  # The new key cannot be proved.
    with pytest.raises(SystemRefusedError):
        rotated.rotate()
    rotated.system.allow(s3.MAY_LIST)
    pending, mine = rotated.journal.pending["access_key"], rotated.system.new_key()
    rotated.put(rotated.secret_path, **{**rotated.fields(), **mine})
    rotated.recover()
    assert rotated.fields()["access_key"] == mine["access_key"]
    assert pending not in set(rotated.system.keys())


def test_a_key_that_was_put_there_by_hand_while_one_was_being_made_is_no_leaving(made, weather):
    rotated = made()
    weather.at("CreateAccessKey", Fault.LOST)
    with pytest.raises(SystemUnavailableError):
        rotated.rotate()
    weather.clear()
    assert rotated.journal.step is Step.CREATING
    lost = set(rotated.system.keys()) - {rotated.fields()["access_key"]}
    mine = rotated.system.new_key()
    rotated.put(rotated.secret_path, **{**rotated.fields(), **mine})
    rotated.recover()
    assert rotated.fields()["access_key"] == mine["access_key"]
    assert len(lost) == 1
    assert not lost & set(rotated.system.keys())


def test_what_a_policy_closes_out_is_told_and_the_same_key_is_published_once_it_may(made):
    rotated = made()
    old = rotated.fields()
    rotated.system.allow(s3.ELSEWHERE)
    for _ in range(2):
        with pytest.raises(SystemRefusedError, match="closed out of the bucket docs"):
            rotated.rotate()
    noted = rotated.journal.pending
    assert len(rotated.system.keys()) == 2
    assert rotated.fields() == old
    rotated.system.allow(s3.MAY_LIST)
    rotated.recover()
    assert rotated.fields()["access_key"] == noted["access_key"]


@pytest.mark.parametrize("statement", [s3.MAY_LIST, s3.MAY_READ, s3.MAY_WRITE], ids=["list", "read", "write"])
def test_a_user_needs_no_more_rights_than_the_app(made, statement):
    rotated = made()
    rotated.system.allow(statement)
    assert rotated.rotate() is Outcome.ROTATED


def test_a_key_that_is_not_let_in_is_deleted_and_no_other_is_made_at_once(made, proxy):
    rotated = made()
    old = rotated.fields()
    proxy.on_path("/docs", Status(403, body=b"<Error><Code>InvalidAccessKeyId</Code></Error>"))
    with pytest.raises(SystemRefusedError, match="is not let in"):
        rotated.rotate()
    proxy.clear()
    assert set(rotated.system.keys()) == {old["access_key"]}
    assert rotated.fields() == old
    assert rotated.journal.failures == 1
    assert rotated.rotate() is Outcome.ROTATED


@pytest.mark.parametrize(
    "sky", [Fault.DROP, Fault.LOST, Status(503), Status(200)], ids=["away", "answer lost", "503", "rubbish"]
)
def test_where_the_store_is_away_at_any_step_nothing_is_lost_and_no_key_is_left(made, weather, fault):
    rotated = made()
    for step in count(1):
        weather.at(step, fault)
        try:
            rotated.rotate()
            break
        except SystemUnavailableError:
            assert rotated.system.lets_in(rotated.fields())
        weather.clear()
        rotated.recover()
        assert rotated.system.orphans(rotated.fields()) == set()
    assert step > _REQUESTS  # More where a new key needs a moment.
    assert rotated.system.orphans(rotated.fields()) == set()


def test_a_key_that_was_made_while_another_rotator_went_on_is_deleted(made, monkeypatch):
    rotated = made()
    inner, old = AccessKeys.create, rotated.fields()

    def overtaken(kind, case):
        monkeypatch.setattr(AccessKeys, "create", inner)
        made = inner(kind, case)
        path = f"{rotated.environment}/{j.FOLDER}{rotated.name}"
        body = {"data": j.serialize(j.closed(rotated.journal, handle="")), "options": {"cas": 1}}
        rotated.bao.ask("POST", f"secret/data/{path}", body)
        return made

    monkeypatch.setattr(AccessKeys, "create", overtaken)
    assert rotated.rotate() is Outcome.ROTATED
    assert set(rotated.system.keys()) == {old["access_key"], rotated.fields()["access_key"]}


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"secret_key": "canary-wrong"}, SystemRefusedError, "its keys cannot be listed"),
        ({"access_key": "canary-nobody"}, SystemRefusedError, "its keys cannot be listed"),
        ({"access_key": "canary\n"}, SystemUnavailableError, "no answer"),
        ({"secret_key": ""}, LesseeError, "the secret lacks secret_key"),
        ({"endpoint": "127.0.0.1:1"}, SystemUnavailableError, "no answer"),
        ({"secure": True}, SystemUnavailableError, "no answer"),
        ({"ca_file": "/nowhere/ca.pem", "secure": True}, SystemUnavailableError, "no answer"),
    ],
)
def test_an_admin_s_secret_that_is_no_use_is_told_without_its_values(made, fields, error, text, caplog):
    rotated = made()
    rotated.put("storage/admin", **rotated.system.admin(**fields))
    with pytest.raises(error, match=text) as caught:
        rotated.rotate()
    said = f"{caught.value}{caught.getrepr()}{caplog.text}"
    assert "canary" not in str(caught.value)
    assert s3.ADMIN["secret_access_key"] not in said
    assert set(rotated.system.keys()) == {rotated.fields()["access_key"]}


def test_a_user_that_is_not_there_is_told(made):
    rotated = made(user="nobody-knows-her")
    with pytest.raises(SystemRefusedError, match="there is no user nobody-knows-her"):
        rotated.rotate()


def test_the_admin_s_own_key_is_never_taken_out_of_use(made, caplog):
    rotated = made(delete_delay="0s")
    admin = rotated.system.admin()
    rotated.put(rotated.secret_path, **{**rotated.fields(), **admin})
    rotated.system.iam.delete_access_key(UserName=rotated.system.user, AccessKeyId=next(iter(rotated.system.keys())))
    rotated.rotate()
    assert "the admin's own" in caplog.text
    assert rotated.system.lets_in(admin)
    assert rotated.fields()["access_key"] != admin["access_key"]


def test_no_log_of_ours_holds_a_key(made, caplog):
    caplog.set_level(logging.DEBUG, logger="lessee")
    rotated = made(delete_delay="0s")
    old = rotated.fields()
    rotated.rotate()
    new = rotated.fields()
    for fields in (old, new):
        assert fields["access_key"] not in caplog.text
        assert fields["secret_key"] not in caplog.text
