"""Which secrets of Swarm a push creates, gives to a service, and removes."""

import pytest

from lessee.core.errors import UsageError
from lessee.ops.push.policy import swarm
from lessee.ops.push.policy.swarm import SwarmSecret


def secret(version, *, file="password", fingerprint="f", id_=None):
    name = f"web-{file}-{version}"
    return SwarmSecret(f"id-{name}" if id_ is None else id_, name, file, version, fingerprint)


def row(id_, name, **labels):
    return {"ID": id_, "Spec": {"Name": name, "Labels": {f"lessee.{key}": value for key, value in labels.items()}}}


def spec(*ids, replicas=1):
    references = [{"SecretID": id_, "SecretName": id_, "File": {"Name": "password", "UID": "7"}} for id_ in ids]
    return {"Name": "s", "Mode": {"Replicated": {"Replicas": replicas}}, "TaskTemplate": task_template(references)}


def task_template(references):
    return {"ForceUpdate": 0, "ContainerSpec": {"Image": "i", "Secrets": references}}


def task(*ids, state="running"):
    return {"Status": {"State": state}, "Spec": spec(*ids)["TaskTemplate"]}


def test_only_secrets_with_labels_of_the_app_are_its_own():
    rows = [
        row("1", "web-password-3", app="web", file="password", version="3", fingerprint="f"),
        row("2", "web-password-4", app="web", file="password", version="4"),
        row("3", "other", app="other", file="password", version="1"),
        row("4", "a", app="web", file="password", version="x"),
        row("5", "b", app="web", version="1"),
        {"ID": "6", "Spec": {"Name": "web-password-9"}},
    ]
    assert swarm.owned(rows, "web") == [
        SwarmSecret("1", "web-password-3", "password", 3, "f"),
        SwarmSecret("2", "web-password-4", "password", 4, ""),
    ]
    labels = {"lessee.file": "password", "lessee.version": "3", "lessee.fingerprint": "f"}
    assert secret(3).labels == labels


def test_a_changed_file_gets_the_next_version_and_an_unchanged_one_none():
    known = [secret(9, fingerprint="old"), secret(10, fingerprint="f"), secret(2, file="key", fingerprint="k")]
    wanted = swarm.newest("web", {"password": "f", "key": "new", "sub/ca.pem": "c"}, known)
    assert wanted == {
        "password": known[1],
        "key": secret(3, file="key", fingerprint="new", id_=""),
        "sub/ca.pem": SwarmSecret("", "web-sub-ca.pem-1", "sub/ca.pem", 1, "c"),
    }


@pytest.mark.parametrize("file", ["x" * 59, "a b"])
def test_a_name_that_swarm_does_not_allow_is_refused(file):
    with pytest.raises(UsageError, match="Swarm allows no secret"):
        swarm.secret_name("web", file, 1)


def test_a_service_gets_the_new_version_at_the_same_place_and_keeps_all_else():
    old, new, gone = secret(1), secret(2), secret(1, file="gone")
    before = spec(old.id, "foreign", gone.id)
    after = swarm.updated(before, [old, gone], {"password": new})
    references = after["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [each["SecretID"] for each in references] == [new.id, "foreign", gone.id]
    assert references[0] == {"SecretID": new.id, "SecretName": new.name, "File": {"Name": "password", "UID": "7"}}
    assert (after["Name"], after["TaskTemplate"]["ContainerSpec"]["Image"]) == ("s", "i")
    assert before == spec(old.id, "foreign", gone.id)
    assert swarm.updated(after, [old, new], {"password": new}) is None


def test_a_service_without_secrets_uses_none():
    assert swarm.uses(spec("id-web-password-1"), [secret(1)])
    assert not swarm.uses(spec("foreign"), [secret(1)])
    for template in {"ContainerSpec": {"Secrets": None}}, {}:
        assert not swarm.uses({"TaskTemplate": template}, [secret(1)])
        assert swarm.updated({"TaskTemplate": template}, [secret(1)], {}) is None


@pytest.mark.parametrize(
    ("state", "tasks", "replicas", "expected"),
    [
        ("completed", [task("new"), task("new")], 2, True),
        ("completed", [], 0, True),
        ("completed", [task("new"), task("new", state="starting")], 2, False),
        ("completed", [task("old")], 1, False),
        ("completed", [task("new")], 2, False),
        ("completed", [], 1, False),
        ("completed", [task("new")], None, True),
        ("completed", [], None, False),
        ("updating", [task("new")], 1, False),
        ("rollback_completed", [task("new")], 1, False),
        (None, [task("old")], 1, False),
        (None, [task("new")], 1, False),
        (None, [], 1, False),
        (None, [], 0, True),
    ],
)
def test_an_update_is_settled_once_all_tasks_run_with_the_new_secrets(state, tasks, replicas, expected):
    service = {"Spec": spec("new", replicas=replicas), "UpdateStatus": {"State": state} if state else None}
    assert swarm.is_settled(service, tasks) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [("updating", False), ("completed", False), (None, False), ("paused", True), ("rollback_started", True)],
)
def test_an_update_that_stopped_has_failed(state, expected):
    assert swarm.has_failed({"UpdateStatus": {"State": state}}) is expected
    assert not swarm.has_failed({})
