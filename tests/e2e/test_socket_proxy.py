"""The situation with a socket proxy on a real Engine: what it lets through, and what it does not."""

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

from e2e.compose import DIRECTORY, Project, fingerprint, images
from e2e.engine import shared
from support.paths import ROOT
from support.programs.sidecar import eventually

docker = pytest.mark.docker
NAME = "lessee-proxied"
IMAGES = {
    "agent": "lessee-proxied-agent",
    "holder": "lessee-proxied-agent",
    "openbao": "lessee-proxied-openbao",
    "setup": "lessee-proxied-openbao",
    "socket-proxy": "lessee-proxied-proxy",
}
OTHER = "lessee-proxied-other"
PROXY = ROOT / "compose/socket-proxy/proxy.py"
CANARY = secrets.token_hex(12)
ASK = """
import json, socket, sys
answers = []
for request in json.load(sys.stdin):
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.settimeout(60)
        proxy.connect("/run/socket-proxy/docker.sock")
        proxy.sendall(request.encode("latin-1"))
        answers.append(proxy.makefile("rb").read().decode("latin-1"))
print(json.dumps(answers))
"""


class Proxied(Project):
    """compose/socket-proxy as a project of its own name, with its own images."""

    def __init__(self, engine, override, base):
        super().__init__(engine, override, base)
        self._compose = ("compose", "-p", NAME, "-f", f"{ROOT}/compose/socket-proxy/compose.yaml", "-f", override)
        self._socket = engine.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")

    def compose(self, *arguments, **settings):
        group = Path(self._socket).stat().st_gid
        return super().compose(*arguments, DOCKER_GID=str(group), DOCKER_SOCKET=self._socket, **settings)

    def raw(self, *requests):
        """The whole answers to these bytes, each sent on a connection of its own from the agent's container."""
        # As JSON, for text loses its carriage returns on the way.
        return json.loads(self.run("agent", "/opt/lessee/bin/python", "-c", ASK, text=json.dumps(requests)))

    def ask(self, *lines):
        """Status and body of the answers to these `METHOD PATH`."""
        answers = self.raw(*(f"{line} HTTP/1.1\r\nHost: docker\r\n\r\n" for line in lines))
        parted = [answer.partition("\r\n\r\n") for answer in answers]
        return [(int(head.split(" ")[1]), body) for head, _, body in parted]

    def all_there_is(self):
        """Every container of the Engine, with what a request could have changed."""
        ids = self._engine.docker("ps", "--all", "--quiet", "--no-trunc").split()
        form = "{{.Id}} {{.Name}} {{.State.Status}} {{.State.StartedAt}}"
        return sorted(self._engine.docker("inspect", "--format", form, *ids).splitlines())


@pytest.fixture(scope="module")
def engine(pytestconfig):
    return shared(pytestconfig)


@pytest.fixture(scope="module")
def project(engine, pytestconfig, tmp_path_factory):
    made = images(pytestconfig)
    services = {name: {"image": image} for name, image in IMAGES.items()}
    for name in ("agent", "openbao"):
        services[name]["build"] = made.build
    services["app"] = {"environment": {"TOKEN": CANARY}, "labels": {"token": CANARY}}
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    override.write_text(json.dumps({"services": services}))
    project = Proxied(engine, str(override), made.base)
    try:
        project.compose("build")
        project.compose("up", "--wait")
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "2")
        engine.remove(*set(IMAGES.values()))


@pytest.fixture(scope="module")
def stranger(engine, project):
    """A container of another project."""
    label = f"--label=com.docker.compose.project={OTHER}"
    image = project.inspect("app")["Image"]
    found = engine.docker("run", "--detach", "--network=none", "--init", f"--name={OTHER}", label, image, "sleep", "1h")
    yield found.strip()
    engine.docker("rm", "--force", OTHER)


@docker
def test_after_a_rotation_the_app_is_restarted_once_and_reads_the_new_secret(project):
    eventually(lambda: not project.status()["apps"]["app"]["notify"]["pending"], "the first notification")
    assert len(project.lines("app", "start:")) == 1
    for count in (2, 3):
        value = project.rotate()
        line = project.until("app", "start:", count)[-1]
        file = project.run("app", "cat", f"{DIRECTORY}/app.env")
        assert dotenv_values(stream=io.StringIO(file)) == {"DATABASE_USER": "app", "DATABASE_PASSWORD": value}
        assert line == f"start: app.env {fingerprint(file)}"
        eventually(lambda: not project.status()["apps"]["app"]["notify"]["pending"], "the end of the notification")
        assert len(project.lines("app", "start:")) == count


@docker
def test_a_rotation_while_the_proxy_is_down_is_notified_when_it_is_back(project):
    count = len(project.lines("app", "start:"))
    project.compose("stop", "socket-proxy")
    project.rotate()
    eventually(lambda: project.status()["apps"]["app"]["notify"]["error"], "the failure")
    assert len(project.lines("app", "start:")) == count
    project.compose("start", "socket-proxy")
    project.until("app", "start:", count + 1)


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
        assert not [one for one in project.inspect(service)["Mounts"] if one["Source"].endswith("docker.sock")]
    refused = project.run("app", "ls", "/run/socket-proxy", fine=False)
    assert "No such file" in refused


@docker
def test_of_its_own_project_the_agent_sees_what_it_needs_and_no_secret(project, stranger):
    ((status, listed),) = project.ask("GET /v1.44/containers/json?all=1")
    assert status == 200
    names = {name for one in json.loads(listed) for name in one["Names"]}
    assert names == {f"/{NAME}-{service}-1" for service in (*IMAGES, "app")}
    for which in (f"{NAME}-app-1", project.inspect("app")["Id"]):
        ((status, seen),) = project.ask(f"GET /containers/{which}/json")
        assert status == 200
        one = json.loads(seen)
        assert one["State"]["Status"] == "running"
        assert one["HostConfig"] == {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}}
        assert set(one) == {"Id", "Name", "State", "Config", "HostConfig"}
        assert set(one["Config"]) <= {"Labels", "StopSignal"}
        assert all(name.startswith("com.docker.compose.") for name in one["Config"]["Labels"])
    assert CANARY in json.dumps(project.inspect("app"))
    assert CANARY not in listed + seen
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
def test_no_filter_shows_another_project(project, stranger, filters, count):
    ((status, listed),) = project.ask(f"GET /containers/json?all=1&filters={quote(json.dumps(filters))}")
    assert status == 200
    assert stranger not in listed
    assert len(json.loads(listed)) == count


@docker
def test_its_own_containers_are_signalled_to_reload(project):
    before = len(project.lines("app", "SIGHUP:"))
    assert project.ask(f"POST /v1.44/containers/{NAME}-app-1/kill?signal=SIGHUP") == [(204, "")]
    project.until("app", "SIGHUP:", before + 1)


ID = f"{NAME}-app-1"
REFUSED = {
    "exec": f"POST /containers/{ID}/exec",
    "exec start": "POST /exec/0123456789ab/start",
    "create": "POST /containers/create?name=x",
    "start": f"POST /containers/{ID}/start",
    "stop": f"POST /containers/{ID}/stop",
    "pause": f"POST /containers/{ID}/pause",
    "rename": f"POST /containers/{ID}/rename?name=x",
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
def test_all_other_requests_are_refused_and_have_no_effect(project):
    before = project.all_there_is()
    answers = dict(zip(REFUSED, project.ask(*REFUSED.values()), strict=True))
    assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(REFUSED, 403)
    assert all(json.loads(body)["message"].startswith("socket-proxy: ") for _, body in answers.values())
    assert project.all_there_is() == before


@docker
def test_a_container_of_another_project_is_as_if_it_were_not_there(project, stranger):
    before = project.all_there_is()
    names = (OTHER, stranger, stranger[:12], "no-such-container")
    for how in ("GET /containers/{}/json", "POST /containers/{}/restart?t=1", "POST /containers/{}/kill?signal=HUP"):
        answers = project.ask(*map(how.format, names))
        assert answers == answers[-1:] * len(names)
        assert answers[0][0] == 404
    assert project.all_there_is() == before


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
def test_a_request_that_could_be_read_in_two_ways_is_refused(project):
    before = project.all_there_is()
    answers = dict(zip(SMUGGLED, project.raw(*SMUGGLED.values()), strict=True))
    assert {name: answer[:12] for name, answer in answers.items()} == dict.fromkeys(SMUGGLED, "HTTP/1.1 403")
    assert {name: answer.count("HTTP/1.1") for name, answer in answers.items()} == dict.fromkeys(SMUGGLED, 1)
    assert project.all_there_is() == before


@docker
def test_what_follows_a_request_on_its_connection_is_not_read(project):
    before = project.all_there_is()
    (answer,) = project.raw(f"{PING}\r\n{KILL}")
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\r\n\r\nOK")
    assert answer.count("HTTP/1.1") == 1
    assert project.all_there_is() == before


@docker
def test_a_head_that_is_too_long_is_refused(project):
    (answer,) = project.raw(f"{PING}X: {'x' * 9000}\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400 ")


@docker
def test_each_request_leaves_a_line_in_the_log(project):
    project.ask("GET /images/json?canary")
    project.until("socket-proxy", "GET /images/json?canary HTTP/1.1 403", 1)


@pytest.fixture
def alone(tmp_path):
    """The program itself on a TCP port, before an Engine that is away."""
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


def answer(connection, request):
    with connection:
        connection.sendall(request.encode())
        return connection.makefile("rb").read().decode()


def test_an_unavailable_engine_is_reported_and_the_proxy_stays(alone):
    for _ in range(2):
        assert answer(alone(), f"{PING}\r\n").startswith("HTTP/1.1 502 ")


def test_of_many_idle_clients_no_more_are_let_in(alone):
    idle = [alone() for _ in range(32)]
    # Hung up on before its request was read, a client may see a reset in the place of the answer.
    with suppress(ConnectionResetError):
        assert answer(alone(), f"{PING}\r\n").startswith("HTTP/1.1 503 ")
    for one in idle:
        one.close()
    eventually(lambda: answer(alone(), f"{PING}\r\n").startswith("HTTP/1.1 502 "), "a free place")


def test_without_a_project_it_does_not_start(tmp_path):
    environ = {"LISTEN": f"unix://{tmp_path}/x", "ENGINE_SOCKET": str(tmp_path / "none")}
    ended = subprocess.run([sys.executable, PROXY], env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "of which Compose project? Name it in COMPOSE_PROJECT_NAME\n"
