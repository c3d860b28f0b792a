"""The site of compose/frontend in a real browser, which never stores or receives a secret."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

import pytest
from playwright.sync_api import sync_playwright

from lessee.host.openbao import ROOT_TOKEN, free_port
from support import npm
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CHROMIUM = shutil.which("chromium")
SITE = ROOT / "compose/frontend"
KEY = "canary-upstream-4f1c"
PASSWORD = "canary-password-9b3e"
# The format of compose/frontend/frontend.sh.
SALT = b"0123456789abcdef"
HASH = f"scrypt:16384:8:1:{SALT.hex()}:{hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=16384, r=8, p=1).hex()}"
STORED = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, document.documentElement.outerHTML])"


def fingerprint(key):
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Site:
    """nginx, the session app and an upstream API as processes, with a real agent, in place of the containers."""

    def __init__(self, sidecar, bao, folder, directory):
        self.sidecar, self.bao, self.folder, self.directory = sidecar, bao, folder, directory
        self.port, self.session, self.upstream = free_port(), free_port(), free_port()
        self.url = f"http://localhost:{self.port}"

    def put(self, path, **fields):
        self.bao.put(f"testing/{self.folder}/{path}", **fields)

    def ask(self, method, path, body=None, **headers):
        with closing(HTTPConnection("localhost", self.port, timeout=10)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()

    def log_in(self, password=PASSWORD, **headers):
        body = json.dumps({"user": "ann", "password": password})
        sent = {"Content-Type": "application/json", "Origin": self.url} | headers
        return self.ask("POST", "/api/session", body, **sent)

    def build(self):
        """Build the site once; the build does not depend on the environment."""
        shutil.copytree(SITE / "site", self.directory / "src")
        packages = npm.packages()
        command = [
            npm.program(packages, "node"),
            packages / "node_modules/vite-7/bin/vite.js",
            "build",
            self.directory / "src",
        ]
        options = ["--outDir", self.directory / "dist", "--sourcemap", "--logLevel", "error"]
        subprocess.run([*command, *options], cwd=self.directory, check=True, timeout=100)

    def nginx(self):
        text = (SITE / "nginx/nginx.conf").read_text()
        for old, new in {
            "/tmp/": f"{self.directory}/",
            "listen 8080;": f"listen {self.port};",
            "root /site;": f"root {self.directory}/dist;",
            "/run/secrets/app": str(self.sidecar.directory),
            " session:8000;": f" 127.0.0.1:{self.session};",
            " upstream:8000;": f" 127.0.0.1:{self.upstream};",
            "worker_processes 2;": "worker_processes 1; user nobody nogroup;",
        }.items():
            assert old in text
            text = text.replace(old, new)
        (self.directory / "nginx.conf").write_text(text)
        return [NGINX, "-c", self.directory / "nginx.conf", "-e", "stderr"]


@contextmanager
def running(command, **environ):
    process = subprocess.Popen(command, env=os.environ | environ)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def site(sidecar, bao, folder, memory):
    need(NGINX, "needs nginx: apt install nginx")
    memory.chmod(0o711)  # nginx's workers run as another user
    (memory / "site").mkdir(mode=0o711)
    site = Site(sidecar, bao, f"browser-{folder}", memory / "site")
    site.put("frontend/site", greeting="Hello", api_url="/api/upstream/models")
    site.put("api-keys/upstream", api_key=KEY)
    site.put("frontend/users", ann=HASH)
    sidecar.config["secrets"] = {"prefix": f"testing/{site.folder}/"}
    sidecar.config["template_dir"] = str(SITE / "lessee")
    names = ("env.js.j2", "upstream.nginx.conf.j2", "users.json.j2")
    sidecar.web["files"] = [{"template": name} for name in names]
    sidecar.web.update(
        mode="0444",
        notify={"process": {"pid_file": f"{site.directory}/nginx.pid"}, "action": "SIGHUP"},
        ready={"http": f"http://localhost:{site.port}/env.js"},
    )
    sidecar.start(wait=False)
    site.build()
    users = str(sidecar.directory / "users.json")
    with ExitStack() as stack:
        program = (sys.executable, SITE / "app/upstream.py")
        stack.enter_context(running(program, PORT=str(site.upstream)))
        program = (sys.executable, SITE / "app/session.py")
        stack.enter_context(running(program, PORT=str(site.session), USERS=users))
        eventually(lambda: listens(site.session) and listens(site.upstream), "the apps")
        eventually((sidecar.directory / "upstream.nginx.conf").exists, "the files")
        stack.enter_context(running(site.nginx()))
        eventually(lambda: answers(site), "the site")
        yield site


def answers(site):
    try:
        return site.ask("GET", "/env.js")[0] == 200
    except OSError:
        return False


def listens(port):
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.thorough
def test_no_storage_cookie_response_or_bundle_contains_a_secret(site):
    """A changed setting is effective at the next load, without a build. Only nginx has the API key."""
    need(CHROMIUM, "needs Chromium: apt install chromium")
    seen, stored = [], []
    files = {path: path.read_bytes() for path in (site.directory / "dist").rglob("*") if path.is_file()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        har = site.directory / "network.har"
        context = browser.new_context(record_har_path=har, record_har_content="embed")
        page = context.new_page()
        page.on("console", lambda message: seen.append(message.text))
        page.goto(site.url)
        assert page.text_content("h1") == "Hello"
        page.fill("[name=user]", "ann")
        page.fill("[name=password]", PASSWORD)
        page.click("button")
        page.wait_for_selector("p:not(:empty)")
        assert json.loads(page.text_content("p")) == {"key": fingerprint(KEY), "cookie": None, "path": "/models"}
        stored.append(page.evaluate(STORED))
        [cookie] = context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["secure"]) == ("__Host-session", True, True)
        assert cookie["sameSite"] == "Strict"
        site.put("frontend/site", greeting="Good morning", api_url="/api/upstream/models")
        eventually(lambda: '"Good morning"' in site.ask("GET", "/env.js")[2], "the new greeting")
        page.reload()
        assert page.text_content("h1") == "Good morning"
        stored.append(page.evaluate(STORED))
        context.close()
        browser.close()
    exchanged = json.loads(har.read_text())["log"]["entries"]
    # The body of the login contains the password, so request bodies are excluded.
    seen += [
        json.dumps([entry["request"]["url"], entry["request"]["headers"], entry["response"]]) for entry in exchanged
    ]
    for local, session, cookies, _ in map(json.loads, stored):
        assert (local, session, cookies) == ({}, {}, "")
    assert cookie["value"] not in "".join(stored)
    dist = {path: path.read_bytes() for path in (site.directory / "dist").rglob("*") if path.is_file()}
    assert dist == files  # no new build
    assert any("/env.js" in text and "no-store" in text for text in seen)
    everything = "".join([*seen, *stored, *(content.decode(errors="replace") for content in files.values())])
    assert len(seen) >= 6
    assert [secret for secret in (KEY, PASSWORD, HASH, ROOT_TOKEN) if secret in everything] == []
    done = site.sidecar.command("check", "--dist", str(site.directory / "dist"), timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_request_fails_while_the_upstream_key_is_rotated(site):
    cookie = site.log_in()[1]["Set-Cookie"].partition(";")[0]
    keys = [f"canary-key-{number}" for number in range(5)]
    keys_seen, failed, stop = [], [], threading.Event()

    def send_requests():
        while not stop.wait(0.02):  # nginx allows a hundred requests per second
            try:
                status, _, body = site.ask("GET", "/api/upstream/models", Cookie=cookie)
            except OSError as exc:
                failed.append(repr(exc))
                continue
            failed.extend([body] * (status != 200))
            keys_seen.append(json.loads(body)["key"] if status == 200 else "")

    requests = threading.Thread(target=send_requests)
    requests.start()
    try:
        for key in keys:
            site.put("api-keys/upstream", api_key=key)
            eventually(lambda key=key: keys_seen and keys_seen[-1] == fingerprint(key), "the new key")
    finally:
        stop.set()
        requests.join()
    assert failed == []
    assert [key for key in dict.fromkeys(keys_seen) if key != fingerprint(KEY)] == [fingerprint(key) for key in keys]


def test_sessions_are_safe_from_other_sites_and_guessing_and_end_with_the_password(site):
    status, headers, _ = site.log_in()
    assert status == 200
    assert headers["Set-Cookie"].endswith("; Path=/; HttpOnly; Secure; SameSite=Strict")
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert site.log_in(Origin="http://evil.example")[0] == 403
    assert site.log_in(**{"Content-Type": "text/plain"})[0] == 403
    ours, theirs = {"Cookie": cookie, "Origin": site.url}, {"Cookie": cookie, "Origin": "http://evil.example"}
    assert site.ask("POST", "/api/upstream/x", "{}", **ours)[0] == 200
    assert site.ask("POST", "/api/upstream/x", "{}", **theirs)[0] == 403
    assert site.ask("POST", "/api/upstream/x", "{}", Cookie=cookie)[0] == 403
    assert site.ask("GET", "/api/upstream/x")[0] == 401
    assert site.ask("GET", "/api/session", Cookie=cookie)[2] == '{"user": "ann"}'
    assert (
        site.ask("GET", "/session", Cookie=cookie)[1]["Content-Type"] != "application/json"
    )  # the page, not the check
    codes = [site.log_in(password="wrong")[0] for _ in range(8)]
    assert 401 in codes
    assert codes[-1] == 429
    site.put("frontend/users", ann=HASH.replace(SALT.hex(), "00" * 16))
    eventually(lambda: site.ask("GET", "/api/session", Cookie=cookie)[0] == 401, "the end of the session")


def test_a_request_reaches_the_upstream_api_unchanged(site):
    cookie = site.log_in()[1]["Set-Cookie"].partition(";")[0]
    for path in ("/", "/v1/a%20b?x=1&y=%2f", "/a;b,c", "/%C3%BC", "/a%0D%0AX-Injected:1", "/a%25%3F"):
        received = json.loads(site.ask("GET", f"/api/upstream{path}", Cookie=cookie)[2])
        assert (received["key"], received["path"]) == (fingerprint(KEY), path)


def test_nginx_reloads_even_if_an_upstream_has_no_address(memory):
    """Otherwise nginx would continue with the old key, and `ready` would not detect it."""
    need(NGINX, "needs nginx: apt install nginx")
    (memory / "secrets").mkdir()
    (memory / "secrets/upstream.nginx.conf").write_text(f'proxy_set_header Authorization "Bearer {KEY}";\n')
    text = (SITE / "nginx/nginx.conf").read_text()
    for old, new in {
        "/tmp/": f"{memory}/",
        "/run/secrets/app": f"{memory}/secrets",
        "session:8000": "away.invalid:8000",
        "upstream:8000": "gone.invalid:8000",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (memory / "nginx.conf").write_text(text)
    command = [NGINX, "-t", "-c", memory / "nginx.conf", "-e", "stderr"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
