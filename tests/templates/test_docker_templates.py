"""The Docker CLI and the Docker SDK for Python read the credentials of registries from Vault."""

import base64
import json
import os
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from docker.auth import load_config

from lessee.core.errors import FormatError, TemplateError
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, rendered, written
from support.needs import need

PASSWORDS = (HOSTILE, "x\n", '"}}}', " both\t", "é😀\u2028", ":", "${HOME}")


class Engine(BaseHTTPRequestHandler):
    """A Docker Engine API that records the credentials that the CLI sends."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.server.sent.append(self.headers["X-Registry-Auth"])
        self.do_HEAD()

    def log_message(self, *_):
        pass


@pytest.fixture
def engine():
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        server.sent = []
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_cli_sends_the_credentials_of_the_registry_that_it_pulls_from(bao, sidecar, engine):
    need(shutil.which("docker"), "needs the Docker CLI: apt install docker-cli")
    for number, password in enumerate(PASSWORDS):
        fields = {"host": f"r{number}.example.com:5000", "username": f"user{number}", "password": password}
        bao.put(f"testing/registry/docker/r{number}", **fields)
    folder = rendered(sidecar, "docker/config.json.j2")
    environ = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"tcp://127.0.0.1:{engine.server_port}"}
    for number, password in enumerate(PASSWORDS):
        image = f"r{number}.example.com:5000/app:1"
        command = ["docker", "--config", str(folder), "pull", "--quiet", image]
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True, timeout=20)
        sent = json.loads(base64.urlsafe_b64decode(engine.sent.pop()))
        assert (sent["username"], sent["password"]) == (f"user{number}", password)
        assert not engine.sent


def test_the_sdk_reads_every_hostile_password(tmp_path):
    secrets = {f"r{n}": {"host": f"r{n}", "username": f"u{n}", "password": value} for n, value in enumerate(VALUES)}
    file = tmp_path / "config.json"
    file.write_text(written("docker/config.json.j2", "json", {"registry/docker/": secrets}))
    read = load_config(str(file)).auths
    assert {host: (entry["username"], entry["password"]) for host, entry in read.items()} == {
        f"r{n}": (f"u{n}", value) for n, value in enumerate(VALUES)
    }


def test_the_sdk_reads_users_and_passwords_that_are_numbers_or_booleans(tmp_path):
    secrets = {f"r{n}": {"host": f"r{n}", "username": value, "password": value} for n, value in enumerate(NUMBERS)}
    (tmp_path / "config.json").write_text(written("docker/config.json.j2", "json", {"registry/docker/": secrets}))
    read = load_config(str(tmp_path / "config.json")).auths
    assert [(entry["username"], entry["password"]) for entry in read.values()] == [
        (text, text) for text in NUMBERS.values()
    ]


def test_a_user_with_a_colon_is_rejected():
    secrets = {"r": {"host": "r.example.com", "username": "a:b", "password": "canary"}}
    with pytest.raises(TemplateError, match=r"registry/docker/: a username contains a :") as caught:
        written("docker/config.json.j2", "json", {"registry/docker/": secrets})
    assert "canary" not in str(caught.value)


def test_a_hostile_host_is_one_name():
    secrets = {f"r{n}": {"host": value, "username": "u", "password": "p"} for n, value in enumerate(VALUES)}
    read = json.loads(written("docker/config.json.j2", "json", {"registry/docker/": secrets}))
    assert list(read["auths"]) == list(VALUES)


def test_two_secrets_of_one_host_are_rejected():
    one = {"host": "r.example.com", "username": "u", "password": "p"}
    with pytest.raises(FormatError, match="duplicates a name of its object"):
        written("docker/config.json.j2", "json", {"registry/docker/": {"a": one, "b": one}})


def test_the_readme_names_every_template_and_its_configurations_are_right(tmp_path):
    readmes.check("docker", tmp_path)
