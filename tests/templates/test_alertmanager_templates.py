"""Alertmanager reads the templates: it sends alerts by mail and Slack with the password and URL from Vault."""

import base64
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from lessee.core.errors import TemplateError
from lessee.host.openbao import free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, TEMPLATES, written
from support.needs import need
from support.programs.sidecar import eventually

FILES = ("alertmanager.yml", "smtp-password", "slack-url")
INLINE = "alertmanager-inline.yml"
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture(autouse=True)
def alertmanager():
    how = "apt install --no-install-recommends prometheus-alertmanager"
    need(PROGRAM and shutil.which("amtool"), f"needs Alertmanager: {how}")


class Receivers:
    """A mail server and a Slack server with the credentials that they received."""

    def __init__(self):
        self.logins, self.paths = [], []
        receivers = self

        class Mail(StreamRequestHandler):
            def handle(self):
                answers = {b"EHLO": b"250-x\r\n250 AUTH PLAIN", b"AUTH": b"235 ok", b"DATA": b"354 go on"}
                self.wfile.write(b"220 x\r\n")
                for line in self.rfile:
                    word, *rest = line.split()
                    if word == b"AUTH":
                        receivers.logins.append(base64.b64decode(rest[1]).decode().split("\0", 2)[1:])
                    self.wfile.write(answers.get(word, b"250 ok") + b"\r\n")
                    while word == b"DATA" and next(self.rfile) != b".\r\n":
                        pass
                    if word == b"DATA":
                        self.wfile.write(b"250 ok\r\n")

        class Slack(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                receivers.paths.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.servers = [ThreadingTCPServer(("127.0.0.1", 0), Mail), HTTPServer(("127.0.0.1", 0), Slack)]
        self.mail, self.slack = (server.server_address[1] for server in self.servers)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def receivers():
    servers = Receivers()
    yield servers
    servers.close()


class Alertmanager:
    """A real Alertmanager with this configuration."""

    def __init__(self, folder, file):
        self._port, self._numbers = free_port(), count()
        command = [PROGRAM, f"--config.file={file}", f"--storage.path={folder}/data", "--cluster.listen-address="]
        with (folder / "alertmanager.log").open("wb") as log:
            address = f"--web.listen-address=127.0.0.1:{self._port}"
            self._process = subprocess.Popen([*command, address], stderr=log)

    def fire(self, receivers):
        """Fire an alert, and return the credentials that its receivers got."""
        before = len(receivers.logins), len(receivers.paths)
        alert = json.dumps([{"labels": {"alertname": f"a{next(self._numbers)}"}}]).encode()
        url = f"http://127.0.0.1:{self._port}/api/v2/alerts"
        request = urllib.request.Request(url, alert, {"Content-Type": "application/json"})
        with suppress(urllib.error.URLError), urllib.request.urlopen(request, timeout=5):
            eventually(lambda: len(receivers.logins) > before[0] and len(receivers.paths) > before[1], "an alert")
            return receivers.logins[-1], receivers.paths[-1]
        return None  # Not started yet.

    def config_number(self):
        """A number that changes when Alertmanager loads a configuration."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            return re.search(rb"^alertmanager_config_hash .*", answer.read(), re.MULTILINE)[0]

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def start():
    """Starts Alertmanagers, and stops them after the test."""
    started = []

    def one(*arguments):
        started.append(Alertmanager(*arguments))
        return started[-1]

    yield one
    for each in started:
        each.close()


def local_config(text, folder):
    """The configuration with the test's paths, without delays and TLS."""
    text = text.replace("/run/secrets/alertmanager", str(folder))
    text = text.replace("{receiver: team}", "{receiver: team, group_by: [alertname], group_wait: 0s}")
    return text.replace("global:", "global:\n  smtp_require_tls: false")


def place(sidecar, *names):
    for name in names:
        text = (TEMPLATES / f"alertmanager/{name}.j2").read_text()
        sidecar.template(f"{name}.j2", local_config(text, sidecar.directory))
    sidecar.web["check"] = ["amtool", "check-config", f"{{directory}}/{names[0]}"]


def put(bao, receivers, password, url="first"):
    secrets = secrets_of(password, receivers.mail, f"http://127.0.0.1:{receivers.slack}/{url}")
    for path, fields in secrets.items():
        bao.put(f"testing/{path}", **fields)


def secrets_of(password, port=25, url="https://hooks.slack.com/services/x", username=HOSTILE):
    smtp = {"host": "127.0.0.1", "port": port, "username": username, "password": password}
    return {"alerting/smtp": smtp, "alerting/slack": {"webhook_url": url}}


def test_a_new_password_and_a_new_url_are_loaded_without_a_signal(bao, sidecar, receivers, start):
    place(sidecar, *FILES)
    put(bao, receivers, HOSTILE)
    sidecar.start()
    alertmanager = start(sidecar.disk, sidecar.directory / FILES[0])
    assert eventually(lambda: alertmanager.fire(receivers)) == ([HOSTILE, HOSTILE], "/first")
    put(bao, receivers, "second", "second")
    eventually(lambda: alertmanager.fire(receivers) == ([HOSTILE, "second"], "/second"), "the new ones")


def test_values_in_the_configuration_are_loaded_at_sighup(bao, sidecar, receivers, start):
    place(sidecar, INLINE)
    sidecar.web["notify"] = {"process": {"cmdline": f"alertmanager.*{sidecar.directory}"}}
    put(bao, receivers, " both\t\n")
    sidecar.start()
    alertmanager = start(sidecar.disk, sidecar.directory / INLINE)
    assert eventually(lambda: alertmanager.fire(receivers)) == ([HOSTILE, " both\t\n"], "/first")
    # Before the loop, which detects only one change.
    before = alertmanager.config_number()
    bao.put("testing/alerting/slack", webhook_url=f"http://127.0.0.1:{receivers.slack}/second")
    eventually(lambda: alertmanager.config_number() != before, "the new URL")
    for password in (HOSTILE, "x\nslack_api_url: http://stolen", "{{ 7 * 7 }}", "a\x00b\x85\u2028"):
        before = alertmanager.config_number()
        put(bao, receivers, password, "second")
        eventually(lambda before=before: alertmanager.config_number() != before, "the new configuration")
        assert alertmanager.fire(receivers) == ([HOSTILE, password], "/second")


@pytest.mark.thorough
def test_hostile_passwords_are_read_from_a_file_except_with_white_space_at_an_end(receivers, start, tmp_path):
    file = tmp_path / FILES[0]
    secrets = secrets_of("x", receivers.mail)
    file.write_text(local_config(written(f"alertmanager/{file.name}.j2", "yaml", secrets), tmp_path))
    (tmp_path / "slack-url").write_text(f"http://127.0.0.1:{receivers.slack}/")
    alertmanager = start(tmp_path, file)
    for value in VALUES[::5]:
        if value and value == value.strip():  # Alertmanager reports an empty password as missing.
            (tmp_path / "smtp-password").write_bytes(password_of(value).encode())
            assert eventually(lambda: alertmanager.fire(receivers))[0] == [HOSTILE, value]
    for value in VALUES:
        if value != value.strip():
            with pytest.raises(TemplateError, match="alerting/smtp: the password has white space"):
                password_of(value)


def test_numbers_and_booleans_are_users_and_passwords(receivers, start, tmp_path):
    (tmp_path / "slack-url").write_text(url := f"http://127.0.0.1:{receivers.slack}/")
    for value, text in NUMBERS.items():
        secrets = secrets_of(value, receivers.mail, url, username=value)
        (tmp_path / "smtp-password").write_text(password_of(value))
        for name in (FILES[0], INLINE):
            (tmp_path / name).write_text(local_config(written(f"alertmanager/{name}.j2", "yaml", secrets), tmp_path))
            alertmanager = start(tmp_path, tmp_path / name)
            assert eventually(lambda at=alertmanager: at.fire(receivers))[0] == [text, text]
            alertmanager.close()


def test_amtool_accepts_hostile_passwords_in_the_configuration(tmp_path):
    file = tmp_path / INLINE
    for value in VALUES[::30]:
        file.write_bytes(written(f"alertmanager/{INLINE}.j2", "yaml", secrets_of(value)).encode())
        subprocess.run(["amtool", "check-config", file], check=True, stdout=subprocess.DEVNULL)


def password_of(value):
    return written("alertmanager/smtp-password.j2", "text", {"alerting/smtp": {"password": value}})


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("alertmanager", tmp_path)
