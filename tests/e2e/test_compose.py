"""The quickstart on a real Engine: its secret is rotated, and its agent and app are killed."""

import io
import json

import pytest
from dotenv import dotenv_values

from e2e.compose import DIRECTORY, KILL, LESSEE, fingerprint
from support.needs import need
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def quickstart(images):
    with images.up("quickstart") as project:
        yield project


@pytest.mark.thorough
def test_a_rotated_secret_reaches_the_app_which_is_notified(quickstart):
    check_that_a_rotation_reaches_the_app(quickstart)


def test_the_app_can_read_its_files_but_not_write_there_or_access_the_agent(quickstart):
    assert "Read-only file system" in quickstart.run("app", "touch", f"{DIRECTORY}/x", check=False)
    assert "Permission denied" in quickstart.run("app", "ls", "/proc/1/root", check=False)
    output = quickstart.run("app", "python3", "-c", KILL, "0", LESSEE, check=False)
    assert "Operation not permitted" in output
    mounted = {mount["Destination"] for mount in quickstart.inspect("app")["Mounts"]}
    assert mounted == {"/app", DIRECTORY}


@pytest.mark.parametrize(("service", "capabilities"), [("agent", {5}), ("app", set()), ("holder", set())])  # CAP_KILL
def test_a_container_has_only_the_privileges_that_it_needs(quickstart, service, capabilities):
    status = quickstart.run(service, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert {number for number in range(64) if int(fields[kind], 16) >> number & 1} == capabilities
    assert fields["NoNewPrivs"] == "1"
    container = quickstart.inspect(service)
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["Config"]["User"] == {"agent": "0:1000", "app": "1000:1000", "holder": "65534:65534"}[service]
    assert not [mount for mount in container["Mounts"] if "docker" in mount["Destination"]]
    assert not [mount for mount in container["Mounts"] if mount["Source"].endswith(".sock")]


# The fields of the agent's first process, and of the fork that reads the secrets, in the order of their pids.
FIELDS = """
import json, sys
from pathlib import Path
def fields(folder):
    return dict(line.split(":\\t", 1) for line in (folder / "status").read_text().splitlines() if ":\\t" in line)
agents = [file.parent for file in Path("/proc").glob("[0-9]*/cmdline") if b"run" in file.read_bytes().split(b"\\0")]
print(json.dumps([fields(folder) for folder in sorted(agents, key=lambda folder: int(folder.name))]))
"""


def test_the_agent_confines_itself_further_than_its_container_does(quickstart):
    assert quickstart.status()["sandbox"] == {
        "capabilities": ["KILL"],
        "no_new_privileges": True,
        "seccomp": "on",
        "landlock": "on",
        "writable": ["/run/lessee", "/run/secrets/app"],
    }
    first, fork = json.loads(quickstart.run("agent", "/opt/lessee/bin/python", "-c", FIELDS))
    assert int(fork["CapEff"], 16) == 1 << 5
    assert int(fork["Seccomp_filters"]) == int(first["Seccomp_filters"]) + 1


def test_the_agents_limits_are_in_force_and_leave_room(quickstart):
    supported = quickstart.docker("info", "--format", "{{.MemoryLimit}} {{.PidsLimit}}").split()[-2:]
    need(supported == ["true", "true"], "needs an Engine with limits of memory and processes")
    settings = quickstart.inspect("agent")["HostConfig"]
    assert (settings["Memory"], settings["PidsLimit"]) == (256 << 20, 64)
    form = "{{.MemPerc}} {{.PIDs}}"
    used = quickstart.docker("stats", "--no-stream", "--format", form, quickstart.container("agent")).split()
    assert float(used[0].rstrip("%")) < 50
    assert 2 <= int(used[1]) < 32


def test_a_killed_agent_affects_neither_app_nor_files_and_restarts_without_a_second_login(quickstart):
    before = json.loads(quickstart.run("agent", LESSEE, "status", "--json"))
    file, lines = app_env(quickstart), quickstart.lines("app", "")
    tokens = list_tokens(quickstart)
    assert quickstart.kill(LESSEE)
    assert app_env(quickstart) == file
    quickstart.wait_for_lines("agent", '"agent starting"', 2)
    quickstart.compose("up", "--wait", "--no-deps", "--no-recreate", "agent")
    assert quickstart.inspect("agent")["RestartCount"] == 1
    assert app_env(quickstart) == file
    assert quickstart.lines("app", "") == lines
    assert quickstart.inspect("app")["RestartCount"] == 0
    assert quickstart.status()["token"]["accessor"] == before["token"]["accessor"]
    assert list_tokens(quickstart) == tokens
    check_that_a_rotation_reaches_the_app(quickstart)


def test_an_app_that_crashed_is_restarted_and_reads_the_current_files(quickstart):
    check_that_a_rotation_reaches_the_app(quickstart)
    restarts = quickstart.inspect("agent")["RestartCount"]
    starts = len(quickstart.lines("app", "start:"))
    assert quickstart.kill("/app/app.py")
    assert quickstart.wait_for_lines("app", "start:", starts + 1)[-1].endswith(fingerprint(app_env(quickstart)))
    assert quickstart.inspect("agent")["RestartCount"] == restarts
    check_that_a_rotation_reaches_the_app(quickstart)


def test_no_value_is_in_the_output_of_inspect_config_or_logs(quickstart):
    first = dotenv_values(stream=io.StringIO(app_env(quickstart)))["DATABASE_PASSWORD"]
    second = check_that_a_rotation_reaches_the_app(quickstart)
    secret_id = quickstart.run("agent", "cat", "/run/identity/secret_id")
    token = json.loads(quickstart.run("agent", "sh", "-c", "cat /run/lessee/token-*"))["value"]
    services = ("agent", "app", "holder", "openbao", "setup")
    outputs = [
        quickstart.compose("config"),
        quickstart.compose("logs"),
        *map(json.dumps, map(quickstart.inspect, services)),
    ]
    for value in (first, second, secret_id, token):
        assert len(value) > 16
        assert not [text for text in outputs if value in text]


def test_down_removes_containers_volumes_and_networks(quickstart):
    label = f"label=com.docker.compose.project={quickstart.name}"
    kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    assert all(quickstart.docker(*kind, "--quiet", "--filter", label) for kind in kinds)
    quickstart.compose("down", "--volumes")
    # The Engine may still be removing them.
    eventually(lambda: not any(quickstart.docker(*kind, "--quiet", "--filter", label) for kind in kinds), "the end")


def check_that_a_rotation_reaches_the_app(quickstart):
    lines = len(quickstart.lines("app", "SIGHUP:"))
    value = quickstart.rotate()
    line = quickstart.wait_for_lines("app", "SIGHUP:", lines + 1)[-1]
    file = app_env(quickstart)
    assert dotenv_values(stream=io.StringIO(file)) == {"DATABASE_USER": "app", "DATABASE_PASSWORD": value}
    assert line == f"SIGHUP: app.env {fingerprint(file)}"
    return value


def list_tokens(quickstart):
    return sorted(json.loads(quickstart.run("openbao", "bao", "list", "-format=json", "auth/token/accessors")))


def app_env(quickstart):
    """The file as the app reads it."""
    return quickstart.read("app", f"{DIRECTORY}/app.env")
