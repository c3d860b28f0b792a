"""An app that reads at the agent's socket, on a real Engine: in its container are no file, no token and no network."""

import json

import pytest

from e2e.compose import fingerprint
from e2e.engine import BASE

pytestmark = pytest.mark.docker

# Prints the status of each request at a socket, or the error. The words are the socket's path and the paths to request.
READER = """
import http.client, socket, sys
for path in sys.argv[2:]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(sys.argv[1])
        connection.request("GET", path)
        print(connection.getresponse().status)
    except OSError as exc:
        print(type(exc).__name__)
    connection.close()
"""
# What follows, as each of these users.
AS_EACH_USER = """
import os
for uid in {uids}:
    os.seteuid(0)
    os.seteuid(uid)
"""
SOCKET = "/run/sockets/app.sock"
OWN = ("/secret/database", "/files/app.env", "/v1/secret/data/production/database", "/generation", "/files")
OTHERS = (
    "/secret/other",
    "/secret/database/",
    "/secret/../staging/database",
    "/secret/..%2fstaging%2fdatabase",
    "/secret/production/database",
    "/secret//database",
    "/secret/databas",
    "/secret/database?version=1",
    "/secret/database?mount=other",
    "/secret/database?identity=worker",
    "/files/../app.env",
    "/files/..%2fapp.env",
    "/files/other.env",
    "/v1/secret/data/staging/database",
    "/v1/secret/data/production/other",
    "/v1/secret/data/production/../staging/database",
    "/v1/secret/metadata/production?list=true",
    "/v1/database/creds/app",
    "/v1/sys/mounts",
    "/v1/auth/approle/role/app/role-id",
)


@pytest.fixture(scope="module")
def project(images):
    with images.up("socket") as project:
        yield project


def test_the_app_reads_a_new_secret_without_a_signal_also_after_the_agent_is_replaced(project):
    value = project.rotate()
    project.wait_for_lines("app", f"read: {fingerprint(value)}", 1)
    project.docker("rm", "--force", project.container("agent"))
    value = project.rotate()
    project.compose("up", "--wait", "--no-recreate", "agent")
    project.wait_for_lines("app", f"read: {fingerprint(value)}", 1)
    assert project.inspect("app")["RestartCount"] == 0


def test_the_value_is_nowhere_in_the_apps_container(project):
    value = project.rotate()
    project.wait_for_lines("app", f"read: {fingerprint(value)}", 1)
    container = project.inspect("app")
    assert value not in json.dumps(container)
    assert value not in project.compose("logs")
    assert sorted(mount["Destination"] for mount in container["Mounts"]) == ["/app/app.py", "/run/sockets"]
    assert value not in project.run("app", "sh", "-c", "cat /proc/[0-9]*/environ; find /run", check=False)


def test_the_app_reads_its_own_paths_and_no_other(project):
    statuses = project.run("app", "python3", "-c", READER, SOCKET, *OWN, *OTHERS).split()
    assert statuses[: len(OWN)] == ["200"] * len(OWN)
    # No template reads these.
    assert len(statuses[len(OWN) :]) == len(OTHERS) == 20
    assert set(statuses[len(OWN) :]) <= {"400", "403", "404"}, dict(zip(OTHERS, statuses[len(OWN) :], strict=True))


def test_no_other_user_and_no_other_container_gets_in(project):
    uids = (0, *range(1001, 1020))
    for uid in uids:
        status = project.run("app", "python3", "-c", READER, SOCKET, OWN[0], user=str(uid))
        assert status.split() == ["403"], uid
    mounts = f"--volume={project.name}_sockets:/run/sockets:ro", "--network=none"
    words = ("python3", "-c", AS_EACH_USER.format(uids=uids) + READER.replace("\n", "\n    "), SOCKET, OWN[0])
    assert project.docker("run", "--rm", *mounts, BASE, *words).split() == ["403"] * len(uids)
