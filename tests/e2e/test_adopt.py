"""`lessee adopt` on a real Engine and with a real OpenBao: a stack with plaintext is adopted, changed and undone."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.adopt_stacks import APP, CANARIES, POSTGRES, Shop, make_images
from e2e.compose import AGENT
from support.programs.sidecar import eventually
from support.thorough import THOROUGH

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


@pytest.fixture(scope="module")
def small_shop(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-small", AGENT, is_small=True) as shop:
        shop.start_server()
        yield shop


@pytest.fixture
def small(small_shop):
    small_shop.begin_again()
    return small_shop


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def assert_no_canary(text):
    text = text if isinstance(text, str) else json.dumps(text)
    assert [name for name, value in CANARIES.items() if value in text] == []


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_apps_become_labels_which_a_person_changes_and_the_undo_removes(small):
    small.compose("up", "--detach", "--wait")
    before, values = small.files(), small.has("app")
    small.adopt("--yes", "--labels")
    assert small.has("app") == values
    assert small.plaintext() == []
    assert not (small.folder / "lessee/templates").exists()
    [app] = [one for one in small.containers() if one["Config"]["Labels"]["com.docker.compose.service"] == "app"]
    assert app["Config"]["Labels"]["lessee.notify.action"] == "restart"
    assert "nothing to do" in small.adopt("--yes").stdout
    # A person adds a line to the template in the label, and the next run writes the model again.
    override = small.folder / "compose.lessee.yaml"
    line = next(line for line in override.read_text().splitlines() if "export PAYMENT_API_KEY=" in line)
    more = line.replace("PAYMENT_API_KEY", "NEW_API_KEY")
    override.write_text(override.read_text().replace(f"{line}\n", f"{line}\n{more}\n"))
    done = small.adopt("--yes")
    assert ("lessee: + lessee/compose.json" in done.stderr, "nothing to do" in done.stdout) == (True, True)
    eventually(lambda: small.has("app").get("NEW_API_KEY") == sha(CANARIES["api"]), "the new variable of the app")
    assert small.adopt("--yes", "--labels").returncode == 0
    done = small.adopt("--undo", "--yes", code=75)
    assert "compose.lessee.yaml" in done.stdout  # A person changed it, so it stays.
    override.unlink()
    assert small.files() == before
    assert_no_canary(small.said)


@pytest.mark.thorough
def test_the_model_of_labels_has_nothing_of_an_env_file_in_which_a_secret_stays(small):
    left = "canary-left-Qq1Ww2Ee3Rr4"
    small.write("app.env", (small.folder / "app.env").read_text() + f"OTHER.API_KEY={left}\n")
    done = small.adopt("--yes", "--labels", code=75)
    assert "OTHER.API_KEY of service app is no name that a shell can export" in done.stdout
    assert left in (small.folder / "app.env").read_text()
    model = small.folder / "lessee/compose.json"
    first = model.read_text()
    # What an older Compose writes with all values, or a person with other options.
    small.compose("config", "--format", "json", "--output", "lessee/compose.json")
    assert left in model.read_text()
    small.adopt("--yes", code=75)
    assert model.read_text() == first
    assert (left in first, '"environment"' in first, '"lessee.owner"' in first) == (False, False, True)
    assert left not in small.said
    small.adopt("--undo", "--yes")


def test_compose_file_reaches_no_program_whose_env_file_is_that_of_the_project(small):
    compose = (small.folder / "compose.yaml").read_text()
    small.write("compose.yaml", compose.replace("env_file: app.env", "env_file: [app.env, .env]"))
    small.adopt("--yes")
    assert "COMPOSE_FILE=" in (small.folder / ".env").read_text()
    # Without its health checks, which Docker starts with the container's own variables.
    programs = [environ for service, path, environ in small.processes() if service == "app" and "python" in path]
    assert programs != []
    assert not any(b"COMPOSE_FILE" in environ for environ in programs)
    assert "nothing to do" in small.adopt("--yes").stdout


def roles(shop):
    try:
        return shop.server.ask("GET", "auth/approle/role?list=true")["data"]["keys"]
    except RuntimeError:  # There is no role.
        return []


# Killed at any moment

# Counts what changes a file, Vault or the stack, and kills itself at one of them; or prints how many there were.
KILLED = """
import atexit, os, pathlib, signal, subprocess, sys
from lessee.host import limited_command

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
limited_command.run_limited = counted(limited_command.run_limited)  # Before others import it.
import lessee.cli
from lessee.vault.transport import Transport

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
        done = shop.adopt(*options, program=(KILLED, str(moment)), code=None)
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


@pytest.mark.thorough
def test_killed_at_any_moment_the_next_run_continues_and_undo_reverses(small):
    kills, seed = int(os.environ.get("KILLS", "8" if THOROUGH else "2")), int(os.environ.get("SEED", "1"))
    draw = random.Random(seed)  # noqa: S311
    small.compose("up", "--detach", "--wait")
    before, values = small.files(), small.has("app")
    there = moments(small.adopt("--yes", program=(KILLED, "0")))
    back = moments(small.adopt("--undo", "--yes", program=(KILLED, "0")))
    assert small.files() == before
    log = [f"SEED={seed}"]
    try:
        for number in range(kills):
            if number % 2 == 0:
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


@pytest.mark.thorough
def test_killed_at_any_moment_of_a_later_run_a_plain_up_starts_the_stack_with_all_values(small):
    kills, seed = int(os.environ.get("KILLS", "8" if THOROUGH else "2")), int(os.environ.get("SEED", "2"))
    draw = random.Random(seed)  # noqa: S311
    log = [f"SEED={seed}"]
    count = None
    try:
        for _ in range(kills + 1):
            small.begin_again()
            small.adopt("--yes")
            values = small.has("app") | {"NEW_API_KEY": sha(CHANGED)}
            text = (small.folder / "compose.yaml").read_text()
            small.write(
                "compose.yaml", text.replace("LOG_LEVEL: info", f"LOG_LEVEL: info\n      NEW_API_KEY: {CHANGED}")
            )
            if count is None:
                count = moments(small.adopt("--yes", program=(KILLED, "0")))
                continue
            moment = draw.randint(1, count)
            log.append(f"at effect {moment} of {count}")
            small.adopt("--yes", program=(KILLED, str(moment)), code=None)
            small.compose("up", "--detach", "--wait")
            eventually(lambda values=values: small.has("app") == values, "all values")
            small.adopt("--yes")
            assert CHANGED not in (small.folder / "compose.yaml").read_text()
            assert small.has("app") == values
    except BaseException as exc:
        exc.add_note("\n".join(log))
        raise


# What else can happen

TEMPLATE = "lessee/templates/app/environment.sh.j2"
# Another person changes a template between the plan and the start.
FAILING = f"""
import sys
from lessee.ops.adopt.stack import Stack
import lessee.cli
up, starts = Stack.up, []
def broken(self, files, *rest):
    starts.append(files)
    if len(starts) == 1:
        file = self._folder / {TEMPLATE!r}
        file.write_text(file.read_text().replace("PAYMENT_API_KEY=", "PAYMENT_API_KEY=x"))
    return up(self, files, *rest)
Stack.up = broken
sys.exit(lessee.cli.main(sys.argv[1:]))
"""


@pytest.mark.thorough
def test_a_stack_that_is_not_well_runs_as_before_and_no_file_is_changed(small):
    """The key in Vault is no key any more, which no plan could know."""
    small.compose("up", "--detach", "--wait")
    before, values = small.files(), small.has("app")
    done = small.adopt("--yes", "--timeout", "60s", program=FAILING, code=69)
    assert "app: it exits again and again" in done.stderr or "app: its health check fails" in done.stderr
    assert "this is not a key" in done.stderr
    assert "the stack runs as before, and no file of yours was changed" in done.stderr
    assert small.services() == {"app": "running healthy"}
    assert small.has("app") == values
    assert {name: small.files()[name] for name in before} == before
    # A template that a person changed stays: the next run fails too, and succeeds when the cause is gone.
    small.adopt("--yes", "--timeout", "60s", code=69)
    template = small.folder / TEMPLATE
    template.write_text(template.read_text().replace("PAYMENT_API_KEY=x", "PAYMENT_API_KEY="))
    small.adopt("--yes")
    assert small.plaintext() == []
    assert_no_canary(small.said)


@pytest.mark.thorough
def test_an_adopted_stack_that_is_not_well_with_a_new_secret_runs_as_before(small):
    small.adopt("--yes")
    values = small.has("app")
    text = (small.folder / "compose.yaml").read_text()
    small.write("compose.yaml", text.replace("LOG_LEVEL: info", f"LOG_LEVEL: info\n      NEW_API_KEY: {CHANGED}"))
    before = small.files()
    done = small.adopt("--yes", "--timeout", "60s", program=FAILING, code=69)
    assert "the stack runs as before with adopt's files of before, and no file of yours was changed" in done.stderr
    assert {name: content for name, content in small.files().items() if ".lessee/" not in name} == {
        name: content for name, content in before.items() if ".lessee/" not in name
    }
    assert small.services() == dict.fromkeys(("app", "lessee-agent", "lessee-holder"), "running healthy")
    values |= {"NEW_API_KEY": sha(CHANGED)}  # The file has it still.
    eventually(lambda: small.has("app") == values, "the values of before")
    small.compose("down")
    small.compose("up", "--detach", "--wait")
    assert small.has("app") == values
    small.adopt("--yes")
    assert CHANGED not in (small.folder / "compose.yaml").read_text()
    assert small.has("app") == values
    small.adopt("--undo", "--yes")
    assert sorted(small.files()) == [".env", "app.env", "compose.yaml"]


def test_another_value_in_vault_is_named_and_nothing_is_changed(small):
    before = small.files()
    small.server.put("development/api-keys/payment", api_key="another")
    done = small.adopt("--yes", code=73)
    assert "secret/development/api-keys/payment: Vault has another value for api_key" in done.stderr
    assert small.files() == before
    assert small.containers() == []
    assert_no_canary(small.said)


@pytest.mark.thorough
def test_vault_that_goes_away_halfway_changes_no_file_and_the_next_run_continues(small):
    small.compose("up", "--detach", "--wait")
    before = small.files()
    stopping = (
        "import os, signal, sys; from lessee.ops.adopt.store import Store; import lessee.cli\n"
        "def stopped(function):\n"
        "    def call(*arguments, **settings):\n"
        f"        for pid in {list(small.server.servers())}: os.kill(pid, signal.SIGSTOP)\n"
        "        return function(*arguments, **settings)\n"
        "    return call\n"
        "Store.save = stopped(Store.save)\n"
        "sys.exit(lessee.cli.main(sys.argv[1:]))"
    )
    try:
        done = small.adopt("--yes", program=stopping, code=69)
    finally:
        for pid in small.server.servers():
            os.kill(pid, signal.SIGCONT)
    assert {name: small.files()[name] for name in before} == before
    assert small.services() == {"app": "running healthy"}
    assert "Traceback" not in done.stderr
    small.adopt("--yes")
    assert small.plaintext() == []
    small.adopt("--undo", "--yes")
    assert small.files() == before


@pytest.mark.thorough
def test_a_value_that_a_label_and_a_hostname_repeat_is_a_step_and_the_stack_is_adopted(small):
    text = (small.folder / "compose.yaml").read_text()
    more = f'    labels: {{token: "{CANARIES["session"]}"}}\n    hostname: {CANARIES["api"].replace("_", "-")}\n'
    small.write("app.env", f"PAYMENT_API_KEY={CANARIES['api'].replace('_', '-')}\n")
    small.write("compose.yaml", text + more)
    done = small.adopt("--yes", code=75)
    assert "hostname of service app has the value of api-keys/payment#api_key" in done.stdout
    assert "labels.token of service app is a label, which has a secret" in done.stdout
    assert small.services()["app"] == "running healthy"
    assert "nothing to do" in small.adopt("--yes", code=75).stdout
    assert_no_canary(small.said)


@pytest.mark.thorough
def test_a_new_secret_is_adopted_by_the_next_run_and_a_persons_changes_survive_the_undo(small):
    small.compose("up", "--detach", "--wait")
    original = (small.folder / "compose.yaml").read_bytes()
    small.adopt("--yes")
    content = (small.folder / "compose.yaml").read_text()
    small.write(
        "compose.yaml", content.replace("LOG_LEVEL: info", "LOG_LEVEL: debug # loud\n      NEW_API_KEY: " + CHANGED)
    )
    small.adopt("--yes")
    assert CHANGED not in (small.folder / "compose.yaml").read_text()
    assert small.plaintext() == []
    values = small.has("app")
    assert (values["NEW_API_KEY"], values["PAYMENT_API_KEY"]) == (sha(CHANGED), sha(CANARIES["api"]))
    assert "nothing to do" in small.adopt("--yes").stdout
    small.adopt("--undo", "--yes")
    expected = original.decode().replace("LOG_LEVEL: info", "LOG_LEVEL: debug # loud\n      NEW_API_KEY: " + CHANGED)
    assert (small.folder / "compose.yaml").read_text() == expected
    assert small.has("app") == values
    assert sorted(small.files()) == [".env", "app.env", "compose.yaml"]


_SERVER = "import hashlib, os; print(hashlib.sha256(os.environ['API_TOKEN'].encode()).hexdigest())"


@pytest.mark.thorough
def test_the_servers_of_an_mcp_client_get_their_secrets_from_vault_too(small, memory):
    servers = {"who": {"command": sys.executable, "args": ["-c", _SERVER], "env": {"API_TOKEN": CANARIES["api"]}}}
    small.write("mcp.json", json.dumps({"mcpServers": servers}, indent=2))
    before = small.files()
    runtime = {"XDG_RUNTIME_DIR": str(memory)}
    planned = small.adopt("--plan", **runtime).stdout
    assert "  mcpServers.who: API_TOKEN → mcp/who; started by `lessee exec`" in planned.splitlines()
    small.adopt("--yes", **runtime)
    assert small.plaintext() == []
    wrapped = json.loads((small.folder / "mcp.json").read_text())["mcpServers"]["who"]
    done = subprocess.run(
        [*small.engine.network, wrapped["command"], *wrapped["args"]],
        env=small.environ | wrapped["env"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == sha(CANARIES["api"]), done.stderr
    assert "nothing to do" in small.adopt("--yes", **runtime).stdout
    # What an undo cannot put back is named before anything is undone.
    client = small.folder / "mcp.json"
    client.chmod(0o444)
    adopted = small.files()
    assert "mcp.json: the file is read-only" in small.adopt("--undo", "--yes", code=73, **runtime).stderr
    assert small.files() == adopted
    client.chmod(0o644)
    small.adopt("--undo", "--yes", **runtime)
    assert small.files() == before
    assert_no_canary(small.said)


@pytest.mark.thorough
def test_a_file_that_another_program_changes_meanwhile_stays_and_the_next_run_plans_with_it(small):
    writing = (
        "import sys; from lessee.ops.adopt.apply import Apply; import lessee.cli\n"
        "edit = Apply.edit\n"
        "def changed(self, *arguments):\n"
        "    with open('app.env', 'a') as file: file.write('PAYMENT_REGION=us\\n')\n"
        "    return edit(self, *arguments)\n"
        "Apply.edit = changed\n"
        "sys.exit(lessee.cli.main(sys.argv[1:]))"
    )
    original = (small.folder / "app.env").read_bytes()
    done = small.adopt("--yes", program=writing, code=73)
    assert "app.env: another program changed the file since this adoption began" in done.stderr
    assert (small.folder / "app.env").read_bytes() == original + b"PAYMENT_REGION=us\n"
    small.adopt("--yes")
    assert small.plaintext() == []
    small.adopt("--undo", "--yes")
    assert (small.folder / "app.env").read_bytes() == original + b"PAYMENT_REGION=us\n"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda folder: (folder / "app.env").chmod(0o444), "app.env: the file is read-only"),
        (lambda folder: (folder.parent / f"{folder.name}.env").hardlink_to(folder / "app.env"), "another hard link"),
        (
            lambda folder: (
                (folder / ".env").rename(folder.parent / f"{folder.name}.shared")
                and (folder / ".env").symlink_to(folder.parent / f"{folder.name}.shared")
            ),
            "which is outside of the project and may have other readers",
        ),
        (lambda folder: (folder / "compose.lessee.yaml").write_text("services: {}\n"), "did not write it"),
    ],
)
def test_a_file_that_cannot_be_edited_is_named_before_anything_is_changed(small, make, error):
    make(small.folder)
    before = small.files()
    try:
        done = small.adopt("--yes", code=73)
    finally:
        for name in ("env", "shared"):
            (small.folder.parent / f"{small.folder.name}.{name}").unlink(missing_ok=True)
    assert error in done.stderr
    assert small.files() == before
    assert small.containers() == []


@pytest.mark.thorough
def test_a_link_within_the_project_and_files_of_windows_come_back_as_they_were(small):
    (small.folder / "shared").mkdir()
    (small.folder / ".env").rename(small.folder / "shared" / "env")
    (small.folder / ".env").symlink_to("shared/env")
    small.write("app.env", b"\xef\xbb\xbf" + (small.folder / "app.env").read_bytes().replace(b"\n", b"\r\n"))
    small.write("compose.yaml", (small.folder / "compose.yaml").read_bytes().replace(b"\n", b"\r\n"))
    (small.folder / "app.env").chmod(0o640)
    small.compose("up", "--detach", "--wait")
    before, values = small.files(), small.has("app")
    small.adopt("--yes")
    assert small.plaintext() == []
    assert small.has("app") == values
    after = small.files()
    assert after[".env"] == "shared/env"
    assert (after["app.env"][0].count(b"\r\n"), after["app.env"][1]) == (2, 0o640)
    assert after["app.env"][0].startswith(b"\xef\xbb\xbf# PAYMENT_API_KEY=ref+openbao://")
    small.adopt("--undo", "--yes")
    assert small.files() == before


def test_a_full_disk_changes_nothing_that_the_next_run_does_not_finish(small):
    before = small.files()
    full = ["prlimit", "--fsize=300", "env", "PYTHONDONTWRITEBYTECODE=1"]
    done = subprocess.run(
        [*full, *small.command("--yes")],
        cwd=small.folder,
        env=small.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 73, done.stderr
    assert {name: small.files()[name] for name in before} == before
    small.adopt("--undo", "--yes")
    assert small.files() == before


@pytest.mark.thorough
def test_without_an_engine_it_says_what_to_do_and_no_up_writes_all_but_the_edits(small):
    before = small.files()
    done = small.adopt("--yes", code=69, DOCKER_HOST="unix:///nowhere")
    assert "the Docker Engine does not answer; start it, or write the files without it" in done.stderr
    assert small.files() == before
    done = small.adopt("--yes", "--no-up")
    assert small.containers() == []
    assert "docker compose -f compose.yaml -f compose.lessee.yaml up -d" in done.stdout
    assert {name: small.files()[name] for name in before} == before
    small.adopt("--yes")
    assert small.plaintext() == []
    assert small.services()["app"] == "running healthy"


@pytest.mark.thorough
def test_without_a_terminal_it_wants_a_yes_and_without_a_vault_a_plan_is_enough(small):
    before = small.files()
    assert "there is no terminal; add --yes" in small.adopt(code=64).stderr
    assert small.files() == before
    words = [word for word in small.words("--plan") if word != "--dev"]
    environ = {"HOME": str(small.folder.parent / "no-home")}
    done = small.run(*words, **environ)
    assert (done.returncode, "PAYMENT_API_KEY" in done.stdout) == (0, True), done.stderr
    assert "no Vault is configured" in done.stdout
    assert small.adopt("--plan", HOME=environ["HOME"]).returncode == 0
    assert not Path(environ["HOME"]).exists()  # A plan starts no server.
    words.remove("--plan")
    done = small.run(*words, "--yes", **environ)
    assert (done.returncode, "add --dev" in done.stderr) == (64, True), done.stderr
    assert small.files() == before
    assert_no_canary(small.said + done.stdout + done.stderr)


@pytest.mark.thorough
def test_a_server_that_no_container_reaches_is_named_and_dev_lets_it_listen(small):
    small.server.detach("--listen", "127.0.0.1")
    before = small.files()
    words = [word for word in small.words("--yes") if word != "--dev"]
    environ = {
        "VAULT_ADDR": f"https://127.0.0.1:{small.server.port}",
        "VAULT_TOKEN": small.server.token,
        "VAULT_CACERT": str(small.server.folder / "ca.pem"),
    }
    done = small.run(*words, **environ)
    assert (done.returncode, "`lessee dev --detach --listen docker`" in done.stderr) == (64, True), done.stderr
    assert small.files() == before
    assert_no_canary(done.stdout + done.stderr)
    small.adopt("--yes")
    assert small.services()["app"] == "running healthy"
    assert small.plaintext() == []


@pytest.mark.thorough
def test_two_at_once_wait_for_each_other(small):
    with small.start("--yes") as one, small.start("--yes") as other:
        outputs = one.communicate(timeout=300)[0], other.communicate(timeout=300)[0]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    assert sum("nothing to do" in output for output in outputs) == 1
    assert small.plaintext() == []


@pytest.mark.thorough
def test_ctrl_c_leaves_a_state_that_the_undo_reverses(small):
    small.compose("up", "--detach", "--wait")
    before = small.files()
    with small.start("--yes") as process:
        for line in process.stdout:
            if "+ compose.lessee.yaml" in line and line.startswith("lessee:"):
                os.killpg(process.pid, signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode != 0
    assert "Traceback" not in rest
    assert {name: small.files()[name] for name in before} == before
    small.adopt("--undo", "--yes")
    assert small.files() == before
    assert small.services() == {"app": "running healthy"}
