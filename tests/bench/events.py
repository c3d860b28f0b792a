"""Measures, with events, the time from the response to a KV write until the new file, and an idle agent's requests."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from statistics import median
from typing import Any

from figures import Figure
from listener import p99
from rig import LESSEE, TIMEOUT, Program, Rig, environ, report, resident, rig

from lessee.status.client import request_status
from support.servers.redis_server import Redis

CHANGES = 200
MEDIAN, P99 = 15.0, 100.0
"""Milliseconds."""
SECRETS = 100
MINUTES = 3.0
IDLE = 5.0
KILLS = 5
REFRESH = 1.0
_NOTE = "The peer has no events; it renders static secrets each 5 minutes by default."
_RANDOM = SystemRandom()


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench, Redis(bench.folder) as cache:
        url = f"redis://:{cache.password}@127.0.0.1:{cache.port}/0"
        with _Monitor(bench, url) as monitor:
            yield from _latency(bench, url)
            yield from _outage(bench, url, "Redis killed", cache.stop, cache.start)
            yield from _outage(bench, url, "monitor killed", monitor.kill, monitor.start)
            yield from _idle(bench, url)


def _latency(bench: Rig, url: str) -> Iterator[Figure]:
    with _agent(bench, url, "latency") as (_, file):
        took = sorted(_changes(bench, file, "latency/one", CHANGES))
    name = f"KV write → new file published, with events, {CHANGES} changes"
    for what, take, limit in (("median", median, MEDIAN), ("p99", p99, P99)):
        mine = take(took) * 1000
        yield Figure(f"{name}: {what}", "", f"{mine:.1f} ms", f"≤ {limit:g} ms", mine <= limit, _NOTE)


def _outage(bench: Rig, url: str, what: str, kill: Callable[[], None], start: Callable[[], None]) -> Iterator[Figure]:
    name = what.partition(" ")[0].lower()
    with _agent(bench, url, name) as (program, file):
        during, after = [], []
        for number in range(KILLS):
            kill()
            during.append(_change(bench, file, f"{name}/one", f"during-{number}"))
            start()
            program.until(lambda: _is_live(program), "events")
            time.sleep(2 * REFRESH)  # by then the agent has stopped polling
            after.append(_change(bench, file, f"{name}/one", f"after-{number}"))
            report(f"{what}: {during[-1]:.2f} s, after its restart: {after[-1] * 1000:.1f} ms")
    longest = max(during)
    name = f"{what} at the moment of a write → file, `refresh_interval: {REFRESH:g}s`, longest of {KILLS}"
    yield Figure(name, "", f"{longest:.2f} s", f"≤ {REFRESH:g} s", longest <= REFRESH)
    yield Figure(
        f"{what} and restarted → file, median", "", f"{median(after) * 1000:.1f} ms", "by an event", max(after) < 0.5
    )


def _idle(bench: Rig, url: str) -> Iterator[Figure]:
    files = bench.secrets("idle", SECRETS)
    program = bench.lessee_for({"files": (_templates(files), None)}, events={"redis": url})
    with program:
        program.wait_for_files()
        program.until(lambda: _is_live(program), "events")
        time.sleep(2 * REFRESH)
        before = bench.count_requests()
        time.sleep(MINUTES * 60)
        a_minute = (bench.count_requests() - before) / MINUTES
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
        time.sleep(_RANDOM.uniform(0.1, 0.5))
        yield _change(bench, file, secret, f"v{number}")


def _change(bench: Rig, file: Path, secret: str, value: str) -> float:
    """Seconds from the response until the file has the value; 0 if it had it before."""
    bench.write(secret, value)
    answered = time.monotonic()
    wanted = f"VALUE='{value}'\n".encode()
    while file.read_bytes() != wanted:
        if time.monotonic() - answered > TIMEOUT:
            raise RuntimeError(f"the file does not get the value {value}")
        time.sleep(0.0005)
    return time.monotonic() - answered


@contextmanager
def _agent(bench: Rig, url: str, name: str) -> Iterator[tuple[Program, Path]]:
    """An agent whose event source is connected, and its file."""
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
        return bool(request_status(program.socket, "GET", "/status.json")["events"]["live"])
    except Exception:  # noqa: BLE001  # It does not serve its status yet.
        return False


class _Monitor:
    """`lessee monitor`, which reads the rig's audit log."""

    def __init__(self, bench: Rig, url: str) -> None:
        self._folder = bench.folder / "monitor"
        self._folder.mkdir()
        monitor = {"audit": {"file": str(bench.audit)}, "publish": url, "state_dir": str(self._folder / "state")}
        config = {"state_dir": str(self._folder / "run"), "monitor": monitor}
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
