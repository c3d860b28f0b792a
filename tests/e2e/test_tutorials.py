"""Types every command of each tutorial, and of guides like these, and compares what their reader sees."""

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lessee.host.openbao import find_bao, free_port
from support.paths import ROOT
from support.programs.operator_shell import Operator
from support.servers.dev_server import Dev

DOCS = ROOT / "docs"
TUTORIALS = sorted(f"tutorials/{file.stem}" for file in (DOCS / "tutorials").glob("*.md") if file.stem != "index")
GUIDES = ["how-to/tls", "how-to/wrapped-secret-ids"]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"Save this as `([\w.]+)`[^`]*(?:`[^`]*`[^`]*)*$")


def blocks(name):
    """The blocks of a page: the name of the file to save, or the block's language, and its text."""
    text, end = (DOCS / f"{name}.md").read_text(), 0
    for found in _BLOCK.finditer(text):
        paragraph = text[end : found.start()].rpartition("\n\n## ")[2].strip().rpartition("\n\n")[2]
        file = _FILE.search(paragraph)
        end = found.end()
        yield (file[1] if file else None), found[1], found[2]


class Reader(Operator):
    """A reader of a tutorial, whose ports and folders are others than those of the page."""

    def __init__(self, folder, environ, own):
        super().__init__(folder, environ)
        self._own = own

    def own(self, text):
        """The text with the ports and folders of this test."""
        for public, own in self._own.items():
            text = re.sub(rf"{public}\b", own, text)
        return text


@pytest.fixture
def reader(tmp_path, memory, postgres):
    folder = tmp_path / "work"
    folder.mkdir()
    with Dev(folder) as dev:
        dev.folder = dev.home / ".local/state/lessee/dev"
        dev.folder.mkdir(parents=True)
        # As after a reset: the port is remembered, because another server of this machine may have the default one.
        (dev.folder / "lessee-dev.lock").touch(0o600)
        (dev.folder / "port").write_text(f"{dev.port}\n")
        programs = [Path(sys.executable).parent, Path(find_bao()).parent]
        environ = dev.environ | {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "XDG_RUNTIME_DIR": str(memory),
            "ADMIN_PASSWORD": urlsplit(postgres.admin_url).password,
        }
        own = {r"\b8000": str(free_port()), r"\b5432": str(postgres.port), "/dev/shm/shop": str(memory / "shop")}
        yield Reader(folder, environ, own)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").readlink() == folder:
                    os.kill(int(process.name), signal.SIGKILL)


def as_pattern(text):
    """What the reader sees, with `…` for what differs each time."""
    return ".*".join(map(re.escape, text.split("…")))


@pytest.mark.parametrize("name", [*TUTORIALS, *GUIDES])
def test_every_command_of_a_page_works_and_prints_what_the_page_says(reader, name):
    said = ""
    for file, language, text in blocks(name):
        if file is not None:
            (reader.folder / file).write_text(reader.own(text))
        elif language == "console":
            before = len(reader.said)
            reader.type(reader.own(text))
            said = reader.said[before:]
        elif language == "text":
            for line in text.splitlines():
                assert re.search(as_pattern(reader.own(line)), said), f"{line!r} is not in:\n{said}"
    assert said or reader.said


def test_each_tutorial_saves_files_and_types_commands_for_each_step():
    for name in TUTORIALS:
        found = list(blocks(name))
        assert {language for _, language, _ in found} >= {"console"}
        assert any(file for file, _, _ in found), name
