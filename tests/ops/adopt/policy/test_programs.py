"""How a service gets its secrets, and how it is notified."""

import pytest

from lessee.ops.adopt.policy.model import Delivery, Image, ManualStep, Notification
from lessee.ops.adopt.policy.programs import (
    can_export,
    delivery,
    group_of,
    is_store,
    notification,
    restart_policy,
    runs_once,
)
from support.inputs.adopted_projects import service

POSTGRES = Image("postgres:17")


@pytest.mark.parametrize(("name", "possible"), [("A_1", True), ("a", True), ("1A", False), ("a.b", False), ("", False)])
def test_a_shell_exports_only_names(name, possible):
    assert can_export(name) is possible


@pytest.mark.parametrize(
    ("image", "names", "expected"),
    [
        (POSTGRES, ["POSTGRES_PASSWORD"], Delivery.VARIABLE_FILE),
        (POSTGRES, ["secrets.db", "POSTGRES_PASSWORD", "healthcheck.test[1]"], Delivery.VARIABLE_FILE),
        (POSTGRES, ["POSTGRES_PASSWORD", "PGPASSWORD"], Delivery.NOTHING),
        (Image("postgres", entrypoint=("x",), command=(), shell_path="/bin/sh"), ["PGPASSWORD"], Delivery.LAUNCHER),
        (Image("app", entrypoint=(), command=("x",), shell_path="/bin/sh"), ["SECRET"], Delivery.LAUNCHER),
        (Image("app", entrypoint=(), command=("x",), shell_path="/bin/sh"), ["command[1]"], Delivery.LAUNCHER),
        (Image("app", entrypoint=(), command=("x",), shell_path="/bin/sh"), ["secrets.a"], Delivery.VARIABLE_FILE),
        (Image("app", entrypoint=(), command=("x",), shell_path=""), ["SECRET"], Delivery.NOTHING),
        (Image("app", entrypoint=(), command=("x",)), ["SECRET"], Delivery.NOTHING),
        (Image("app", entrypoint=("/start.sh",), command=()), ["SECRET"], Delivery.LAUNCHER),
        (Image("app", entrypoint=("/bin/bash", "-c"), command=("x",)), ["SECRET"], Delivery.LAUNCHER),
        (Image("app", entrypoint=(), command=()), ["SECRET"], Delivery.NOTHING),
        (Image("app"), ["SECRET"], Delivery.NOTHING),
    ],
)
def test_files_are_preferred_and_a_launcher_needs_a_shell_and_a_known_program(image, names, expected):
    assert delivery(service(image=image), names) is expected


def test_the_projects_own_entrypoint_replaces_the_images_command():
    assert delivery(service(image=Image("app", shell_path="/bin/sh"), entrypoint=("x",)), ["A"]) is Delivery.LAUNCHER
    image = Image("app", entrypoint=("x",), shell_path="/bin/sh")
    assert delivery(service(image=image, command=("y",)), ["A"]) is Delivery.LAUNCHER
    assert delivery(service(image=image), ["A"]) is Delivery.NOTHING


@pytest.mark.parametrize(
    ("settings", "once"),
    [
        ({"name": "migrate"}, True),
        ({"name": "db-init"}, True),
        ({"name": "createbuckets"}, True),
        ({"name": "buckets", "image": Image("minio/mc:latest")}, True),
        ({"name": "migrate", "restart": "always"}, False),
        ({"name": "migrate", "restart": "on-failure"}, True),
        ({"name": "migrate", "restart": "on-failure:3"}, True),
        ({"name": "app", "restart": "on-failure"}, False),
        ({"name": "app", "restart": "no"}, True),
        ({"name": "app", "restart": "none"}, True),
        ({"name": "app", "runs_once": True}, True),
        ({"name": "initech"}, False),
        ({"name": "app"}, False),
    ],
)
def test_a_service_that_ends_is_known_by_its_policy_or_its_name(settings, once):
    assert runs_once(service(**settings)) is once


def test_apps_are_restarted_and_stores_and_jobs_are_not():
    assert notification(service()) == Notification("restart")
    assert notification(service(image=POSTGRES)) is None
    assert notification(service(runs_once=True)) is None
    assert is_store(service(image=POSTGRES))
    assert not is_store(service())


def test_a_program_that_changes_its_user_is_notified_by_its_uid():
    image = Image("grafana/grafana", entrypoint=("/run.sh",), command=(), shell_path="/bin/sh")
    assert notification(service(image=image)) == Notification("restart", uid=472)
    assert notification(service(image=image, user="1000")) == Notification("restart")
    assert notification(service(image=image, user="root")) == Notification("restart", uid=472)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"replicas": 2}, "2 replicas"),
        ({"pid": "host"}, "`pid: host`"),
        ({"image": Image("linuxserver/sonarr")}, "first process"),
        ({"image": Image("grafana/other")}, "not known"),
    ],
)
def test_what_cannot_be_notified_is_left_to_a_person(settings, reason):
    step = notification(service(**settings))
    assert isinstance(step, ManualStep)
    assert reason in step.what
    assert step.todo == "after a rotation, run `docker compose restart app`"


@pytest.mark.parametrize(
    ("restart", "expected"),
    [
        (None, "unless-stopped"),
        ("on-failure", "unless-stopped"),
        ("always", None),
        ("unless-stopped", None),
    ],
)
def test_a_program_that_the_agent_stops_starts_again(restart, expected):
    assert restart_policy(service(restart=restart), Notification("restart")) == expected
    assert restart_policy(service(restart=restart), None) is None


@pytest.mark.parametrize(
    ("image", "user", "group"),
    [
        (POSTGRES, None, 999),
        (POSTGRES, "root", 999),
        (POSTGRES, "0:0", 0),
        (POSTGRES, "70:70", 70),
        (Image("postgres:17", uid=0, gid=0), None, 999),
        (Image("app"), None, 0),
        (Image("app"), "1000", None),
        (Image("app", uid=1000, gid=100), "1000", 100),
        (Image("app"), "1000:1001", 1001),
        (Image("app"), "app:app", None),
        (Image("app", uid=5, gid=6), "app:app", None),
        (Image("app", uid=5, gid=0, numbers_of="app:root"), "app:root", 0),
        (Image("app", user="1000:1002"), None, 1002),
        (Image("app", user="node"), None, 1000),
        (Image("app", user="node:staff"), None, None),
        (Image("app", user="app"), None, None),
        (Image("app"), "0", 0),
        (Image("app", user="0"), None, 0),
    ],
)
def test_the_group_is_that_of_the_user_which_reads_the_files(image, user, group):
    assert group_of(service(image=image, user=user)) == group
