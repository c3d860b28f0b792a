"""Types every command of each tutorial, and of guides like these, and compares what their reader sees."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lessee.host.openbao import find_bao, free_port
from support.programs.page_reader import DOCS, Reader, blocks
from support.servers.dev_server import Dev

TUTORIALS = sorted(f"tutorials/{file.stem}" for file in (DOCS / "tutorials").glob("*.md") if file.stem != "index")
GUIDES = ["how-to/tls", "how-to/wrapped-secret-ids"]


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


@pytest.mark.parametrize("name", [*TUTORIALS, *GUIDES])
def test_every_command_of_a_page_works_and_prints_what_the_page_says(reader, name):
    reader.follow(name)
    assert reader.said


def test_each_tutorial_saves_files_and_types_commands_for_each_step():
    for name in TUTORIALS:
        found = list(blocks(name))
        assert {language for _, language, _ in found} >= {"console"}
        assert any(file for file, _, _ in found), name
