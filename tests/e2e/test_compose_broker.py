"""The broker of API keys on a real Engine: an app without a key and without the internet, while keys are rotated."""

import json
import secrets

import pytest

from e2e.nginx import nginx_image
from support.programs.sidecar import eventually
from support.servers.api_upstream import __file__ as upstream_program
from support.servers.broker import HOSTS
from support.servers.certificate_authority import Authority

pytestmark = pytest.mark.docker

ROTATIONS = 3
CALL = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
try:
    print(urllib.request.urlopen(request, timeout=5).status)
except urllib.error.HTTPError as exc:
    print(exc.code)
except OSError as exc:
    print("unreachable")
"""


@pytest.fixture(scope="module")
def project(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstream")
    Authority(folder / "ca.crt").issue(folder / "pair", 9, names=HOSTS)
    upstream = {
        "image": images.base,
        "command": ["python3", "/upstream.py", "/pair"],
        "volumes": [f"{upstream_program}:/upstream.py:ro", f"{folder}/pair:/pair:ro"],
        "networks": {"internet": {"aliases": list(HOSTS)}},
    }
    services = {
        "setup": {"image": "lessee-e2e-agent"},
        "app": {"depends_on": {"upstream": {"condition": "service_started"}}},
        "broker": {"volumes": [f"{folder}/ca.crt:/etc/ssl/certs/ca-certificates.crt:ro"]},
        "upstream": upstream,
    }
    with images.up("broker", services, NGINX_IMAGE=nginx_image(images.engine)) as project:
        yield project


def test_no_call_of_the_app_fails_while_the_key_is_rotated(project):
    eventually(lambda: calls(project).get("200"), "the app's first call")
    keys = [key_of(project)]
    for _ in range(ROTATIONS):
        keys.append(secrets.token_urlsafe(30))
        project.run("openbao", "bao", "kv", "put", "secret/production/api-keys/openai", "api_key=-", text=keys[-1])
        eventually(lambda: key_of(project) == keys[-1], "the new key in the broker's file")
        count = calls(project)["200"]
        eventually(lambda count=count: calls(project)["200"] > count + 10, "calls after the rotation")
    assert set(calls(project)) == {"200"}
    app = project.inspect("app")
    seen = [json.dumps(app), *(project.compose("logs", name) for name in ("app", "broker", "agent", "setup"))]
    seen.append(project.run("app", "sh", "-c", "cat /proc/*/environ /run/secrets/app/* /app/* 2>/dev/null || true"))
    assert not [key for key in keys for text in seen if key in text]
    token = project.run("app", "cat", "/run/secrets/app/token").strip()
    assert not [text for text in seen[:-1] if token in text]


def test_the_app_reaches_the_broker_alone(project):
    found = [
        project.run("app", "python3", "-c", CALL, url).strip()
        for url in ("http://broker:8080/openai/v1/models", "https://api.openai.com/v1/models", "http://openbao:8200/")
    ]
    assert found == ["401", "unreachable", "unreachable"]


def calls(project):
    """How the app's calls ended, with the count of each."""
    lines = project.lines("app", '"calls"')
    return json.loads(lines[-1])["calls"] if lines else {}


def key_of(project):
    text = project.run("broker", "cat", "/run/secrets/broker/api-openai.nginx.conf")
    return text.partition('"Bearer ')[2].partition('"')[0]
