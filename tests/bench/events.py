"""With events: from the answer to a write in KV until the new file is there, and what an idle agent asks."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from statistics import median
from typing import Any

from listener import p99
from rig import LESSEE, PATIENCE, Figure, Program, Rig, environ, resident, rig, tell

from lessee.status.server import ask
from support.servers.redis_server import Redis

CHANGES = 200
MEDIAN, P99 = 15.0, 100.0
"""Milliseconds."""
SECRETS = 100
MINUTES = 3.0
IDLE = 5.0
KILLS = 5
REFRESH = 1.0
_CHANCE = SystemRandom()


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench, Redis(bench.folder) as cache:
        url = f"redis://:{cache.password}@127.0.0.1:{cache.port}/0"
        with _Monitor(bench, url) as monitor:
            yield from _latency(bench, url)
            yield from _gone(bench, url, "Redis killed", cache.stop, cache.start)
            yield from _gone(bench, url, "monitor killed", monitor.kill, monitor.start)
            yield from _idle(bench, url)


def _latency(bench: Rig, url: str) -> Iterator[Figure]:
    with _agent(bench, url, "latency") as (_, file):
        took = sorted(_changes(bench, file, "latency/one", CHANGES))
    name = f"KV write answered → new file published, with events, {CHANGES} changes"
    for what, take, limit in (("median", median, MEDIAN), ("p99", p99, P99)):
        mine = take(took) * 1000
        yield Figure(f"{name}: {what}", "", f"{mine:.1f} ms", f"≤ {limit:g} ms", mine <= limit)


def _gone(bench: Rig, url: str, what: str, kill: Callable[[], None], start: Callable[[], None]) -> Iterator[Figure]:
    name = what.partition(" ")[0].lower()
    with _agent(bench, url, name) as (program, file):
        away, back = [], []
        for number in range(KILLS):
            kill()
            away.append(_change(bench, file, f"{name}/one", f"away-{number}"))
            start()
            program.until(lambda: _is_live(program), "events")
            time.sleep(2 * REFRESH)  # by then it polls no more
            back.append(_change(bench, file, f"{name}/one", f"back-{number}"))
            tell(f"{what}: {away[-1]:.2f} s, back: {back[-1] * 1000:.1f} ms")
    worst = max(away)
    said = f"{what}, a write in the same moment → file, refresh {REFRESH:g} s, worst of {KILLS}"
    yield Figure(said, "", f"{worst:.2f} s", f"≤ {REFRESH:g} s", worst <= REFRESH)
    yield Figure(
        f"{what} and back → file, median", "", f"{median(back) * 1000:.1f} ms", "events again", max(back) < 0.5
    )


def _idle(bench: Rig, url: str) -> Iterator[Figure]:
    files = bench.secrets("idle", SECRETS)
    program = bench.lessee_for({"files": (_templates(files), None)}, events={"redis": url})
    with program:
        program.wait_for_files()
        program.until(lambda: _is_live(program), "events")
        time.sleep(2 * REFRESH)
        before = bench.asked()
        time.sleep(MINUTES * 60)
        a_minute = (bench.asked() - before) / MINUTES
        rss, _ = resident(program.process.pid)
    yield Figure(f"RSS of an agent of {SECRETS} secrets, with events", "", f"{rss:.1f} MiB")
    yield Figure(
        f"{SECRETS} secrets of one folder, idle, with events: requests a minute",
        "",
        f"{a_minute:.1f}",
        f"≤ {IDLE:g}",
        a_minute <= IDLE,
    )


def _changes(bench: Rig, file: Path, secret: str, count: int) -> Iterator[float]:
    for number in range(count):
        time.sleep(_CHANCE.uniform(0.1, 0.5))
        yield _change(bench, file, secret, f"v{number}")


def _change(bench: Rig, file: Path, secret: str, value: str) -> float:
    """Seconds; less than none where it was there before the answer was."""
    bench.write(secret, value)
    answered = time.monotonic()
    wanted = f"VALUE='{value}'\n".encode()
    while file.read_bytes() != wanted:
        if time.monotonic() - answered > PATIENCE:
            raise RuntimeError(f"{value} did not come")
        time.sleep(0.0005)
    return time.monotonic() - answered


@contextmanager
def _agent(bench: Rig, url: str, name: str) -> Iterator[tuple[Program, Path]]:
    """One that hears, and has settled; and its file."""
    bench.write(f"{name}/one", "first")
    program = bench.lessee_for({"files": (_templates({"one.env": f"{name}/one"}), None)}, events={"redis": url})
    with program:
        program.wait_for_files()
        program.until(lambda: _is_live(program), "events")
        time.sleep(2 * REFRESH)
        yield program, program.directory / "one.env"


def _templates(files: Any) -> dict[str, str]:
    return {name: f'VALUE={{{{ secret("{secret}").value }}}}\n' for name, secret in files.items()}


def _is_live(program: Program) -> bool:
    try:
        return bool(ask(program.socket, "GET", "/status.json")["events"]["live"])
    except Exception:  # noqa: BLE001  # It is not up yet.
        return False


class _Monitor:
    """`lessee monitor` of the rig's audit log."""

    def __init__(self, bench: Rig, url: str) -> None:
        self._folder = bench.folder / "monitor"
        self._folder.mkdir()
        said = {"audit": {"file": str(bench.audit)}, "publish": url, "state": str(self._folder / "state")}
        config = {"state": str(self._folder / "run"), "monitor": said}
        (self._folder / "lessee.yaml").write_text(json.dumps(config))
        self._command: Sequence[str | Path] = [*LESSEE, "monitor", "--config", self._folder / "lessee.yaml"]

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environ(self._folder))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
