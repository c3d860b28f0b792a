"""The stack of compose/socket-proxy on a real Engine: which requests the proxy forwards, and which it denies."""

import io
import json
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from dotenv import dotenv_values

from e2e.compose import DIRECTORY, Project, fingerprint
from support.paths import ROOT
from support.programs.sidecar import eventually

docker = pytest.mark.docker
NAME = "lessee-e2e-socket-proxy"
IMAGES = {
    "agent": "lessee-proxied-agent",
    "holder": "lessee-proxied-agent",
    "openbao": "lessee-proxied-openbao",
    "setup": "lessee-proxied-openbao",
    "socket-proxy": "lessee-proxied-proxy",
}
OTHER, CREATED = "lessee-proxied-other", "lessee-proxied-created"
PROXY = ROOT / "compose/socket-proxy/proxy.py"
CANARY = secrets.token_hex(12)
SEND = """
import json, socket, sys
responses = []
for request in json.load(sys.stdin):
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.settimeout(60)
        proxy.connect("/run/socket-proxy/docker.sock")
        proxy.sendall(request.encode("latin-1"))
        responses.append(proxy.makefile("rb").read().decode("latin-1"))
print(json.dumps(responses))
"""


class Proxied(Project):
    """compose/socket-proxy as a Compose project."""

    def send_raw(self, *requests):
        """Send each of these texts from the agent's container on its own connection, and return the whole responses."""
        # As JSON, because `docker exec` does not preserve the carriage returns of plain text.
        return json.loads(self.run("agent", "/opt/lessee/bin/python", "-c", SEND, text=json.dumps(requests)))

    def send(self, *lines):
        """Send requests given as `METHOD PATH`, and return the status and body of each response."""
        responses = self.send_raw(*(f"{line} HTTP/1.1\r\nHost: docker\r\n\r\n" for line in lines))
        parts = [response.partition("\r\n\r\n") for response in responses]
        return [(int(head.split(" ")[1]), body) for head, _, body in parts]

    def container_states(self):
        """The id, state and start time of each container that a request here could create or change."""
        names = {*map(self.container, (*IMAGES, "app")), OTHER, CREATED}
        existing = self.docker("ps", "--all", "--format={{.Names}}").split()
        containers = [self._engine.inspect(name) for name in sorted(names.intersection(existing))]
        return [(one["Id"], one["Name"], one["State"]["Status"], one["State"]["StartedAt"]) for one in containers]


@pytest.fixture(scope="module")
def project(images):
    services = {name: {"image": image} for name, image in IMAGES.items()}
    for name in ("agent", "openbao"):
        services[name]["build"] = images.build
    services["socket-proxy"]["build"] = {}
    services["app"] = {"environment": {"TOKEN": CANARY}, "labels": {"token": CANARY}}
    socket = images.engine.socket
    environ = {"DOCKER_GID": str(Path(socket).stat().st_gid), "DOCKER_SOCKET": socket}
    with images.up("socket-proxy", services, kind=Proxied, **environ) as project:
        yield project


@pytest.fixture(scope="module")
def stranger(engine, project):
    """A container of another project."""
    label = f"--label=com.docker.compose.project={OTHER}"
    image = project.inspect("app")["Image"]
    container = engine.docker(
        "run", "--detach", "--network=none", "--init", f"--name={OTHER}", label, image, "sleep", "1h"
    )
    yield container.strip()
    engine.remove(OTHER)


@pytest.mark.thorough
@docker
def test_a_rotation_restarts_the_app_once_and_it_reads_the_new_secret(project):
    eventually(lambda: not project.status()["apps"]["app"]["notify"]["pending"], "the first notification")
    project.wait_for_lines("app", "start:", 1)
    assert len(project.lines("app", "start:")) == 1
    for count in (2, 3):
        value = project.rotate()
        line = project.wait_for_lines("app", "start:", count)[-1]
        file = project.run("app", "cat", f"{DIRECTORY}/app.env")
        assert dotenv_values(stream=io.StringIO(file)) == {"DATABASE_USER": "app", "DATABASE_PASSWORD": value}
        assert line == f"start: app.env {fingerprint(file)}"
        eventually(lambda: not project.status()["apps"]["app"]["notify"]["pending"], "the end of the notification")
        assert len(project.lines("app", "start:")) == count


@pytest.mark.thorough
@docker
def test_the_app_is_notified_of_a_rotation_during_an_outage_of_the_proxy_when_it_returns(project):
    count = len(project.lines("app", "start:"))
    project.compose("stop", "socket-proxy")
    project.rotate()
    eventually(lambda: project.status()["apps"]["app"]["notify"]["error"], "the error")
    assert len(project.lines("app", "start:")) == count
    project.compose("start", "socket-proxy")
    project.wait_for_lines("app", "start:", count + 1)


@docker
def test_only_the_proxy_has_the_socket_and_it_runs_unprivileged(project):
    proxy = project.inspect("socket-proxy")
    assert proxy["Config"]["User"].startswith("65534:")
    assert proxy["HostConfig"]["CapDrop"] == ["ALL"]
    assert proxy["HostConfig"]["ReadonlyRootfs"]
    assert proxy["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert proxy["HostConfig"]["NetworkMode"] == "none"
    assert not proxy["HostConfig"]["CapAdd"]
    for service in ("agent", "app", "holder", "openbao"):
        assert not [mount for mount in project.inspect(service)["Mounts"] if mount["Source"].endswith("docker.sock")]
    output = project.run("app", "ls", "/run/socket-proxy", check=False)
    assert "No such file" in output


@docker
def test_the_agent_can_read_the_fields_that_it_needs_of_its_project_and_no_secret(project, stranger):
    ((status, listed),) = project.send("GET /v1.44/containers/json?all=1")
    assert status == 200
    names = {name for container in json.loads(listed) for name in container["Names"]}
    assert names == {f"/{NAME}-{service}-1" for service in (*IMAGES, "app")}
    for which in (f"{NAME}-app-1", project.inspect("app")["Id"]):
        ((status, body),) = project.send(f"GET /containers/{which}/json")
        assert status == 200
        container = json.loads(body)
        assert container["State"]["Status"] == "running"
        assert container["HostConfig"] == {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}}
        assert set(container) == {"Id", "Name", "State", "Config", "HostConfig"}
        assert set(container["Config"]) <= {"Labels", "StopSignal"}
        assert all(name.startswith("com.docker.compose.") for name in container["Config"]["Labels"])
    assert CANARY in json.dumps(project.inspect("app"))
    assert CANARY not in listed + body
    assert stranger not in listed


@docker
@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"label": [f"com.docker.compose.project={OTHER}"]}, 0),
        ({"label": {f"com.docker.compose.project={OTHER}": True}}, 0),
        ({"label": ["token"]}, 1),
        ({}, len(IMAGES) + 1),
    ],
)
def test_no_filter_lists_containers_of_another_project(project, stranger, filters, count):
    ((status, listed),) = project.send(f"GET /containers/json?all=1&filters={quote(json.dumps(filters))}")
    assert status == 200
    assert stranger not in listed
    assert len(json.loads(listed)) == count


@docker
def test_the_proxy_forwards_a_reload_signal_to_a_container_of_its_project(project):
    before = len(project.lines("app", "SIGHUP:"))
    assert project.send(f"POST /v1.44/containers/{NAME}-app-1/kill?signal=SIGHUP") == [(204, "")]
    project.wait_for_lines("app", "SIGHUP:", before + 1)


ID = f"{NAME}-app-1"
DENIED = {
    "exec": f"POST /containers/{ID}/exec",
    "exec start": "POST /exec/0123456789ab/start",
    "create": f"POST /containers/create?name={CREATED}",
    "start": f"POST /containers/{ID}/start",
    "stop": f"POST /containers/{ID}/stop",
    "pause": f"POST /containers/{ID}/pause",
    "rename": f"POST /containers/{ID}/rename?name={CREATED}",
    "update": f"POST /containers/{ID}/update",
    "remove": f"DELETE /containers/{ID}?force=1",
    "logs": f"GET /containers/{ID}/logs?stdout=1",
    "top": f"GET /containers/{ID}/top",
    "stats": f"GET /containers/{ID}/stats?stream=0",
    "changes": f"GET /containers/{ID}/changes",
    "export": f"GET /containers/{ID}/export",
    "archive": f"GET /containers/{ID}/archive?path=/run/secrets",
    "archive upload": f"PUT /containers/{ID}/archive?path=/",
    "attach": f"POST /containers/{ID}/attach?stream=1&stdin=1",
    "attach by websocket": f"GET /containers/{ID}/attach/ws",
    "prune": "POST /containers/prune",
    "images": "GET /images/json",
    "pull": "POST /images/create?fromImage=busybox",
    "build": "POST /build",
    "commit": f"POST /commit?container={ID}",
    "volumes": "GET /volumes",
    "networks": "GET /networks",
    "swarm": "GET /swarm",
    "swarm init": "POST /swarm/init",
    "services": "GET /services",
    "secrets": "GET /secrets",
    "plugins": "GET /plugins",
    "info": "GET /info",
    "events": "GET /events",
    "df": "GET /system/df",
    "auth": "POST /auth",
    "session": "POST /session",
    "grpc": "POST /grpc",
    "root": "GET /",
    "kill -9": f"POST /containers/{ID}/kill?signal=SIGKILL",
    "kill by default": f"POST /containers/{ID}/kill",
    "kill by number": f"POST /containers/{ID}/kill?signal=9",
    "kill -STOP": f"POST /containers/{ID}/kill?signal=STOP",
    "kill -TERM": f"POST /containers/{ID}/kill?signal=SIGTERM",
    "kill in lower case": f"POST /containers/{ID}/kill?signal=kill",
    "kill twice": f"POST /containers/{ID}/kill?signal=HUP&signal=KILL",
    "kill, with blanks": f"POST /containers/{ID}/kill?signal=HUP%20KILL",
    "kill, with a second parameter inside": f"POST /containers/{ID}/kill?signal=HUP%26signal=KILL",
    "restart with a signal": f"POST /containers/{ID}/restart?t=1&signal=SIGKILL",
    "restart for ever": f"POST /containers/{ID}/restart?t=-1",
    "inspect with its size": f"GET /containers/{ID}/json?size=1",
    "filter by name": "GET /containers/json?filters=%7B%22name%22%3A%5B%22x%22%5D%7D",
    "filter deep": f"GET /containers/json?filters={'[' * 5000}",
    "filter twice": "GET /containers/json?filters=%7B%7D&filters=%7B%7D",
    "list since": f"GET /containers/json?since={ID}",
    "GET to restart": f"GET /containers/{ID}/restart",
    "HEAD": "HEAD /containers/json",
    "escaped slash": f"GET /containers/x%2f..%2f{ID}/json",
    "escaped path": "GET /%63ontainers/json",
    "up": "GET /containers/../images/json",
    "up, below the version": "GET /v1.44/../images/json",
    "escaped up": "GET /containers/%2e%2e/images/json",
    "two slashes": "GET //containers/json",
    "two slashes inside": f"POST /containers//{ID}/restart",
    "slash at the end": "GET /containers/json/",
    "two versions": "GET /v1.44/v1.44/containers/json",
    "strange version": "GET /v1.44x/containers/json",
    "absolute": "GET http://docker/containers/json",
    "authority": "CONNECT docker:80",
    "fragment": "GET /containers/json#x",
    "parameter": "GET /containers/json;x",
    "backslash": f"GET /containers\\{ID}/json",
    "hidden file": "GET /containers/.x/json",
    "newline": f"GET /containers/{ID}%0a/json",
    "itself, restart": f"POST /containers/{NAME}-socket-proxy-1/restart?t=1",
    "itself, signal": f"POST /containers/{NAME}-socket-proxy-1/kill?signal=HUP",
}


@docker
def test_all_other_requests_are_denied_and_have_no_effect(project):
    before = project.container_states()
    responses = dict(zip(DENIED, project.send(*DENIED.values()), strict=True))
    assert {name: status for name, (status, _) in responses.items()} == dict.fromkeys(DENIED, 403)
    assert all(json.loads(body)["message"].startswith("socket-proxy: ") for _, body in responses.values())
    assert project.container_states() == before


@docker
def test_a_container_of_another_project_gets_the_same_response_as_a_missing_one(project, stranger):
    before = project.container_states()
    names = (OTHER, stranger, stranger[:12], "no-such-container")
    for request in (
        "GET /containers/{}/json",
        "POST /containers/{}/restart?t=1",
        "POST /containers/{}/kill?signal=HUP",
    ):
        responses = project.send(*map(request.format, names))
        assert responses == responses[-1:] * len(names)
        assert responses[0][0] == 404
    assert project.container_states() == before


KILL = f"POST /containers/{ID}/kill?signal=KILL HTTP/1.1\r\nHost: docker\r\n\r\n"
PING = "GET /_ping HTTP/1.1\r\nHost: docker\r\n"
SMUGGLED = {
    "chunked": f"{PING}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{KILL}",
    "chunked, after a length": f"{PING}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{KILL}",
    "body": f"{PING}Content-Length: {len(KILL)}\r\n\r\n{KILL}",
    "two lengths": f"{PING}Content-Length: 0\r\nContent-Length: {len(KILL)}\r\n\r\n{KILL}",
    "length with a sign": f"{PING}Content-Length: +0\r\n\r\n{KILL}",
    "upgrade": f"{PING}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n{KILL}",
    "expect": f"{PING}Expect: 100-continue\r\n\r\n",
    "blank before the colon": f"{PING}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{KILL}",
    "folded line": f"{PING}X: y\r\n Transfer-Encoding: chunked\r\n\r\n{KILL}",
    "line feed alone": f"{PING}X: y\nTransfer-Encoding: chunked\r\n\r\n{KILL}",
    "carriage return alone": f"{PING}X: y\rZ: z\r\n\r\n{KILL}",
    "nul": f"{PING}X: \0\r\n\r\n{KILL}",
    "HTTP/0.9": "GET /_ping\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "blanks in the line": f"GET /_ping HTTP/1.1 {KILL}",
    "tab in the line": "GET\t/_ping HTTP/1.1\r\n\r\n",
}


@docker
def test_an_ambiguous_request_is_denied(project):
    before = project.container_states()
    responses = dict(zip(SMUGGLED, project.send_raw(*SMUGGLED.values()), strict=True))
    assert {name: response[:12] for name, response in responses.items()} == dict.fromkeys(SMUGGLED, "HTTP/1.1 403")
    assert {name: response.count("HTTP/1.1") for name, response in responses.items()} == dict.fromkeys(SMUGGLED, 1)
    assert project.container_states() == before


@docker
def test_the_proxy_reads_one_request_on_each_connection(project):
    before = project.container_states()
    (response,) = project.send_raw(f"{PING}\r\n{KILL}")
    assert response.startswith("HTTP/1.1 200 ")
    assert response.endswith("\r\n\r\nOK")
    assert response.count("HTTP/1.1") == 1
    assert project.container_states() == before


@docker
def test_a_request_head_that_is_too_long_is_denied(project):
    (response,) = project.send_raw(f"{PING}X: {'x' * 9000}\r\n\r\n")
    assert response.startswith("HTTP/1.1 400 ")


@docker
def test_the_proxy_logs_each_request(project):
    project.send("GET /images/json?canary")
    project.wait_for_lines("socket-proxy", "GET /images/json?canary HTTP/1.1 403", 1)


@pytest.fixture
def connect(tmp_path):
    """Connects to a proxy on a TCP port, whose Engine is unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        "LISTEN": f"tcp://127.0.0.1:{port}",
        "ENGINE_SOCKET": str(tmp_path / "none"),
        "COMPOSE_PROJECT_NAME": "x",
    }
    with subprocess.Popen([sys.executable, PROXY], env=environ, stdout=subprocess.PIPE) as proxy:
        assert b"serving project x" in proxy.stdout.readline()
        yield lambda: socket.create_connection(("127.0.0.1", port), timeout=10)
        proxy.terminate()
        assert proxy.wait(10) == 0


def send(connection, request):
    """Send a request, and return the whole response."""
    with connection:
        connection.sendall(request.encode())
        return connection.makefile("rb").read().decode()


def test_the_proxy_reports_an_unavailable_engine_and_keeps_running(connect):
    for _ in range(2):
        assert send(connect(), f"{PING}\r\n").startswith("HTTP/1.1 502 ")


def test_the_proxy_limits_the_number_of_connections(connect):
    idle = [connect() for _ in range(32)]
    # The proxy closes the connection without reading the request, so the client may get a reset and no response.
    with suppress(ConnectionResetError):
        assert send(connect(), f"{PING}\r\n").startswith("HTTP/1.1 503 ")
    for connection in idle:
        connection.close()
    eventually(lambda: send(connect(), f"{PING}\r\n").startswith("HTTP/1.1 502 "), "an accepted connection")


def test_without_a_project_the_proxy_does_not_start(tmp_path):
    environ = {"LISTEN": f"unix://{tmp_path}/x", "ENGINE_SOCKET": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, PROXY], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "the container's Compose project was not found; set COMPOSE_PROJECT_NAME\n"
