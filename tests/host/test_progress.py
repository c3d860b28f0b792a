"""The progress of long work: one line on a terminal, few lines elsewhere, and none where it is not wanted."""

import inspect
import io
import itertools
import os
import re
import sys
import threading

import pytest

from lessee.host.progress import SILENT, Progress, _Shown, progress
from support.programs.sidecar import eventually


class Stream(io.StringIO):
    """What was written to stderr; `terminal`: whether it is one."""

    def __init__(self, *, terminal=False):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def fileno(self):
        raise OSError


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", made := Stream())
    monkeypatch.setattr(sys, "stderr", made)
    return made


def start(stream, **settings):
    return _Shown(stream, delay=0.0, **settings)


def test_without_a_terminal_each_line_stays(stream):
    shown = start(stream)
    shown.phase("saving secrets", 100)
    shown.advance(40)
    eventually(lambda: "\n" in stream.getvalue(), "a line")
    shown.close()
    assert re.fullmatch(r"saving secrets: \d+ of 100 \(\d+%\).*\n", stream.getvalue())
    assert "\r" not in stream.getvalue()


def test_on_a_terminal_the_line_is_written_over_and_disappears(stream):
    stream.terminal = True
    shown = start(stream)
    shown.phase("saving secrets", 100)
    eventually(lambda: "saving" in stream.getvalue(), "a line")
    shown.advance(100)
    eventually(lambda: "100 of 100" in stream.getvalue(), "the next line")
    shown.close()
    text = stream.getvalue()
    assert "\n" not in text
    assert text.endswith("\r")
    *_, last, blank, rest = text.split("\r")
    assert last.rstrip().startswith("saving secrets: ")
    assert (blank.strip(), rest) == ("", "")
    assert len(blank) >= len(last.rstrip())


def test_a_line_is_narrower_than_the_terminal_and_leaves_nothing_of_a_longer_one(stream, monkeypatch):
    stream.terminal = True
    monkeypatch.setattr(stream, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 5)))
    shown = start(stream)
    shown.phase("a phase with quite a long name", 100)
    eventually(lambda: "a phase" in stream.getvalue(), "a line")
    shown.phase("short")
    eventually(lambda: "short" in stream.getvalue(), "the next line")
    shown.close()
    assert {len(part) for part in stream.getvalue().split("\r")} <= {0, *range(5, 20)}
    _, long, *after, _ = stream.getvalue().split("\r")
    assert long == "a phase with quite "
    assert {len(part) for part in after} <= {17, 19}  # As long as the line before, or the new one.


def test_what_a_command_prints_does_not_mix_with_the_line(stream, capsys):
    stream.terminal = True
    shown = start(stream)
    shown.phase("copying secrets", 2)
    eventually(lambda: "copying" in stream.getvalue(), "a line")
    shown.print("+ secret/one")
    assert stream.getvalue().split("\r")[-1] == "" or "copying" in stream.getvalue().split("\r")[-1]
    shown.close()
    assert capsys.readouterr().out == "+ secret/one\n"


def test_a_phase_that_is_done_is_not_printed_while_a_person_is_asked(stream):
    stream.terminal = True
    shown = start(stream)
    shown.phase("reading policies")
    eventually(lambda: "reading" in stream.getvalue(), "a line")
    shown.done()
    before, looks = stream.getvalue(), []
    assert before.endswith("\r")

    class Counting:
        def __enter__(self):
            looks.append(1)

        def __exit__(self, *_):
            pass

    shown._counting = Counting()
    eventually(lambda: len(looks) > 2, "further looks")
    assert stream.getvalue() == before
    shown.close()


def test_items_are_counted_when_the_next_one_is_asked_for():
    class Counted(Progress):
        def __init__(self):
            self.calls = []

        def phase(self, what, total=None, *, unit=""):
            self.calls.append((what, total, unit))

        def advance(self, count=1):
            self.calls.append(count)

        def done(self):
            self.calls.append("done")

    counted = Counted()
    assert list(counted.track("ab", "letters", 2)) == ["a", "b"]
    assert list(counted.track([b"abc"], "writing", size=len)) == [b"abc"]
    assert counted.calls == [("letters", 2, ""), 1, 1, "done", ("writing", None, "bytes"), 3, "done"]
    assert list(itertools.islice(SILENT.track(itertools.count(), "numbers"), 3)) == [0, 1, 2]


def test_steps_of_many_threads_are_all_counted(stream):
    shown = start(stream)
    shown.phase("checking", 40_000)
    threads = [threading.Thread(target=lambda: [shown.advance() for _ in range(10_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown._done == 40_000
    shown.reach(10)
    assert shown._done == 40_000
    shown.reach(40_001)
    assert shown._done == 40_001
    shown.close()


def test_quiet_and_a_closed_stream_have_none(stream, monkeypatch):
    with progress(quiet=True) as shown:
        assert shown is SILENT
    for name in ("stderr", "__stderr__"):
        with monkeypatch.context() as patched:
            patched.setattr(sys, name, None)
            with progress(quiet=False) as shown:
                assert shown is SILENT
    assert stream.getvalue() == ""


def test_work_of_less_than_two_seconds_prints_nothing(stream):
    assert inspect.signature(_Shown).parameters["delay"].default == 2.0
    threads = threading.active_count()
    shown = _Shown(stream, delay=86400.0)
    assert list(shown.track(range(1000), "numbers", 1000)) == list(range(1000))
    shown.close()
    assert stream.getvalue() == ""
    assert threading.active_count() == threads


def test_a_stream_that_cannot_be_written_does_not_stop_the_work(stream, monkeypatch):
    failed = threading.Event()

    def write(_):
        failed.set()
        raise BrokenPipeError

    monkeypatch.setattr(stream, "write", write)
    shown = start(stream)
    shown.phase("saving")
    assert failed.wait(60)
    shown.advance()
    shown.close()
