"""Kills lessee around notifications, and checks that the app gets the newest; run as a program, it is the app."""

import json
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any, NamedTuple, NoReturn

import children
from database import seconds_until
from figures import Figure
from rig import Program, Rig, report, rig

from lessee.core.errors import LesseeError
from lessee.status.client import request_status

TRIES = 200
LATEST = 0.05
"""The latest kill, in seconds after a write: by then the agent has read, published and notified."""
AFTER_RENAME = 0.0005
"""The latest of two of three kills, in seconds after the agent begins to write a generation, or publishes it."""
CAP = 20.0
"""Seconds after which a round that is not finished has failed."""
DELIVERY = 1.0
"""Seconds in which a notified app has read its file, even on a busy machine."""
SECRET, FILE = "pending/one", "one.env"
_RANDOM = SystemRandom()


class Round(NamedTuple):
    """A kill and its consequences."""

    step: str
    """The last step that the agent had finished when it was killed."""
    reads: int
    """How often the app has read the newest value, if that was the last value it read, else 0."""
    after: float | None
    """Seconds from the agent's restart until the app read the value. None: it had read it before, or never did."""


def measure(tries: int = TRIES) -> Iterator[Figure]:
    with rig() as bench:
        for with_readiness in (False, True):
            rounds = _rounds(bench, tries // 2, with_readiness=with_readiness)
            steps = Counter(one.step for one in rounds)
            name = (
                f"{len(rounds)} kills around publication and notification{', with `ready`' if with_readiness else ''}"
            )
            never = sum(one.reads == 0 for one in rounds)
            yield Figure(f"{name}: app not notified of the newest value", "", str(never), "0", never == 0)
            kinds = ", ".join(f"{count} {kind}" for kind, count in steps.most_common())
            yield Figure("… at which step", "", kinds)
            again = sum(one.reads > 1 for one in rounds)
            yield Figure("… notified more than once", "", str(again))
            longest = max((one.after for one in rounds if one.after is not None), default=0.0)
            yield Figure("… agent restarted → app notified, longest", "", f"{longest:.2f} s")


def _rounds(bench: Rig, count: int, *, with_readiness: bool) -> list[Round]:
    bench.write(SECRET, "first")
    program = _lessee(bench, with_readiness=with_readiness)
    program.start()
    try:
        program.wait_for_files()
        with _app(bench, program) as log:
            _settle(program, "first", with_readiness=with_readiness)
            rounds = []
            for number in range(count):
                rounds.append(_round(bench, program, log, f"value-{number}", with_readiness=with_readiness))
                if rounds[-1].reads == 0 or number % 20 == 19:
                    report(f"{number + 1} kills, the last: {rounds[-1]}")
            return rounds
    finally:
        program.kill()


def _round(bench: Rig, program: Program, log: Path, value: str, *, with_readiness: bool) -> Round:
    before = _live(program)
    bench.write(SECRET, value)
    request_status(program.socket, "POST", "/refresh", [])
    _kill(program, before)
    if _reads(log, value):
        step = "after the notification"
    elif _live(program) != before:
        step = "published, not notified"
    else:
        step = "not published"
    program.start()
    started_at = time.monotonic()
    settled = _settle(program, value, with_readiness=with_readiness)
    seconds_until(lambda: _reads(log, value), time.monotonic(), DELIVERY)
    reads = _reads(log, value)
    after = reads[0] - started_at if reads and reads[0] > started_at else None
    # The last value counts: an app that was notified of an old value afterwards would continue with that one.
    newest = children.starts(log)[-1].value == value
    return Round(step, len(reads) if newest and settled else 0, after)


def _kill(program: Program, before: str) -> None:
    """Kill it at a random moment, or just after it begins to write a generation, or just after it publishes one."""
    there = set(program.directory.iterdir())
    begun = _RANDOM.choice(
        (None, lambda: not there.issuperset(program.directory.iterdir()), lambda: _live(program) != before)
    )
    if begun is None:
        time.sleep(_RANDOM.uniform(0.0, LATEST))
    else:
        deadline = time.monotonic() + LATEST
        while not begun() and time.monotonic() < deadline:
            pass  # a sleep would miss the moment
        time.sleep(_RANDOM.uniform(0.0, AFTER_RENAME))
    program.kill()


def _settle(program: Program, value: str, *, with_readiness: bool) -> bool:
    """Wait until the status reports this value as published and notified. Returns whether it did within CAP."""

    def settled() -> bool:
        with suppress(LesseeError, KeyError):
            app = request_status(program.socket, "GET", "/status.json")["apps"]["files"]
            is_published = _live(program).startswith(f"..lessee-{app['generation']}-") and _value(program) == value
            return (
                is_published
                and app["state"] == ("ready" if with_readiness else "notified")
                and not app["notify"]["pending"]
            )
        return False

    return seconds_until(settled, time.monotonic(), CAP) is not None


def _live(program: Program) -> str:
    return (program.directory / "..data").readlink().name


def _value(program: Program) -> str:
    return _read(program.directory / FILE)


def _reads(log: Path, value: str) -> list[float]:
    """When the app read this value."""
    return [start.at for start in children.starts(log) if start.value == value]


def _lessee(bench: Rig, *, with_readiness: bool) -> Program:
    program = bench.lessee({FILE: SECRET}, notify={"pid_file": str(bench.folder / "app.pid")})
    if with_readiness:
        config = json.loads(program.config.read_text())
        config["apps"]["files"]["ready"] = {
            "file": str(bench.folder / "reads"),
            "initial_delay": "50ms",
            "timeout": "5s",
        }
        program.config.write_text(json.dumps(config))
    return program


@contextmanager
def _app(bench: Rig, program: Program) -> Iterator[Path]:
    """The app, and the file to which it writes what it reads."""
    pid_file, log = bench.folder / "app.pid", bench.folder / "reads"
    log.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, program.directory / FILE, log])
    try:
        program.until(lambda: children.starts(log), "the app")
        pid_file.write_text(f"{process.pid}\n")
        yield log
    finally:
        process.kill()
        process.wait()
        pid_file.unlink()


def _read(file: Path) -> str:
    return file.read_text().partition("=")[2].strip().strip("'\"")


def _serve(file: Path, log: Path) -> NoReturn:
    def read(*_: Any) -> None:
        at, value = time.monotonic(), _read(file)
        with log.open("a") as lines:
            lines.write(f"{at} {value}\n")

    signal.signal(signal.SIGHUP, read)
    read()
    children.wait_for_signals()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"kills ({TRIES})")
    parser.add_argument("app", nargs="*", type=Path)
    chosen = parser.parse_args()
    if chosen.app:
        _serve(*chosen.app)
    for figure in measure(chosen.tries):
        sys.stdout.write(f"{figure.name}: {figure.lessee}\n")
