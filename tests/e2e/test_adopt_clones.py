"""`lessee adopt` in a clone of an adopted project: a colleague, another Vault, and files that must not be believed."""

import copy
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.adopt_stacks import CANARIES, Shop, make_images
from e2e.compose import AGENT
from support.servers.dev_server import Dev

pytestmark = pytest.mark.docker

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
ENV = f"SECRET={CANARIES['session']}\n"


@pytest.fixture(scope="module")
def adopt_images(engine, images, tmp_path_factory):
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    return images


def git(folder, *words):
    done = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def adopted(shop):
    """The shop, which one person has adopted and committed; git ignores `.env` and `app.env`."""
    shop.start_server()
    shop.write(".gitignore", ".env\napp.env\n.lessee/\n")
    shop.adopt("--yes")
    git(shop.folder, "init", "-q")
    git(shop.folder, "add", "--all")
    git(shop.folder, "commit", "-qm", "adopted")
    return shop


@pytest.fixture(scope="module")
def origin(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-origin", AGENT) as shop:
        yield adopted(shop)


@pytest.fixture(scope="module")
def small(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    """With one service."""
    with Shop(engine, "lessee-adopt-one", AGENT, is_small=True) as shop:
        yield adopted(shop)


@contextmanager
def colleague(origin, server=None, name="lessee-adopt-clone"):
    """Another person's clone, whose stack runs next to the first one's: only the name of Compose differs."""
    shop = copy.copy(origin)
    home = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    shop.folder, shop.name, shop.said = home / "shop", name, ""
    git(home, "clone", "-q", str(origin.folder), "shop")
    server = server or origin.server
    shop.server = server
    shop.environ = {name: value for name, value in origin.environ.items() if name != "HOME"} | {
        "HOME": str(home),
        "COMPOSE_PROJECT_NAME": name,
        "VAULT_ADDR": f"https://127.0.0.1:{server.port}",
        "VAULT_TOKEN": server.token,
        "VAULT_CACERT": str(server.folder / "ca.pem"),
    }
    shop.words = lambda *options: ["adopt", *options]
    try:
        yield shop
    finally:
        shop._end_stack()
        shutil.rmtree(home)


def logins(shop, role):
    return shop.server.ask("GET", f"auth/approle/role/{role}/secret-id?list=true")["data"]["keys"]


def status(shop):
    return git(shop.folder, "status", "--porcelain")


@pytest.mark.thorough
def test_a_colleague_adopts_a_clone_and_undoes_it_and_the_first_stack_notices_nothing(origin):
    values = {name: origin.has(name) for name in ("web", "worker")}
    role = "development-lessee-adopt-origin-web"
    before = {one["Id"] for one in origin.containers()}
    with colleague(origin) as clone:
        files = clone.files()
        assert clone.compose("up", "--detach", check=False) == ""  # Nothing starts with a reference.
        assert clone.services() == {}
        planned = clone.adopt("--plan").stdout
        assert "project lessee-adopt-origin is adopted, and this is a clone of it; environment development" in planned
        assert f"  {role}:\n" in planned
        assert "    api-keys/payment\n" in planned
        assert "  + .env\n  + app.env\n" in planned
        assert clone.files() == files
        clone.adopt("--yes")
        assert clone.services() == {
            "db": "running healthy",
            "web": "running healthy",
            "worker": "running",
            "lessee-agent": "running healthy",
            "lessee-holder": "running healthy",
        }
        assert {name: clone.has(name) for name in values} == values
        assert clone.plaintext() == []
        assert status(clone) == ""
        # What only the first person had, with references in the place of secrets.
        text = (clone.folder / ".env").read_text()
        assert "\nDB_PASSWORD=ref+openbao://database/postgres#password\nTAG=latest\n" in text
        assert "PAYMENT_REGION=eu" in (clone.folder / "app.env").read_text()
        assert len(logins(clone, role)) == 2
        assert "nothing to do: this project is adopted" in clone.adopt("--yes").stdout
        assert status(clone) == ""
        clone.compose("up", "--detach", "--wait")
        clone.adopt("--undo", "--yes")
        assert clone.files() == files
        assert clone.services() == {}
        assert len(logins(clone, role)) == 1
        assert "nothing to undo" in clone.adopt("--undo", "--yes").stdout
        assert [name for name, value in CANARIES.items() if value in clone.said] == []
    assert {one["Id"] for one in origin.containers()} == before
    assert "nothing to do" in origin.adopt("--yes").stdout
    assert {name: origin.has(name) for name in ("web", "worker")} == values


@pytest.mark.thorough
def test_a_vault_without_the_secrets_is_named_with_a_command_for_each(origin, engine):
    server = Dev(origin.folder.parent, under=engine.network, by_socket=True, is_lasting=True)
    with server:
        server.folder = server.home / ".local/state/lessee/dev"
        server.detach("--listen", "docker")
        with colleague(origin, server, "lessee-adopt-fresh") as clone:
            files = clone.files()
            done = clone.adopt("--yes", code=75)
            assert (
                "of the project's secrets, and nothing was changed; store them with the commands above" in done.stderr
            )
            assert clone.files() == files
            commands = re.findall(r"^  lessee (set --config .*)$", done.stdout, re.MULTILINE)
            values = {}
            for command in commands:
                place = command.split()[-2:]
                values[tuple(place)] = origin.server.get(f"development/{place[0]}")[place[1]]
                stored = clone.run(*command.split(), text=values[tuple(place)])
                assert stored.returncode == 0, stored.stderr
            assert set(CANARIES.values()) <= set(values.values())
            # It is not known yet what the services may read in this Vault.
            done = clone.adopt("--yes", code=64)
            assert "it is not known what its services may read" in done.stderr
            assert "; if they may read the secrets above, add --environment development" in done.stderr
            assert clone.files() == files
            clone.adopt("--yes", "--environment", "development")
            assert clone.services()["web"] == "running healthy"
            assert {name: clone.has(name) for name in ("web", "worker")} == {
                name: origin.has(name) for name in ("web", "worker")
            }
            assert status(clone) == ""
            assert "TAG" not in (clone.folder / ".env").read_text()
            clone.adopt("--undo", "--yes")
            assert clone.files() == files
            assert [name for name in clone._names("auth/approle/role") if name.startswith("development-")] == []


@pytest.mark.thorough
def test_a_service_that_one_clone_adds_is_taken_over_by_the_others(small):
    with colleague(small, name="lessee-adopt-adds") as clone:
        clone.adopt("--yes")
        text = (clone.folder / "compose.yaml").read_text()
        new = f"      NEW_API_KEY: {CANARIES['api']}2\n      LOG_LEVEL: info"
        clone.write("compose.yaml", text.replace("      LOG_LEVEL: info", new))
        clone.adopt("--yes")
        assert f"{CANARIES['api']}2" not in (clone.folder / "compose.yaml").read_text()
        git(clone.folder, "commit", "-qam", "a new key")
        git(clone.folder, "add", "--all")
        assert status(clone) == ""
        with colleague(clone, name="lessee-adopt-adds2") as third:
            third.adopt("--yes")
            assert "NEW_API_KEY" in third.has("app")
            third.adopt("--undo", "--yes")
        # The first person pulls.
        git(small.folder, "pull", "-q", str(clone.folder), "main")
        planned = small.adopt("--plan").stdout
        assert "this is a clone of it" in planned
        small.adopt("--yes")
        assert "NEW_API_KEY" in small.has("app")
        assert "nothing to do" in small.adopt("--yes").stdout
        clone.adopt("--undo", "--yes")


@pytest.mark.thorough
def test_a_run_in_a_clone_that_fails_is_continued_or_reversed(small):
    with colleague(small, name="lessee-adopt-fails") as clone:
        files = clone.files()
        failing = (
            "import sys; from lessee.ops.adopt.stack import Stack; import lessee.cli\n"
            "def broken(*_, **__): raise KeyboardInterrupt\n"
            "Stack.up = broken\n"
            "sys.exit(lessee.cli.main(sys.argv[1:]))"
        )
        clone.adopt("--yes", program=failing, code=None)
        assert clone.services() == {}
        clone.adopt("--yes")
        assert clone.services()["app"] == "running healthy"
        clone.adopt("--undo", "--yes")
        assert clone.files() == files
        clone.adopt("--yes", program=failing, code=None)
        clone.adopt("--undo", "--yes")
        assert clone.files() == files
        assert len(logins(clone, "development-lessee-adopt-one-app")) == 1


@pytest.mark.thorough
def test_a_clone_with_plaintext_of_before_keeps_it_until_the_next_run(small):
    with colleague(small, name="lessee-adopt-older") as clone:
        clone.write(".env", ENV)
        clone.write("app.env", f"PAYMENT_API_KEY={CANARIES['api']}\nPAYMENT_REGION=eu\n")
        done = clone.adopt("--yes")
        assert "note: .env, app.env may have plaintext that Vault has too" in done.stderr
        clone.adopt("--yes")
        assert clone.plaintext() == []
        assert clone.services()["app"] == "running healthy"
        assert status(clone) == ""
        clone.adopt("--undo", "--yes")
        assert (clone.folder / ".env").read_text() == ENV


@pytest.mark.thorough
def test_what_a_person_changed_in_adopts_files_stays_or_is_named(small):
    template, config = "lessee/templates/app/environment.sh.j2", "lessee/lessee.yaml"
    with colleague(small, name="lessee-adopt-edits") as first:
        first.write(config, (first.folder / config).read_text() + "# ours\n")
        git(first.folder, "commit", "-qam", "our settings")
        with colleague(first, name="lessee-adopt-edits2") as clone:
            clone.adopt("--yes")
            clone.write(template, (clone.folder / template).read_text() + "# mine\n")
            assert "nothing to do" in clone.adopt("--yes").stdout
            text = (clone.folder / "compose.yaml").read_text()
            new = f"      CACHE_URL: redis://:{CANARIES['url']}@cache:6379/0\n      LOG_LEVEL: info"
            clone.write("compose.yaml", text.replace("      LOG_LEVEL: info", new))
            files = {name: content for name, content in clone.files().items() if not name.startswith(".lessee/")}
            assert f"note: {clone.folder}: a person changed {template}:" in clone.adopt("--plan").stdout
            done = clone.adopt("--yes", code=73)
            assert f"a person changed {template}:" in done.stderr
            assert "rename what you changed, run this again, and add your changes to what it writes" in done.stderr
            after = {name: content for name, content in clone.files().items() if not name.startswith(".lessee/")}
            assert after == files
            (clone.folder / template).rename(clone.folder / f"{template}.mine")
            clone.adopt("--yes")
            assert "CACHE_URL" in clone.has("app")
            assert (clone.folder / config).read_text().endswith("# ours\n")
            assert (clone.folder / f"{template}.mine").read_text().endswith("# mine\n")
            clone.adopt("--undo", "--yes")
            assert (clone.folder / config).read_text().endswith("# ours\n")


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("words", [("-f", "compose.yaml"), ("-f", "compose.yaml", "-f", "other.yaml")])
def test_compose_starts_nothing_without_the_override(origin, words):
    (origin.folder / "other.yaml").write_text("services: {other: {image: none}}\n")
    try:
        done = subprocess.run(
            ["docker", "compose", *words, "-p", "lessee-adopt-plain", "up", "--detach"],
            cwd=origin.folder,
            env=origin.environ,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        (origin.folder / "other.yaml").unlink()
    assert done.returncode != 0
    assert 'service "lessee-agent" has neither an image nor a build context specified' in done.stderr
    label = "label=com.docker.compose.project=lessee-adopt-plain"
    assert origin.engine.docker("ps", "--all", "--quiet", "--filter", label).split() == []
    assert origin.engine.docker("volume", "ls", "--quiet", "--filter", label).split() == []
    config = json.loads(origin.compose("config", "--format", "json"))
    assert config["services"]["db"]["environment"]["POSTGRES_PASSWORD"] == ""
