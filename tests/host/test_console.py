"""A text from outside does not control the terminal on which lessee shows it."""

import os
import subprocess
import sys

import pytest

from support.programs.terminal import Terminal

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202etxt.exe"
SPELLED = r"\u001b]0;owned\u0007\u009b2J\u202etxt.exe"
PIPED = """
import sys
from lessee.host.console import protect_terminal
protect_terminal()
print(sys.argv[1])
print(sys.argv[1], file=sys.stderr)
"""
PRINTS = """
import sys
from lessee.host.console import escape_unknown, print_line, protect_terminal
protect_terminal()
escape_unknown()
text = sys.argv[1]
print(text, "and", text)
print_line(text + "\\n\\tmore")
print(text, file=sys.stderr)
sys.stdout.buffer.write(b"raw \\x1b[0m.\\n")
sys.stdout.flush()
print("end")
"""


def test_an_error_with_a_hostile_name_does_not_control_the_terminal(tmp_path):
    path = tmp_path / f"{HOSTILE.replace('/', '')}.yaml"
    command = [sys.executable, "-m", "lessee", "check", "--config", str(path)]
    terminal = Terminal(*command, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUTF8": "1"})
    assert SPELLED in terminal.until(".yaml") + ".yaml"
    terminal.end()
    piped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert SPELLED in piped.stderr
    assert "\x1b" not in piped.stderr


def test_whatever_is_printed_to_a_terminal_is_spelled_out_and_raw_bytes_are_not():
    terminal = Terminal(sys.executable, "-c", PRINTS, HOSTILE, env={"PYTHONUTF8": "1"})
    shown = terminal.until("end")
    lines = shown.replace("\r", "").replace("        ", "\t").split("\n")
    assert lines == [f"{SPELLED} and {SPELLED}", SPELLED, "\tmore", SPELLED, "raw \x1b[0m.", ""]
    terminal.end()


def test_standard_output_to_a_pipe_is_unchanged_and_stderr_is_spelled_out():
    done = subprocess.run([sys.executable, "-c", PIPED, HOSTILE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{HOSTILE}\n", f"{SPELLED}\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_stays_closed(closed):
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", PIPED, "x"], check=False)
    assert done.returncode == 0
