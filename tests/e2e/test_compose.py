"""The quickstart, brought up on a real Engine, rotated and shot at."""

import io
import json

import pytest
from dotenv import dotenv_values

from e2e.compose import DIRECTORY, KILL, LESSEE, fingerprint, up

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def quickstart(pytestconfig):
    with up(pytestconfig, "quickstart") as project:
        yield project


def test_a_rotated_secret_reaches_the_app_which_is_notified(quickstart):
    check_that_a_rotation_arrives(quickstart)


def test_the_app_reads_its_files_and_can_neither_write_there_nor_touch_the_agent(quickstart):
    assert "Read-only file system" in quickstart.run("app", "touch", f"{DIRECTORY}/x", fine=False)
    assert "Permission denied" in quickstart.run("app", "ls", "/proc/1/root", fine=False)
    refused = quickstart.run("app", "python3", "-c", KILL, "0", LESSEE, fine=False)
    assert "Operation not permitted" in refused
    mounted = {mount["Destination"] for mount in quickstart.inspect("app")["Mounts"]}
    assert mounted == {"/app", DIRECTORY}


@pytest.mark.parametrize(("service", "capabilities"), [("agent", {5}), ("app", set()), ("holder", set())])  # CAP_KILL
def test_a_container_may_do_nothing_but_its_job(quickstart, service, capabilities):
    status = quickstart.run(service, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert {number for number in range(64) if int(fields[kind], 16) >> number & 1} == capabilities
    assert fields["NoNewPrivs"] == "1"
    seen = quickstart.inspect(service)
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["Config"]["User"] == {"agent": "0:1000", "app": "1000:1000", "holder": "65534:65534"}[service]
    assert not [mount for mount in seen["Mounts"] if "docker" in mount["Destination"]]
    assert not [mount for mount in seen["Mounts"] if mount["Source"].endswith(".sock")]


def test_a_killed_agent_leaves_app_and_files_alone_and_returns_without_a_second_login(quickstart):
    before, file, lines = quickstart.status(), file_of(quickstart), quickstart.lines("app", "")
    tokens = tokens_at(quickstart)
    assert quickstart.kill(LESSEE)
    assert file_of(quickstart) == file
    quickstart.until("agent", '"agent starting"', 2)
    quickstart.compose("up", "--wait", "--no-deps", "--no-recreate", "agent")
    assert quickstart.inspect("agent")["RestartCount"] == 1
    assert file_of(quickstart) == file
    assert quickstart.lines("app", "") == lines
    assert quickstart.inspect("app")["RestartCount"] == 0
    assert quickstart.status()["token"]["accessor"] == before["token"]["accessor"]
    assert tokens_at(quickstart) == tokens
    check_that_a_rotation_arrives(quickstart)


def test_an_app_that_crashed_is_started_again_and_reads_the_current_files(quickstart):
    check_that_a_rotation_arrives(quickstart)
    agents = quickstart.inspect("agent")["RestartCount"]
    starts = len(quickstart.lines("app", "start:"))
    assert quickstart.kill("/app/app.py")
    assert quickstart.until("app", "start:", starts + 1)[-1].endswith(fingerprint(file_of(quickstart)))
    assert quickstart.inspect("agent")["RestartCount"] == agents
    check_that_a_rotation_arrives(quickstart)


def test_no_value_shows_in_inspect_in_config_or_in_logs(quickstart):
    first = dotenv_values(stream=io.StringIO(file_of(quickstart)))["DATABASE_PASSWORD"]
    second = check_that_a_rotation_arrives(quickstart)
    secret_id = quickstart.run("agent", "cat", "/run/identity/secret_id")
    token = json.loads(quickstart.run("agent", "sh", "-c", "cat /run/lessee/token-*"))["value"]
    services = ("agent", "app", "holder", "openbao", "setup")
    shown = [
        quickstart.compose("config"),
        quickstart.compose("logs"),
        *map(json.dumps, map(quickstart.inspect, services)),
    ]
    for value in (first, second, secret_id, token):
        assert len(value) > 16
        assert not [text for text in shown if value in text]


def test_down_leaves_nothing(quickstart):
    label = f"label=com.docker.compose.project={quickstart.name}"
    kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    assert all(quickstart.docker(*kind, "--quiet", "--filter", label) for kind in kinds)
    quickstart.down()
    assert not any(quickstart.docker(*kind, "--quiet", "--filter", label) for kind in kinds)


def check_that_a_rotation_arrives(quickstart):
    lines = len(quickstart.lines("app", "SIGHUP:"))
    value = quickstart.rotate()
    line = quickstart.until("app", "SIGHUP:", lines + 1)[-1]
    file = file_of(quickstart)
    assert dotenv_values(stream=io.StringIO(file)) == {"DATABASE_USER": "app", "DATABASE_PASSWORD": value}
    assert line == f"SIGHUP: app.env {fingerprint(file)}"
    return value


def tokens_at(quickstart):
    return sorted(json.loads(quickstart.run("openbao", "bao", "list", "-format=json", "auth/token/accessors")))


def file_of(quickstart):
    """What the app reads."""
    return quickstart.run("app", "cat", f"{DIRECTORY}/app.env")
