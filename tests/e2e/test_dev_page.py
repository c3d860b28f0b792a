"""Runs every command of docs/how-to/dev.md in order, as its reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao, find_bao
from support.paths import ROOT
from support.programs.operator_shell import Operator
from support.servers.dev_server import Dev

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/how-to/dev.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path, memory):
    """A shell in a folder with the page's files; `lessee dev` has a port of the test's own, and $REAL is a server."""
    config, *_ = [text for word, text in BLOCKS if word == "yaml"]
    [template] = [text for word, text in BLOCKS if word == "jinja"]
    (tmp_path / "lessee.yaml").write_text(config)
    (tmp_path / "app.env.j2").write_text(template)
    (tmp_path / "real-token").write_text(ROOT_TOKEN)
    with Dev(tmp_path) as dev, OpenBao(tmp_path) as real:
        dev.folder = dev.home / "state/lessee/dev"
        dev.folder.mkdir(parents=True)
        # As after a reset: the port is remembered, because another server of this machine may have the default one.
        (dev.folder / "lessee-dev.lock").touch(0o600)
        (dev.folder / "port").write_text(f"{dev.port}\n")
        programs = [Path(sys.executable).parent, Path(find_bao()).parent]
        environ = dev.environ | {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "XDG_STATE_HOME": str(dev.home / "state"),
            "XDG_RUNTIME_DIR": str(memory),
            "REAL": real.address,
        }
        yield Operator(tmp_path, environ)


def test_every_command_of_the_page_works_in_order(reader):
    commands = [text for word, text in BLOCKS if word == "console"]
    assert len(commands) >= 5
    for text in commands:
        reader.type(text)
    assert "plan: 0 changes" in reader.said
    assert ROOT_TOKEN not in reader.said


def test_each_option_of_the_command_is_on_the_page():
    help_text = subprocess.run(
        [sys.executable, "-m", "lessee", "dev", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    page = (ROOT / "docs/how-to/dev.md").read_text()
    options = set(re.findall(r"--[a-z-]+", help_text)) - {"--help", "--quiet"}
    assert [option for option in sorted(options) if option not in page] == []
