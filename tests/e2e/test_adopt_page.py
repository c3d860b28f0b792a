"""Runs every command of docs/how-to/adopt.md in order: a project with plaintext is adopted, and as before again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.adopt_stacks import APP, POSTGRES, Shop, make_images
from e2e.compose import AGENT
from support.paths import ROOT
from support.programs.operator_shell import Operator

pytestmark = pytest.mark.docker

PAGE = (ROOT / "docs/how-to/adopt.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLAINTEXT = ("an-example-password", "an-example-key-of-a-provider")
# The images of the page, as this Engine has them.
_TAGS = {"lessee": AGENT, "image: postgres:17": f"image: {POSTGRES}", "image: shop": f"image: {APP}"}


@pytest.fixture
def reader(engine, images, tmp_path, tmp_path_factory):  # noqa: ARG001  # It needs the images.
    """A shell in a clone of the page's project; `lessee` runs where the Engine's host is."""
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    origin = tmp_path / "origin"
    origin.mkdir()
    [compose] = [text for word, text in BLOCKS if word == "yaml"]
    files = {"compose.yaml": compose} | {
        text.partition("\n")[0].removeprefix("# "): text for word, text in BLOCKS if word == "ini"
    }
    for name, text in files.items():
        for public, own in list(_TAGS.items())[1:]:
            text = text.replace(public, own)  # noqa: PLW2901
        (origin / name).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(origin)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    with Shop(engine, "lessee-adopt-page", AGENT) as shop:
        subprocess.run(["git", "clone", "-q", str(origin), str(shop.folder / "page")], check=True)
        # As after a reset: the port is remembered, because another server of this machine may have the default one.
        folder = shop.server.home / ".local/state/lessee/dev"
        folder.mkdir(parents=True)
        (folder / "lessee-dev.lock").touch(0o600)
        (folder / "port").write_text(f"{shop.server.port}\n")
        shop.server.folder = folder
        programs = tmp_path / "bin"
        programs.mkdir()
        words = " ".join([*engine.network, sys.executable, "-m", "lessee"])
        (programs / "lessee").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (programs / "lessee").chmod(0o755)
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        environ = shop.environ | {"PATH": path, "COMPOSE_PROJECT_NAME": shop.name}
        operator = Operator(shop.folder / "page", environ)
        operator._exported = tmp_path / "exported"  # Not in the project.
        had_image = bool(engine.docker("image", "ls", "--quiet", "lessee:latest").strip())
        if not had_image:
            engine.docker("tag", AGENT, "lessee:latest")
        try:
            yield operator
        finally:
            if not had_image:
                engine.docker("image", "rm", "lessee:latest", check=False)


def contents(folder):
    skipped = {".git", "said"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not skipped & set(path.relative_to(folder).parts)
    }


def test_every_command_of_the_page_works_in_order(reader):
    before = contents(reader.folder)
    commands = [line for word, text in BLOCKS if word == "console" for line in text.splitlines()]
    assert len(commands) >= 8
    for number, line in enumerate(commands):
        reader.type(line)
        if "--undo" in line:
            assert contents(reader.folder) == before
        elif any("adopt --dev" in done for done in commands[: number + 1]):
            plain = [
                name for name, text in contents(reader.folder).items() if any(v.encode() in text for v in PLAINTEXT)
            ]
            assert plain == []
    assert "nothing to do: this project is adopted" in reader.said
    assert [value for value in PLAINTEXT if value in reader.said] == []


def test_each_option_of_the_command_is_on_the_page():
    help_text = subprocess.run(
        [sys.executable, "-m", "lessee", "adopt", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    options = set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}
    assert [option for option in sorted(options) if option not in PAGE] == []
