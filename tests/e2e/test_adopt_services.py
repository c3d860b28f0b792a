"""`lessee adopt` with services of many kinds: each keeps its values, and each notified one gets the new ones."""

import hashlib
import json

import pytest

from e2e.adopt_stacks import APP, Shop, make_images
from e2e.compose import AGENT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

FIRST_PROCESS = "lessee-adopt.local/linuxserver/first:1"
TOKEN = "canary-file-Zz4Yy5Xx6Ww7"
HOSTILE = 'canary it\'s "$x" `y` \\ é {{ z }} 100% '
TWINS = {"twin-a": "canary-twin-Aa1Ss2Dd3Ff4", "twin-b": "canary-twin-Qq1Ww2Ee3Rr4"}
REPORT = """
import hashlib, json, os, signal, sys, time
def end(number, _):
    if number == signal.SIGTERM and os.environ.get("DRAINS"): return print("ignored", flush=True)
    print("ended by", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGQUIT, end)
def sha(text): return hashlib.sha256(text.encode()).hexdigest()
found = {name: sha(os.environ[name]) for name in ("SESSION_SECRET", "API_TOKEN") if os.environ.get(name)}
found["words"] = [sha(word) for word in sys.argv[1:]]
if os.path.exists("/run/secrets/token"): found["file"] = sha(open("/run/secrets/token").read())
print("has", json.dumps(found), flush=True)
while True: time.sleep(0.1)
"""
COMPOSE = f"""\
name: lessee-adopt-services
x-report: &report
  image: {APP}
  command: &command [python3, /report.py]
  volumes: ["./report.py:/report.py:ro"]
services:
  confined:
    <<: *report
    user: "1234:4321"
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    environment: {{SESSION_SECRET: {json.dumps(HOSTILE.replace("$", "$$"))}}}
    healthcheck: {{test: [CMD, python3, -c, "import os; os.environ['SESSION_SECRET'][5]"], interval: 1s, retries: 60}}
  words:
    <<: *report
    user: root
    init: true
    restart: on-failure
    command: [python3, /report.py, --password, "${{WORD_PASSWORD:?}}", "it's $$HOME"]
  twin-a: {{<<: *report, environment: {{SESSION_SECRET: {TWINS["twin-a"]}}}}}
  twin-b:
    <<: *report
    environment: {{SESSION_SECRET: {TWINS["twin-b"]}, DRAINS: "yes"}}
    stop_signal: SIGQUIT
    stop_grace_period: 1m
  host: {{<<: *report, network_mode: host, environment: [API_TOKEN]}}
  several: {{<<: *report, environment: [API_TOKEN], deploy: {{replicas: 2}}}}
  first: {{<<: *report, image: "{FIRST_PROCESS}", environment: {{API_TOKEN: "${{API_TOKEN}}"}}}}
  files: {{<<: *report, secrets: [token]}}
secrets: {{token: {{file: token.txt}}}}
"""
ENV = "WORD_PASSWORD=canary-word-Mm1Nn2Bb3Vv4\nAPI_TOKEN='canary-token-Ll1Kk2Jj3Hh4'\n"
# As s6-overlay does it.
_FIRST_PROCESS = f"""\
FROM {APP}
USER root
RUN printf '%s\\n' '#!/bin/sh' '[ $$ = 1 ] || exit 100' \\
    '[ -z "$FILE__API_TOKEN" ] || API_TOKEN=$(cat $FILE__API_TOKEN)' \\
    'export API_TOKEN; exec "$@"' > /init; chmod 755 /init
ENTRYPOINT ["/init"]
"""


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def adopt_images(engine, images, tmp_path_factory):
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    folder = tmp_path_factory.mktemp("first")
    (folder / "Dockerfile").write_text(_FIRST_PROCESS)
    tags = ["lessee-adopt-first", FIRST_PROCESS]  # The first names a file.
    options = [f"--tag={tag}" for tag in tags]
    engine.make(tags, lambda: engine.docker("build", "--network=none", *options, str(folder)))
    return images


@pytest.fixture
def shop(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-services", AGENT) as shop:
        for name, text in {
            "compose.yaml": COMPOSE,
            ".env": ENV,
            "token.txt": f"{TOKEN}\n",
            "report.py": REPORT,
        }.items():
            shop.write(name, text)
        shop.start_server()
        yield shop


def logs(shop, container):
    lines = shop.engine.logs(f"{shop.name}-{container}").splitlines()
    return [json.loads(line.removeprefix("has ")) for line in lines if line.startswith("has ")]


CONTAINERS = ("confined-1", "words-1", "twin-a-1", "twin-b-1", "host-1", "several-1", "several-2", "first-1", "files-1")


@pytest.mark.thorough
def test_each_kind_of_service_keeps_its_values_and_gets_new_ones(shop):
    before = shop.files()
    shop.compose("up", "--detach", "--wait")
    eventually(lambda: all(logs(shop, name) for name in CONTAINERS))
    values = {name: logs(shop, name)[-1] for name in CONTAINERS}
    assert values["confined-1"]["SESSION_SECRET"] == sha(HOSTILE)
    assert values["files-1"]["file"] == sha(f"{TOKEN}\n")
    left = shop.adopt("--yes", code=75).stdout
    # What the agent cannot restart is left to a person.
    assert [name for name in ("first", "several") if f"docker compose restart {name}" not in left] == []
    eventually(lambda: all(logs(shop, name) for name in CONTAINERS))
    assert {name: logs(shop, name) for name in CONTAINERS} == {name: [values[name]] for name in CONTAINERS}
    assert "canary" not in json.dumps(shop.containers())
    texts = {name: found[0] for name, found in shop.files().items() if isinstance(found, tuple)}
    assert [name for name, content in texts.items() if b"canary-" in content or b"canary it" in content] == []

    # Only the service of the changed secret starts again, also where another has the same command line.
    shop.server.put("development/applications/twin-b", session_secret="canary-new")
    eventually(lambda: logs(shop, "twin-b-1")[-1]["SESSION_SECRET"] == sha("canary-new"))
    said = shop.engine.logs(f"{shop.name}-twin-b-1").splitlines()
    assert ("ended by SIGQUIT" in said, "ignored" in said) == (True, False)
    shop.server.put("development/applications/words", command_3="canary 'new' $x")
    eventually(lambda: logs(shop, "words-1")[-1]["words"][1] == sha("canary 'new' $x"))
    shop.server.put("development/applications/files", token="canary-new")
    eventually(lambda: logs(shop, "files-1")[-1]["file"] == sha("canary-new\n"))
    assert {name: len(logs(shop, name)) for name in ("twin-a-1", "confined-1")} == {"twin-a-1": 1, "confined-1": 1}

    # A command in a container of its own gets the secrets, and does not take the place of the service.
    program = "import os; print(len(os.environ['SESSION_SECRET']))"
    assert shop.compose("run", "--rm", "-T", "twin-a", "python3", "-c", program) == f"{len(TWINS['twin-a'])}\n"
    shop.server.put("development/applications/twin-a", session_secret="canary-new")
    eventually(lambda: logs(shop, "twin-a-1")[-1]["SESSION_SECRET"] == sha("canary-new"))

    shop.adopt("--undo", "--yes")
    assert shop.files() == before
    eventually(lambda: all(logs(shop, name) for name in CONTAINERS))
    assert {name: logs(shop, name)[-1] for name in CONTAINERS} == values
    assert "canary" not in shop.said
