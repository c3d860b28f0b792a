"""How long each part of a test run takes, by folder and phase, and how much CPU time; `--time-table` prints it."""

import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import starmap
from pathlib import PurePath

import pytest

_SLOWEST = 12
_ATTRIBUTE = "lessee_seconds"


@dataclass
class _Seconds:
    """What one test, file or folder took; a phase's seconds are in no other."""

    servers: float = 0.0
    setup: float = 0.0
    waits: float = 0.0
    work: float = 0.0
    teardown: float = 0.0
    cpu: float = 0.0
    """Of the tests' process, and of the programs that it has waited for. It is in the phases as well."""
    tests: int = 0

    @property
    def total(self):
        return self.servers + self.setup + self.waits + self.work + self.teardown

    def __iadd__(self, other):
        for name in self.__dict__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Recorder:
    """Measures in the process that runs the tests; the reports carry its figures to the one that prints."""

    def __init__(self):
        self._servers = self._waits = 0.0
        self._depth = 0
        self._cpu = _cpu_time()

    def start(self):
        """Count what the main thread sleeps: all polls of the tests sleep."""
        sleep, main = time.sleep, threading.main_thread()

        def counted(seconds):
            if threading.current_thread() is not main:
                return sleep(seconds)
            began = time.perf_counter()
            try:
                return sleep(seconds)
            finally:
                self._waits += time.perf_counter() - began

        time.sleep = counted

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        # Fixtures that tests share start servers, or build what many need. One may ask for another.
        if fixturedef.scope == "function":
            return (yield)
        self._depth += 1
        began, waits = time.perf_counter(), self._waits
        try:
            return (yield)
        finally:
            self._depth -= 1
            if not self._depth:
                self._servers += time.perf_counter() - began
                self._waits = waits

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call):
        report = yield
        now, before = _cpu_time(), self._cpu
        self._cpu = now
        seconds = _Seconds(servers=self._servers, waits=self._waits, cpu=now - before)
        rest = max(call.duration - seconds.servers - seconds.waits, 0.0)
        setattr(seconds, {"setup": "setup", "call": "work", "teardown": "teardown"}[call.when], rest)
        seconds.tests = call.when == "call"
        setattr(report, _ATTRIBUTE, vars(seconds))
        self._servers = self._waits = 0.0
        return report


class Printer:
    """Adds up the reports, and prints tables of folders and of the slowest files."""

    def __init__(self):
        self._files = defaultdict(_Seconds)
        self._began = time.perf_counter()
        self._collected = None

    def pytest_runtest_logreport(self, report):
        if self._collected is None:
            self._collected = time.perf_counter()
        if seconds := getattr(report, _ATTRIBUTE, None):
            self._files[report.nodeid.partition("::")[0]] += _Seconds(**seconds)

    def pytest_terminal_summary(self, terminalreporter):
        if not self._files or self._collected is None:
            return
        terminalreporter.section("seconds of all workers")
        folders = defaultdict(_Seconds)
        for file, seconds in self._files.items():
            folders[_folder(file)] += seconds
        total = _Seconds()
        for seconds in folders.values():
            total += seconds
        terminalreporter.write_line(f"start and collection of the run: {self._collected - self._began:.0f} s")
        for title, rows in (("folder", folders), (f"slowest {_SLOWEST} files", self._files)):
            terminalreporter.write_line("")
            for line in table(title, rows, total, None if rows is folders else _SLOWEST):
                terminalreporter.write_line(line)


def table(title, rows, total, limit=None):
    """The rows as Markdown, the longest first, and the total last."""
    names = ("tests", "servers", "setup", "waits", "work", "teardown", "total", "CPU")
    yield f"| {title} | " + " | ".join(names) + " |"
    yield "|---" + "|---:" * len(names) + "|"
    ordered = sorted(rows.items(), key=lambda row: -row[1].total)[:limit]
    yield from starmap(_row, [*ordered, *([] if limit else [("all", total)])])


def _row(name, seconds):
    phases = (seconds.servers, seconds.setup, seconds.waits, seconds.work, seconds.teardown)
    figures = " | ".join(f"{figure:.0f}" for figure in (*phases, seconds.total, seconds.cpu))
    return f"| {name} | {seconds.tests} | {figures} |"


def _cpu_time():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _folder(file):
    parts = PurePath(file).parts[1:-1]
    return "/".join(parts[:2]) or "tests"
