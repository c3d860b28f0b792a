"""The site of compose/frontend on a real Engine: a login, a rotated key, and nothing of either where it can be read."""

import json
import os
import shutil

import pytest

from e2e.compose import fingerprint, images, up
from e2e.engine import SHELL
from support.needs import need
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

IMAGE = "lessee-e2e-nginx"
KEY = "canary-rotated-7c1d"
LATER = "canary-rotated-9a02"
# What a browser does, from the agent's container: log in, unless it has a cookie, and ask the API through nginx.
VISIT = """
import json, sys, urllib.request
site = "http://nginx:8080"
def ask(path, body=None, **headers):
    sent = {"Origin": site, "Content-Type": "application/json"} | headers
    return urllib.request.urlopen(urllib.request.Request(site + path, body, sent), timeout=5)
cookie = sys.argv[1]
if not cookie:
    cookie = ask("/api/session", json.dumps({"user": "demo", "password": "demo"}).encode()).headers["Set-Cookie"]
page = ask("/").read().decode() + ask("/main.js").read().decode() + ask("/env.js").read().decode()
models = json.loads(ask("/api/upstream/models", Cookie=cookie.partition(";")[0]).read())
print(json.dumps({"cookie": cookie, "page": page, "models": models}))
"""


@pytest.fixture(scope="module")
def project(pytestconfig):
    made, image = images(pytestconfig), os.environ.get("NGINX_IMAGE")
    if image is None:
        need(shutil.which("nginx"), "needs nginx to make an image of, or one in NGINX_IMAGE: apt install nginx")
        made.engine.make_base(IMAGE, *SHELL, "nginx")
    # Of BASE_IMAGE there is python3, which hashes the first user's password.
    with up(pytestconfig, "frontend", NGINX_IMAGE=image or IMAGE, PORT="0") as project:
        eventually(lambda: project.status()["apps"]["app"]["state"] == "ready", "the first files")
        yield project
    if image is None:
        made.engine.remove(IMAGE)


def visit(project, cookie=""):
    return json.loads(project.run("agent", "/opt/lessee/bin/python", "-c", VISIT, cookie).splitlines()[-1])


def test_the_site_works_and_its_key_is_rotated_without_any_client_reading_it(project):
    found = visit(project)
    assert found["cookie"].endswith("; Path=/; HttpOnly; Secure; SameSite=Strict")
    assert '"GREETING": "Hello"' in found["page"]
    project.run("openbao", "bao", "kv", "put", "secret/production/api-keys/upstream", "api_key=-", text=KEY)
    cookie = found["cookie"]
    eventually(lambda: visit(project, cookie)["models"]["key"] == fingerprint(KEY), "the new key", 60)
    said = json.dumps([visit(project, cookie), project.compose("config"), project.compose("logs")])
    said += json.dumps([project.inspect(name) for name in ("nginx", "session", "agent", "upstream")])
    assert KEY not in said


def test_nginx_has_the_new_key_also_where_it_was_rotated_while_the_sessions_app_was_away(project):
    project.compose("stop", "session")
    before = project.status()["apps"]["app"]["generation"]
    project.run("openbao", "bao", "kv", "put", "secret/production/api-keys/upstream", "api_key=-", text=LATER)
    eventually(lambda: project.status()["apps"]["app"]["generation"] != before, "the new file")
    eventually(lambda: project.status()["apps"]["app"]["state"] == "ready", "nginx with it")
    project.compose("start", "session")
    eventually(lambda: served(project) == fingerprint(LATER), "the new key", 60)


def served(project):
    """The fingerprint of the key that nginx uses; None while no client can log in."""
    try:
        return visit(project)["models"]["key"]
    except AssertionError:  # Docker's answer, that it failed.
        return None
