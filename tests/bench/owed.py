"""Whether an app hears of the newest generation though lessee is killed; run as a program, it is the app."""

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
from rig import Figure, Program, Rig, rig, tell

from lessee.core.errors import LesseeError
from lessee.status.server import ask

TRIES = 200
REACH = 0.05
"""Seconds after a write in which a kill comes: reading, publishing and telling are done by then."""
TELLING = 0.0005
"""Seconds after the new generation begins to be written, or is shown, in which two of three kills come."""
CAP = 20.0
"""Seconds after which what is not settled never will be."""
DELIVERY = 1.0
"""Seconds in which the app has read what it was told of: a busy machine may let it wait."""
SECRET, FILE = "owed/one", "one.env"
_CHANCE = SystemRandom()


class Round(NamedTuple):
    """A kill, and what came of it."""

    met: str
    """How far the agent had come when it was killed."""
    told: int
    """How often the app has read the newest value."""
    after: float | None
    """Seconds from the agent's start until the app had read it. None: it had before, or never did."""


def measure(tries: int = TRIES) -> Iterator[Figure]:
    with rig() as bench:
        for proves in (False, True):
            rounds = _rounds(bench, tries // 2, proves=proves)
            met = Counter(one.met for one in rounds)
            name = f"{len(rounds)} kills around publishing and telling{', with `ready`' if proves else ''}"
            never = sum(one.told == 0 for one in rounds)
            yield Figure(f"{name}: the app was not told of the newest", "", str(never), "0", never == 0)
            kinds = ", ".join(f"{count} {kind}" for kind, count in met.most_common())
            yield Figure("… what they met", "", kinds)
            again = sum(one.told > 1 for one in rounds)
            yield Figure("… told more than once", "", str(again))
            longest = max((one.after for one in rounds if one.after is not None), default=0.0)
            yield Figure("… the agent starts again → the app was told; longest", "", f"{longest:.2f} s")


def _rounds(bench: Rig, count: int, *, proves: bool) -> list[Round]:
    bench.write(SECRET, "first")
    program = _lessee(bench, proves=proves)
    program.start()
    try:
        program.wait_for_files()
        with _app(bench, program) as said:
            _settle(program, "first", proves=proves)
            rounds = []
            for number in range(count):
                rounds.append(_round(bench, program, said, f"value-{number}", proves=proves))
                if rounds[-1].told == 0 or number % 20 == 19:
                    tell(f"{number + 1} kills, the last: {rounds[-1]}")
            return rounds
    finally:
        program.kill()


def _round(bench: Rig, program: Program, said: Path, value: str, *, proves: bool) -> Round:
    before = _live(program)
    bench.write(SECRET, value)
    ask(program.socket, "POST", "/refresh", [])
    _kill(program, before)
    if _reads(said, value):
        met = "after it was told"
    elif _live(program) != before:
        met = "published and not told"
    else:
        met = "not published"
    program.start()
    started_at = time.monotonic()
    settled = _settle(program, value, proves=proves)
    seconds_until(lambda: _reads(said, value), time.monotonic(), DELIVERY)
    reads = _reads(said, value)
    after = reads[0] - started_at if reads and reads[0] > started_at else None
    # It is the last that counts: had it been told of the old one since, it would go on with that.
    newest = children.starts(said)[-1].value == value
    return Round(met, len(reads) if newest and settled else 0, after)


def _kill(program: Program, before: str) -> None:
    """At any moment, or just after a generation begins to be written, or just after it is shown."""
    there = set(program.directory.iterdir())
    begun = _CHANCE.choice(
        (None, lambda: not there.issuperset(program.directory.iterdir()), lambda: _live(program) != before)
    )
    if begun is None:
        time.sleep(_CHANCE.uniform(0.0, REACH))
    else:
        deadline = time.monotonic() + REACH
        while not begun() and time.monotonic() < deadline:
            pass  # a sleep would miss it
        time.sleep(_CHANCE.uniform(0.0, TELLING))
    program.kill()


def _settle(program: Program, value: str, *, proves: bool) -> bool:
    """Wait until lessee says that there is nothing more to do about this value; whether it came to say so."""

    def settled() -> bool:
        with suppress(LesseeError, KeyError):
            app = ask(program.socket, "GET", "/status.json")["apps"]["files"]
            of_this = _live(program).startswith(f"..lessee-{app['generation']}-") and _value(program) == value
            return of_this and app["state"] == ("confirmed" if proves else "notified") and not app["notify"]["owed"]
        return False

    return seconds_until(settled, time.monotonic(), CAP) is not None


def _live(program: Program) -> str:
    return (program.directory / "..data").readlink().name


def _value(program: Program) -> str:
    return _read(program.directory / FILE)


def _reads(said: Path, value: str) -> list[float]:
    """When the app read it."""
    return [start.at for start in children.starts(said) if start.value == value]


def _lessee(bench: Rig, *, proves: bool) -> Program:
    program = bench.lessee({FILE: SECRET}, notify={"pid_file": str(bench.folder / "app.pid")})
    if proves:
        config = json.loads(program.config.read_text())
        config["apps"]["files"]["ready"] = {"file": str(bench.folder / "said"), "after": "50ms", "within": "5s"}
        program.config.write_text(json.dumps(config))
    return program


@contextmanager
def _app(bench: Rig, program: Program) -> Iterator[Path]:
    """The app; the file in which it says what it reads."""
    pid_file, said = bench.folder / "app.pid", bench.folder / "said"
    said.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, program.directory / FILE, said])
    try:
        program.until(lambda: children.starts(said), "the app")
        pid_file.write_text(f"{process.pid}\n")
        yield said
    finally:
        process.kill()
        process.wait()
        pid_file.unlink()


def _read(file: Path) -> str:
    return file.read_text().partition("=")[2].strip().strip("'\"")


def _serve(file: Path, said: Path) -> NoReturn:
    def read(*_: Any) -> None:
        at, value = time.monotonic(), _read(file)
        with said.open("a") as log:
            log.write(f"{at} {value}\n")

    signal.signal(signal.SIGHUP, read)
    read()
    children.hear_signals()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"kills ({TRIES})")
    parser.add_argument("app", nargs="*", type=Path)
    chosen = parser.parse_args()
    if chosen.app:
        _serve(*chosen.app)
    for figure in measure(chosen.tries):
        sys.stdout.write(f"{figure.name}: {figure.lessee}\n")
