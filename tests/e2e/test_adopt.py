"""`lessee adopt` on a real Engine and with a real OpenBao: a stack with plaintext is adopted, changed and undone."""

import hashlib
import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from e2e.adopt_stacks import APP, CANARIES, POSTGRES, Shop, make_images
from e2e.compose import AGENT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

CHANGED = "sk_live_canaryChanged0Zz9Yy8Xx7"


@pytest.fixture(scope="module")
def adopt_images(engine, images, tmp_path_factory):
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    return images


@pytest.fixture
def shop(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-shop", AGENT) as shop:
        shop.start_server()
        yield shop


@pytest.fixture
def small(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-small", AGENT, is_small=True) as shop:
        shop.start_server()
        yield shop


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def assert_no_canary(text):
    text = text if isinstance(text, str) else json.dumps(text)
    assert [name for name, value in CANARIES.items() if value in text] == []


def test_a_stack_is_adopted_changed_and_undone_and_no_plaintext_is_left(engine, shop):
    shop.compose("up", "--detach", "--wait")
    before, values = shop.files(), {name: shop.has(name) for name in ("web", "worker")}
    planned = shop.adopt("--plan").stdout
    assert shop.files() == before
    for line in ("  ~ .env:2  DB_PASSWORD", "  ~ app.env:1  PAYMENT_API_KEY", "  + compose.lessee.yaml"):
        assert line in planned.splitlines()
    shop.adopt("--yes")
    assert shop.services() == {
        "db": "running healthy",
        "web": "running healthy",
        "worker": "running",
        "lessee-agent": "running healthy",
        "lessee-holder": "running healthy",
    }
    assert {name: shop.has(name) for name in ("web", "worker")} == values
    # The plaintext is only in the environment of the apps, which read nothing else, and of PostgreSQL, whose image
    # exports what it reads from POSTGRES_PASSWORD_FILE.
    assert shop.plaintext() == []
    assert_no_canary(shop.containers())
    for image in (APP, POSTGRES, AGENT):
        assert_no_canary(engine.docker("history", "--no-trunc", image) + engine.docker("image", "inspect", image))
    holders = {
        (service, Path(program).name)
        for service, program, environ in shop.processes()
        if any(value.encode() in environ for value in CANARIES.values())
    }
    assert {service for service, _ in holders} == {"db", "web", "worker"}
    assert_no_canary(shop.compose("config") + shop.compose("logs", "lessee-agent", "lessee-holder"))
    # A plain `docker compose up` keeps it, and another run changes nothing.
    adopted, started = shop.files(), {one["Id"] for one in shop.containers()}
    assert "nothing to do" in shop.adopt("--yes").stdout
    shop.compose("up", "--detach", "--wait")
    assert (shop.files(), {one["Id"] for one in shop.containers()}) == (adopted, started)
    # A value that is changed in Vault reaches both programs.
    shop.server.put("development/api-keys/payment", api_key=CHANGED)
    for name in ("web", "worker"):
        eventually(lambda name=name: shop.has(name).get("PAYMENT_API_KEY") == sha(CHANGED), f"the new key of {name}")
    # And back: what the user had is there again, and nothing else.
    undone = shop.adopt("--undo", "--yes")
    assert "api-keys/payment has version 2" in undone.stderr
    assert shop.files() == before
    assert shop.services() == {"db": "running healthy", "web": "running healthy", "worker": "running"}
    assert {name: shop.has(name) for name in ("web", "worker")} == values
    label = f"label=com.docker.compose.project={shop.name}"
    assert "lessee-files" not in engine.docker("volume", "ls", "--filter", label)
    assert "lessee-vault" not in engine.docker("network", "ls", "--filter", label)
    assert shop.server.get("development/database/postgres")["password"] == CANARIES["database"]
    assert [name for name in roles(shop) if name.startswith("development-")] == []
    assert "nothing to undo" in shop.adopt("--undo", "--yes").stdout
    assert_no_canary(shop.said)


def roles(shop):
    try:
        return shop.server.ask("GET", "auth/approle/role?list=true")["data"]["keys"]
    except RuntimeError:  # There is no role.
        return []


# Killed at any moment

# Counts what changes a file, Vault or the stack, and kills itself at one of them; or prints how many there were.
KILLED = """
import atexit, os, pathlib, signal, subprocess, sys
import lessee.cli
from lessee.vault.transport import Transport

moment, seen = int(sys.argv[1]), 0

def counted(function, is_counted=lambda *_: True):
    def call(*arguments, **settings):
        global seen
        if not is_counted(*arguments):
            return function(*arguments, **settings)
        seen += 1
        own = seen
        if own == moment and moment % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **settings)
        if own == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

for name in ("replace", "unlink", "rmdir"):
    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
subprocess.run = counted(subprocess.run)
Transport.request = counted(Transport.request, lambda _, method, *__: method != "GET")
code = lessee.cli.main(sys.argv[2:])
print("moments", seen)
sys.exit(code)
"""


def moments(done):
    return int(done.stdout.splitlines()[-1].removeprefix("moments "))


def killed_run(shop, draw, count, *options):
    """Kill a run at a random moment: at one of its effects, or at any time."""
    if draw.random() < 0.7:
        moment = draw.randint(1, count)
        done = shop.adopt(*options, program=("-c", KILLED, str(moment)), code=None)
        return f"{options[0]} at effect {moment} of {count}: {done.returncode}"
    delay = draw.uniform(0.3, 12)
    with shop.start(*options) as process:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if draw.random() < 0.5 else process.kill()
        shop.said += process.stdout.read()
    return f"{options[0]} after {delay:.1f} s"


def assert_whole(shop):
    """Nothing is lost: the values are in the files or in Vault, and a plain `up` gives each container its own."""
    text = b"".join(content for content, *_ in shop.files().values())
    for name in ("api", "session"):
        assert CANARIES[name].encode() in text or name in stored(shop), name
    config = json.loads(shop.compose("config", "--format", "json"))["services"]["app"]
    variables = config["environment"]
    if "lessee-holder" not in shop.compose("config", "--services"):
        assert variables["PAYMENT_API_KEY"] == CANARIES["api"]
        assert variables["SESSION_SECRET"] == CANARIES["session"]
    else:
        assert not any("ref+" in (value or "") for value in variables.values())


def stored(shop):
    found = set()
    for name, path, field in (
        ("api", "api-keys/payment", "api_key"),
        ("session", "applications/app", "session_secret"),
    ):
        try:
            if shop.server.get(f"development/{path}").get(field) == CANARIES[name]:
                found.add(name)
        except RuntimeError:
            pass
    return found


def test_killed_at_any_moment_the_next_run_continues_and_undo_reverses(small):
    kills, seed = int(os.environ.get("KILLS", "4")), int(os.environ.get("SEED", "1"))
    draw = random.Random(seed)  # noqa: S311
    small.compose("up", "--detach", "--wait")
    before, values = small.files(), small.has("app")
    there = moments(small.adopt("--yes", program=("-c", KILLED, "0")))
    back = moments(small.adopt("--undo", "--yes", program=("-c", KILLED, "0")))
    assert small.files() == before
    log = [f"SEED={seed}"]
    try:
        for _ in range(kills):
            if draw.random() < 0.6:
                log.append(killed_run(small, draw, there, "--yes"))
            else:
                small.adopt("--yes")
                log.append(killed_run(small, draw, back, "--undo", "--yes"))
            assert_whole(small)
            if draw.random() < 0.5:
                small.adopt("--yes")
                assert small.plaintext() == []
                assert small.services() == dict.fromkeys(("app", "lessee-agent", "lessee-holder"), "running healthy")
                assert small.has("app") == values
                log.append("continued")
            small.adopt("--undo", "--yes")
            assert small.files() == before
            assert small.services() == {"app": "running healthy"}
            assert small.has("app") == values
            log.append("undone")
    except BaseException as exc:
        exc.add_note("\n".join(log))
        raise
    assert_no_canary(small.said)
