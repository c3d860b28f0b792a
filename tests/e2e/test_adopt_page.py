"""Runs every command of docs/how-to/adopt.md in order: a project with plaintext is adopted, and as before again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.adopt_stacks import Shop, make_images
from e2e.compose import AGENT
from e2e.newcomer import (
    BLOCKS,
    PAGE,
    PLAINTEXT,
    BaseImage,
    Newcomer,
    contents,
    first_screen,
    make_origin,
    remember_port,
)
from support.programs.operator_shell import Operator

pytestmark = pytest.mark.docker


@pytest.fixture
def reader(engine, images, tmp_path, tmp_path_factory):  # noqa: ARG001  # It needs the images.
    """A shell in a clone of the page's project; `lessee` runs where the Engine's host is."""
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    origin = tmp_path / "origin"
    make_origin(origin)
    with Shop(engine, "lessee-adopt-page", AGENT) as shop:
        subprocess.run(["git", "clone", "-q", str(origin), str(shop.folder / "page")], check=True)
        remember_port(shop.server)
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


@pytest.fixture
def newcomer(engine, built, tmp_path, tmp_path_factory):
    """A person with a clone of this repository and one of a project, on an Engine without an image of lessee."""
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    with Shop(engine, "lessee-newcomer", "lessee") as shop, BaseImage(engine):
        remember_port(shop.server)
        person = Newcomer(shop, tmp_path, built / "wheels")
        try:
            yield person, shop
        finally:
            person.close()


@pytest.mark.thorough
@pytest.mark.timeout(900)  # It installs lessee, builds its image, and starts a stack twice.
def test_the_first_screen_of_the_readme_leads_from_plaintext_to_a_rotated_stack_and_back(newcomer):
    """Three commands, typed as they are there into a shell; then the undo."""
    person, shop = newcomer
    before = contents(person.shop)
    *commands, adopt, undo = first_screen()
    assert len(commands) + 1 <= 3
    assert ("lessee adopt" in adopt, "--rotate" in adopt, "--undo" in undo) == (True, True, True)
    for command in commands:
        person.type(command)
    person.type(adopt, answer="y")
    assert "this installation of lessee and the clients of stores, on python:" in person.said
    assert "adopted, and rotated" in person.said
    assert [name for name, text in contents(person.shop).items() if any(v.encode() in text for v in PLAINTEXT)] == []
    password = shop.server.get("development/database/postgres")["password"]
    assert password != PLAINTEXT[0]
    assert shop.services()["web"] == "running"
    person.type(undo, answer="y")
    assert contents(person.shop) == before
    assert shop.services() == {"db": "running healthy", "web": "running"}
    assert [value for value in (*PLAINTEXT, password) if value in person.said] == []


def test_each_option_of_the_command_is_on_the_page():
    help_text = subprocess.run(
        [sys.executable, "-m", "lessee", "adopt", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    options = set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}
    assert [option for option in sorted(options) if option not in PAGE] == []
