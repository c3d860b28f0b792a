"""The keys of an object store's admin: each key proves itself before the other is disabled."""

import json
import threading

import pytest

from lessee.ops.rotate.kinds import aws, s3
from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.systems.s3_admin import AdminKeys

ROTATIONS = 3


@pytest.fixture
def target(bao, tmp_path, store):
    new = RotationTarget(bao, tmp_path, AdminKeys(store))
    new.confirm(version=FUTURE_VERSION)
    yield new
    new.system.remove()


@pytest.fixture
def system(target):
    return target.system


def test_each_key_is_created_and_disabled_by_the_other(target, system, monkeypatch):
    inner, used = aws.call, []

    def call(client, operation, **parameters):
        used.append((operation, client._request_signer._credentials.access_key))
        return inner(client, operation, **parameters)

    monkeypatch.setattr(aws, "call", call)
    monkeypatch.setattr(s3.aws, "call", call)
    old = target.fields()["access_key"]
    target.rotate()
    new = target.fields()["access_key"]
    by = dict(used)
    assert by["create_access_key"] == old
    assert by["update_access_key"] == new
    assert system.keys() == {old: "Inactive", new: "Active"}
    target.expire_delete_delay()
    target.rotate(finish_only=True)
    assert dict(used)["delete_access_key"] == new
    assert system.keys() == {new: "Active"}


def test_a_published_key_that_is_refused_is_reported_and_nothing_changes(target, system):
    before = target.fields()
    key = {"UserName": system.user, "AccessKeyId": before["access_key"]}
    system.iam.update_access_key(**key, Status="Inactive")
    with pytest.raises(SystemRefusedError, match=f"user {system.user}: cannot list its keys"):
        target.rotate()
    assert target.fields() == before
    assert system.keys() == {before["access_key"]: "Inactive"}
    system.iam.update_access_key(**key, Status="Active")
    target.rotate()
    assert system.accepts(target.fields())
    assert system.orphans(target.fields()) == set()


@pytest.mark.thorough
def test_a_refusal_after_the_publication_leaves_both_keys(bao, tmp_path, store):
    """The new key is disabled by a person, and so it cannot disable the old one."""
    target = RotationTarget(bao, tmp_path, AdminKeys(store), confirmation_timeout="1h")
    system, old = target.system, target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    key = {"UserName": system.user, "AccessKeyId": target.fields()["access_key"]}
    system.iam.update_access_key(**key, Status="Inactive")
    target.confirm()
    with pytest.raises(SystemRefusedError):
        target.rotate(finish_only=True)
    assert system.accepts(old)
    system.iam.update_access_key(**key, Status="Active")
    target.rotate(finish_only=True)
    assert system.accepts(target.fields())
    assert not system.accepts(old)
    system.remove()


def test_a_restored_key_stays(bao, tmp_path, store):
    target = RotationTarget(bao, tmp_path, AdminKeys(store), confirmation_timeout="1h")
    old = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    new = target.fields()
    target.put(target.secret_path, **old | {"rotation_count": new["rotation_count"]})
    target.confirm()
    target.rotate(finish_only=True)
    assert target.system.accepts(old)
    assert not target.system.accepts(new)
    target.system.remove()


def test_no_login_of_an_admin_fails_while_its_key_is_rotated(bao, tmp_path, store):
    target = RotationTarget(bao, tmp_path, AdminKeys(store), revoke_delay="1s")
    target.confirm(version=FUTURE_VERSION)
    failed, keys, over = [], [], threading.Event()

    def use():
        while not over.is_set():
            fields = target.fields()
            (keys if target.system.accepts(fields) else failed).append(fields["access_key"])

    client = threading.Thread(target=use)
    client.start()
    for _ in range(ROTATIONS):
        target.rotate()
    over.set()
    client.join()
    assert len(set(keys)) > 1
    assert not failed
    target.system.remove()


def test_no_key_is_in_the_journal_once_it_is_published_or_in_a_log(target, caplog):
    caplog.set_level("DEBUG", logger="lessee")
    target.rotate()
    assert target.journal.step is Step.RETAINING
    text = json.dumps(journal.serialize(target.journal)) + caplog.text
    assert target.fields()["secret_key"] not in text
