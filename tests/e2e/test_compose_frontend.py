"""The site of compose/frontend on a real Engine: a login and a rotated key, neither of which any client can read."""

import json

import pytest

from e2e.compose import fingerprint
from e2e.nginx import nginx_image
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

KEY = "canary-rotated-7c1d"
LATER = "canary-rotated-9a02"
# Does in the agent's container what a browser does: logs in unless it has a cookie, and calls the API through nginx.
VISIT = """
import json, sys, urllib.request
site = "http://nginx:8080"
def fetch(path, body=None, **headers):
    headers = {"Origin": site, "Content-Type": "application/json"} | headers
    return urllib.request.urlopen(urllib.request.Request(site + path, body, headers), timeout=60)
cookie = sys.argv[1]
if not cookie:
    cookie = fetch("/api/session", json.dumps({"user": "demo", "password": "demo"}).encode()).headers["Set-Cookie"]
page = fetch("/").read().decode() + fetch("/main.js").read().decode() + fetch("/env.js").read().decode()
models = json.loads(fetch("/api/upstream/models", Cookie=cookie.partition(";")[0]).read())
print(json.dumps({"cookie": cookie, "page": page, "models": models}))
"""


@pytest.fixture(scope="module")
def project(images):
    # BASE_IMAGE contains the python3 that hashes the first user's password.
    with images.up("frontend", NGINX_IMAGE=nginx_image(images.engine), PORT="0") as project:
        eventually(lambda: project.status()["apps"]["app"]["state"] == "ready", "the first files")
        yield project


def visit(project, cookie=""):
    return json.loads(project.run("agent", "/opt/lessee/bin/python", "-c", VISIT, cookie).splitlines()[-1])


def test_the_site_works_and_no_client_reads_its_rotated_key(project):
    first = visit(project)
    assert first["cookie"].endswith("; Path=/; HttpOnly; Secure; SameSite=Strict")
    assert '"GREETING": "Hello"' in first["page"]
    project.run("openbao", "bao", "kv", "put", "secret/production/api-keys/upstream", "api_key=-", text=KEY)
    cookie = first["cookie"]
    eventually(lambda: visit(project, cookie)["models"]["key"] == fingerprint(KEY), "the new key")
    outputs = json.dumps([visit(project, cookie), project.compose("config"), project.compose("logs")])
    outputs += json.dumps([project.inspect(name) for name in ("nginx", "session", "agent", "upstream")])
    assert KEY not in outputs


@pytest.mark.thorough
def test_nginx_uses_a_key_that_was_rotated_while_the_session_app_was_stopped(project):
    project.compose("stop", "session")
    before = project.status()["apps"]["app"]["generation"]
    project.run("openbao", "bao", "kv", "put", "secret/production/api-keys/upstream", "api_key=-", text=LATER)
    eventually(lambda: project.status()["apps"]["app"]["generation"] != before, "the new file")
    eventually(lambda: project.status()["apps"]["app"]["state"] == "ready", "nginx with the new file")
    project.compose("start", "session")
    eventually(lambda: key_fingerprint(project) == fingerprint(LATER), "the new key")


def key_fingerprint(project):
    """The fingerprint of the key that nginx uses; None while no client can log in."""
    try:
        return visit(project)["models"]["key"]
    except AssertionError:  # The program in the container failed.
        return None
