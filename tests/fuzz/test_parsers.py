"""No input makes a parser of foreign bytes raise another error than its own, take a second, or 256 MiB.

Each parser runs in a process of its own, whose peak of memory is measured. `make fuzz` looks longer.
"""

import os
import sys

import pytest

from fuzz.parsers import PARSERS
from fuzz.run import CORPUS, Hang, main
from support.programs.forks import run_main


@pytest.mark.thorough(each=8)
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_refuses_what_it_cannot_read(name, tmp_path):
    said = run_main(main, "run.py", name, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_each_parser_has_a_corpus_and_each_corpus_a_parser():
    assert {folder.name for folder in CORPUS.iterdir()} == set(PARSERS)
    assert all(any(folder.iterdir()) for folder in CORPUS.iterdir())


def test_a_run_finds_an_error_and_a_hang(monkeypatch, capsys):
    """What the runs above do not find, they do not miss."""

    def broken(data):
        if data == b"error":
            raise KeyError
        if data == b"slow":
            raise Hang

    monkeypatch.setitem(PARSERS, "timestamp", PARSERS["timestamp"]._replace(parse=broken))
    monkeypatch.setattr("fuzz.run.seeds", lambda _: [b"error", b"slow"])
    monkeypatch.setattr(sys, "argv", ["run.py", "--runs", "1", "timestamp"])
    assert main() == 1
    said = capsys.readouterr().out
    assert "timestamp: it raises KeyError" in said
    assert "timestamp: it does not end" in said
