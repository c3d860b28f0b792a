"""Types the commands of guides whose reader already has a project, a server, or published files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, find_bao
from support.programs.page_reader import Reader, blocks

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
