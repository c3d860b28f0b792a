"""Types the commands of guides whose reader already has a project, a server, or published files."""

import os
import shlex
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, find_bao, free_port
from support.paths import TESTS
from support.programs.page_reader import Reader, blocks
from support.programs.sidecar import eventually

CANARY = "canary-4d1f7e0b9a26c853"
CONFIG = """
environment: testing
state_dir: {memory}/lessee
apps:
  web:
    directory: {memory}/web
    files:
      - {{name: cert.pem, contents: one}}
      - {{name: key.pem, contents: two}}
      - {{name: tls/server.pem, contents: three}}
"""


@pytest.fixture
def reader(bao, tmp_path, memory):
    """A reader in a folder named `shop`, with a token of the server."""
    folder = tmp_path / "shop"
    folder.mkdir()
    programs = [Path(sys.executable).parent, Path(find_bao()).parent]
    environ = {
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(memory),
        "VAULT_ADDR": bao.address,
        "VAULT_TOKEN": ROOT_TOKEN,
    }
    return Reader(folder, environ, {"/run/secrets/web": f"{memory}/web"})


def type_commands(reader, page, *, replaced=()):
    """Type all commands of a page, and none of what it prints."""
    commands = [text for _, language, text in blocks(page) if language == "console"]
    assert commands
    for text in commands:
        for public, own in replaced:
            assert public in text
            text = text.replace(public, own)  # noqa: PLW2901
        reader.type(reader.own(text))


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_an_env_file_is_imported_as_the_guide_says(reader, folder):
    (reader.folder / ".env").write_text(f"# the shop\nDEBUG=false\nSTRIPE_API_KEY='{CANARY}'\n")
    # A person answers the question, and other tests have secrets in the same environment.
    replaced = [("import .env ", f"import .env --yes --path {folder} --environment testing ")]
    type_commands(reader, "how-to/import-env", replaced=replaced)
    assert CANARY not in reader.said


def test_a_project_is_scanned_as_the_guide_says(reader, memory):
    origin = reader.folder.parent / "origin"
    (origin / "deploy").mkdir(parents=True)
    (origin / "deploy/app.env").write_text("DEBUG=false\n")
    (origin / "lessee.yaml").write_text(CONFIG.format(memory=memory))
    git(origin, "init", "-q")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "one")
    reader.folder.rmdir()
    git(origin.parent, "clone", "-q", str(origin), str(reader.folder))
    (reader.folder / "two").write_text("2\n")
    git(reader.folder, "add", "two")
    git(reader.folder, "commit", "-qm", "two")
    reader._exported = reader.folder.parent / "exported"  # Its values are no file of the project.
    type_commands(reader, "how-to/scan")


def test_files_are_read_as_the_guide_says(reader, memory):
    (reader.folder / "lessee.yaml").write_text(CONFIG.format(memory=memory))
    reader.type("$ lessee render")
    before = len(reader.said)
    type_commands(reader, "how-to/reading-files")
    assert reader.said[before:] == '{"cert.pem": "one", "key.pem": "two"}\ntwothree'


APP = """
import os, psycopg
async def app(scope, receive, send):
    if scope["type"] == "http":
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            (user,) = connection.execute("select session_user").fetchone()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{user} {os.environ['PATH']}".encode()})
"""


def test_an_app_is_started_as_the_guide_says(server, postgres, tmp_path, memory):
    """The page's command, with a port of the test's, and its template, with a database of the test's."""
    postgres.attach(server, role="web")
    [command] = [text for _, language, text in blocks("how-to/exec") if language == "console"]
    [template] = [text for _, language, text in blocks("how-to/exec") if language == "jinja"]
    assert template.count("@db/web") == 1
    (tmp_path / "templates/web").mkdir(parents=True)
    address = f"@127.0.0.1:{postgres.port}/simba"
    (tmp_path / "templates/web/process.env.j2").write_text(template.replace("@db/web", address))
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "lessee.yaml").write_text(
        f"environment: testing\nstate_dir: {memory}/state\ntemplate_dir: templates\n"
        f"apps:\n  web: {{directory: {memory}/web, env_template: web/process.env.j2}}\n"
    )
    port = free_port()
    environ = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "VAULT_ADDR": server.address,
        "VAULT_TOKEN": ROOT_TOKEN,
    }
    words = [*shlex.split(command.removeprefix("$ ")), "--port", str(port)]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=said, stderr=said)
    try:
        user, path = eventually(lambda: fetched(port), "an answer of the app").split()
        assert user.startswith("v-")
        assert path.startswith("/opt/web/bin:")
        assert path.removeprefix("/opt/web/bin:") == environ["PATH"]
    finally:
        process.terminate()
        process.wait()
    assert process.returncode in {0, 143}


def fetched(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
        return response.read().decode()
    return ""


CHECKED = """
environment: testing
template_dir: templates
state_dir: /run/lessee
vault: OF_READER
apps:
  web: {directory: /run/secrets/web, owner: "0:1000", files: [{template: web.env.j2}]}
"""
STACK = """
services:
  web: {image: shop, user: "1000:1000", command: [serve], environment: {LOG_LEVEL: info}}
"""
FILES = "role_id_file: /run/secrets/role_id, secret_id_file: /run/secrets/secret_id"
IN_A_CONTAINER = f'{{address: "https://vault:8200", auth: {{method: approle, {FILES}}}}}'
HERE = '{address: "${VAULT_ADDR}", auth: {method: token}}'


def begin_stack(reader, vault):
    (reader.folder / "templates").mkdir(exist_ok=True)
    (reader.folder / "templates/web.env.j2").write_text('PAYMENT_API_KEY={{ secret("payment").api_key }}\n')
    (reader.folder / "lessee.yaml").write_text(CHECKED.replace("OF_READER", vault))
    (reader.folder / "compose.yaml").write_text(STACK)


ANSWERED = ("--fix           # show", "--fix --yes     # show")


@pytest.mark.thorough
def test_a_stack_is_checked_and_mended_as_the_page_says(reader):
    begin_stack(reader, IN_A_CONTAINER)
    first, other = (text for _, language, text in blocks("reference/check") if language == "console")
    assert ANSWERED[0] in first
    reader.type(first.replace(*ANSWERED))
    assert "\n  agent:\n" in (reader.folder / "compose.yaml").read_text()
    begin_stack(reader, IN_A_CONTAINER)
    assert "$ docker compose up\n" in other
    reader.type(other.replace("docker compose up", "docker compose config --quiet"))
    assert "\n  agent:\n" in (reader.folder / "compose.override.yaml").read_text()


@pytest.mark.thorough
def test_a_configuration_is_checked_as_the_page_says(reader, bao):
    begin_stack(reader, HERE)
    [commands] = [text for _, language, text in blocks("reference/configuration") if "lessee check --sandbox" in text]
    (reader.folder / "dist").mkdir()
    (reader.folder / "dist/index.html").write_text("<p>nothing</p>\n")
    bao.put("testing/payment", api_key=CANARY)
    reader.type(commands.replace("--fix             # and", "--fix --yes       # and"))
    assert CANARY not in reader.said


def test_the_first_end_to_end_test_in_the_readme_of_the_tests_passes(bao, sidecar, app, folder):
    text = (TESTS / "README.md").read_text().partition("## Your first end-to-end test")[2]
    module = {}
    exec(text.partition("```python\n")[2].partition("```")[0], module)  # noqa: S102  # The page's own code.
    module["test_a_changed_secret_is_published_and_the_app_notified"](bao, sidecar, app, folder)
