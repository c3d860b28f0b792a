"""Prometheus reads the templates: it authenticates at its targets, requires a password, and loads new files itself."""

import base64
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lessee.core.errors import TemplateError
from lessee.host.openbao import OpenBao, free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import NUMBERS, TEMPLATES, written
from support.needs import need
from support.programs.sidecar import Sidecar, eventually

FILES = ("prometheus.yml", "metrics-password", "openbao-token", "web.yml")
CHECK = "promtool check config {directory}/prometheus.yml && promtool check web-config {directory}/web.yml"
USER = "m@n/t'\"#${HOME} %(home)s `half ;ü\\"
PASSWORDS = {  # With their bcrypt hashes of cost 4.
    "p@ss/w:rd'\"#${HOME} %(home)s `half ;ü\\": "$2b$04$r6eW3XQz5OkmpHKS.t7yYOojNr/X7oYME0oTOhQoWbetWM3Xc.fye",
    "second": "$2b$04$ihPSETIBrOzb4.drUnSAD.O8EXa.mV14bd5Je0cHXdRj.7kQSaEsi",
}
STRIPPED = [value for value in VALUES if value == value.strip()]


@pytest.fixture(autouse=True)
def prometheus():
    need(shutil.which("prometheus"), "needs Prometheus: apt install --no-install-recommends prometheus")


class Monitored(OpenBao):
    """A server with a listener that requires a token for metrics, unlike that of -dev."""

    def __init__(self, folder):
        self.demanding = free_port()
        listener = f'address = "127.0.0.1:{self.demanding}"\ntls_disable = true\n'
        super().__init__(folder, config=f'listener "tcp" {{\n{listener}}}\n')
        self.ask("PUT", "sys/policies/acl/metrics", {"policy": 'path "sys/metrics" { capabilities = ["read"] }'})

    def token(self):
        return self.ask("POST", "auth/token/create", {"policies": ["metrics"], "ttl": "1h"})["auth"]["client_token"]


@pytest.fixture
def server(tmp_path):
    with Monitored(tmp_path) as bao:
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory):
    agent = Sidecar(server.address, tmp_path, memory)
    yield agent
    agent.close()


@contextmanager
def running(folder, port, file, *arguments):
    """A real Prometheus with this configuration."""
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data", *arguments]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def header(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def scraped(port, password):
    """The time of each job's last successful scrape; None if the password is wrong."""
    url = f"http://127.0.0.1:{port}/api/v1/targets?state=active"
    request = urllib.request.Request(url, headers={"Authorization": header(USER, password)})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
    except urllib.error.HTTPError as exc:
        exc.close()
        return None
    except OSError:
        return {}  # Not started yet.
    times = {target["labels"]["job"]: target["lastScrape"] for target in targets if target["health"] == "up"}
    return {job: datetime.fromisoformat(time) for job, time in times.items()}


def test_prometheus_loads_new_passwords_and_tokens_by_itself(server, sidecar):
    port = free_port()
    for name in FILES:
        text = (TEMPLATES / f"prometheus/{name}.j2").read_text()
        text = text.replace("scrape_configs:", "global: {scrape_interval: 500ms}\nscrape_configs:")
        text = text.replace("node:9100", f"127.0.0.1:{port}").replace("openbao:8200", f"127.0.0.1:{server.demanding}")
        sidecar.template(f"{name}.j2", text)
    sidecar.web["check"] = ["sh", "-c", CHECK]
    (old, old_hash), (new, new_hash) = PASSWORDS.items()
    tokens = server.token(), server.token()
    server.put("testing/monitoring/metrics", username=USER, password=old, password_hash=old_hash)
    server.put("testing/monitoring/openbao", token=tokens[0])
    sidecar.start()
    web = f"--web.config.file={sidecar.directory}/web.yml"
    with running(sidecar.disk, port, sidecar.directory / "prometheus.yml", web):
        eventually(lambda: set(scraped(port, old) or ()) == {"node", "openbao"}, "both targets")
        assert scraped(port, new) is None
        server.ask("POST", "auth/token/revoke", {"token": tokens[0]})
        server.put("testing/monitoring/openbao", token=tokens[1])
        server.put("testing/monitoring/metrics", username=USER, password=new, password_hash=new_hash)
        eventually(lambda: scraped(port, old) is None, "a refusal of the old password")
        begun = datetime.now(UTC)
        eventually(lambda: since(begun, scraped(port, new)), "both targets again")


def since(begun, times):
    return len(times) == 2 and min(times.values()) > begun


@pytest.fixture
def target():
    """A target, and the Authorization headers that it received, by path."""
    seen = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen[self.path] = self.headers["Authorization"]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield seen, server.server_port
        server.shutdown()


@pytest.mark.thorough
def test_prometheus_sends_every_hostile_user_and_password_except_with_white_space_at_an_end(target, tmp_path):
    scrape(target, tmp_path, [(value, value if value in STRIPPED else "x") for value in VALUES])
    for number, value in enumerate(VALUES):
        assert target[0][f"/{number}"] == header(value, value if value in STRIPPED else "x")
    for value in set(VALUES) - set(STRIPPED):
        with pytest.raises(TemplateError, match="monitoring/metrics: the password has white space"):
            password_of(value)


def test_prometheus_sends_users_and_passwords_that_are_numbers_or_booleans(target, tmp_path):
    scrape(target, tmp_path, [(value, value) for value in NUMBERS])
    assert list(map(target[0].get, ("/0", "/1"))) == [header(text, text) for text in NUMBERS.values()]


def scrape(target, folder, logins):
    """Let a real Prometheus scrape a target with each user and password, on numbered paths."""
    seen, port = target
    jobs = ["global: {scrape_interval: 2s}\nscrape_configs:\n"]
    for number, (username, password) in enumerate(logins):
        (folder / f"password-{number}").write_bytes(password_of(password).encode())
        text = written("prometheus/prometheus.yml.j2", "yaml", {"monitoring/metrics": {"username": username}})
        job = text.partition("scrape_configs:\n")[2].partition("\n\n")[0]
        job = job.replace("node\n", f"j{number}\n    metrics_path: /{number}\n", 1).replace(
            "node:9100", f"127.0.0.1:{port}"
        )
        jobs.append(job.replace("metrics-password", f"password-{number}") + "\n")
    file = folder / "prometheus.yml"
    file.write_bytes("".join(jobs).encode())
    with running(folder, free_port(), file):
        eventually(lambda: len(seen) == len(logins), "the last target")


def test_prometheus_accepts_a_user_whose_name_is_a_number_or_a_boolean_but_not_with_a_colon(tmp_path):
    (old, hashed), _ = PASSWORDS.items()
    for value, text in NUMBERS.items():
        (tmp_path / "web.yml").write_text(web_of(value, hashed))
        (tmp_path / "prometheus.yml").write_text("")
        port = free_port()
        with running(tmp_path, port, tmp_path / "prometheus.yml", f"--web.config.file={tmp_path}/web.yml"):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Authorization": header(text, old)})
            eventually(lambda request=request: login_status(request), "a login")
            assert not login_status(f"http://127.0.0.1:{port}/")
    with pytest.raises(TemplateError, match="monitoring/metrics: the username contains a :"):
        web_of("a:b", hashed)


def login_status(request):
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except urllib.error.HTTPError as exc:
        exc.close()
        return False
    except OSError:
        return None  # Not started yet.


def web_of(username, hashed):
    secrets = {"monitoring/metrics": {"username": username, "password_hash": hashed}}
    return written("prometheus/web.yml.j2", "yaml", secrets)


def test_a_hash_that_is_invalid_is_not_published(server, sidecar):
    sidecar.template("web.yml.j2", (TEMPLATES / "prometheus/web.yml.j2").read_text())
    sidecar.web["check"] = ["promtool", "check", "web-config", "{directory}/web.yml"]
    server.put("testing/monitoring/metrics", username=USER, password_hash="no-hash")
    sidecar.write_config()
    done = sidecar.command("render")
    assert done.returncode == 65, done.stderr
    assert "no-hash" not in done.stderr
    assert not (sidecar.directory / "web.yml").exists()


def password_of(value):
    return written("prometheus/metrics-password.j2", "text", {"monitoring/metrics": {"password": value}})


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("prometheus", tmp_path)
