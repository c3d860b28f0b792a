"""A real agent at a real terminal: the level has a color, and nothing else acts on the terminal."""

import os
import sys

import pytest
import yaml

from support.programs.terminal import Terminal


@pytest.fixture
def start(tmp_path, memory):
    """Starts `lessee run` at a terminal, without a server."""
    config = {
        "environment": "testing",
        "vault": {"address": "http://127.0.0.1:1", "auth": {"method": "token", "token_file": "token"}},
        "state_dir": str(memory / "state"),
        "apps": {"web": {"directory": str(memory / "web"), "files": [{"template": "a.env.j2"}]}},
    }
    (tmp_path / "lessee.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "a.env.j2").write_text('A={{ secret("a").b }}\n')
    (tmp_path / "token").write_text("none")
    started = []

    def begin(**environ):
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm"} | environ
        started.append(Terminal(sys.executable, "-m", "lessee", "run", cwd=tmp_path, env=environ))
        return started[-1]

    yield begin
    for terminal in started:
        terminal.close()


def test_the_level_of_a_line_has_a_color(start):
    terminal = start()
    assert terminal.until("agent starting").endswith("\x1b[36minfo   \x1b[0m ")
    before = terminal.until("vault unavailable")
    assert before.endswith("\x1b[33mwarning\x1b[0m ")
    assert "\\u001b" not in before


def test_no_color_has_none(start):
    terminal = start(NO_COLOR="1")
    assert terminal.until("agent starting").endswith(" info    ")
    assert "\x1b" not in terminal.until("vault unavailable")
