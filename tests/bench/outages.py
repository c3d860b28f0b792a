"""Measures outages of each kind: whether files stay equal, how many requests are sent, and how soon all is fresh."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from figures import Figure
from outage_faults import ALL, SECRETS, Environment, Outage, all_outages
from rig import MEMORY, report, rig

from lessee.core.errors import LesseeError
from support.servers.fault_proxy import Proxy
from support.servers.postgres import Postgres, find_initdb

LONG, SHORT = 60.0, 20.0
"""Seconds of an outage."""
PAUSE = 20.0
"""Seconds between the two outages, at least."""
SHORT_RECOVERY = 5.0
"""Seconds, at most, from the end of a short outage until all is fresh."""
CAP = 120.0
"""Seconds after which the benchmark stops waiting."""
A_MINUTE = 20
"""Requests, at most: in total, or for the one path that fails."""
LATE = 1.5
"""Seconds in which a change of another path must be published meanwhile: `refresh_interval`, and the publication."""
CHANGE_INTERVAL = 5.0
"""Seconds between such changes."""
CONCURRENT = 3
"""Outages at the same time, each with its own server and agent."""
FILE_CHECK_INTERVAL = 0.02
"""Seconds between two checks of the files: long enough that concurrent outages do not load the machine."""
_ATTACHING = Lock()
"""The first outage creates the database of all."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one outage. `late`: the longest time until a change of a working path was published."""

    survived: bool
    changed: frozenset[str]
    reported: bool
    requests: int | None
    late: float
    recovery: float | None

    @property
    def faults(self) -> str:
        """What went wrong, in words."""
        found = {
            "agent ended": not self.survived,
            f"changed: {', '.join(sorted(self.changed))}": bool(self.changed),
            "not reported": not self.reported,
            f"other paths late by {self.late:.1f} s": self.late > LATE,
        }
        return ", ".join(words for words, is_so in found.items() if is_so)


def measure() -> Iterator[Figure]:
    if find_initdb() is None:
        raise LesseeError("PostgreSQL not found", todo="run: apt install postgresql")
    outages = list(all_outages())
    with (
        TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        Postgres(Path(folder)) as postgres,
        ThreadPoolExecutor(CONCURRENT) as pool,
    ):
        results = [pool.submit(_measure_twice, outage, postgres) for outage in outages]
        try:
            for outage, both in zip(outages, results, strict=True):
                yield _figure(outage, *both.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _figure(outage: Outage, long: Result, short: Result) -> Figure:
    recoveries = [
        f"{result.recovery:.1f} s" if result.recovery is not None else f"> {CAP:.0f} s" for result in (long, short)
    ]
    texts = [f"fresh after {recoveries[0]} ({recoveries[1]})", long.faults, short.faults]
    reach = [f"≤ {outage.recovery:.0f} s (≤ {SHORT_RECOVERY:.0f} s)", "files equal"]
    met = not long.faults and not short.faults and _in_time(long, outage.recovery) and _in_time(short, SHORT_RECOVERY)
    if long.requests is not None:
        texts.insert(0, f"{long.requests} requests")
        reach.insert(0, f"≤ {A_MINUTE}")
        met = met and long.requests <= A_MINUTE
    name = f"outage of {LONG:.0f} s (then {SHORT:.0f} s): {outage.name}"
    return Figure(name, "", ", ".join(filter(None, texts)), ", ".join(reach), met)


def _in_time(result: Result, limit: float) -> bool:
    return result.recovery is not None and result.recovery <= limit


def _measure_twice(outage: Outage, postgres: Postgres) -> tuple[Result, Result]:
    """Measure a long outage and then a short one, which the first must not affect."""
    with ExitStack() as stack:
        bench = stack.enter_context(rig())
        with _ATTACHING:
            postgres.attach(bench.bao)
        environment = Environment(bench, stack.enter_context(Proxy(bench.bao.port)))
        for app in SECRETS:
            environment.write(app, "before")
        if outage.prepare is not None:
            stack.enter_context(outage.prepare(environment))
        program = stack.enter_context(environment.program)
        program.until(lambda: all(environment.contains(app, "before") for app in SECRETS), "the files")
        program.until(environment.is_fresh, "fresh secrets")
        long = _measure_one(outage, LONG, environment)
        time.sleep(PAUSE)
        return long, _measure_one(outage, SHORT, environment)


def _measure_one(outage: Outage, seconds: float, environment: Environment) -> Result:
    value = f"of {seconds:.0f} s"
    before = environment.content(outage.affected)
    changed: set[str] = set()
    with outage.start(environment):
        began, before_requests = time.monotonic(), _requests(environment, outage)
        written = dict.fromkeys(SECRETS, False)
        written |= {app: environment.write(app, value) for app in outage.affected}
        late = 0.0
        while time.monotonic() - began < seconds and environment.is_running():
            for app in ALL - outage.affected:
                late = max(late, _seconds_to_publish(environment, app, f"at {time.monotonic()}"))
            next_at = time.monotonic() + CHANGE_INTERVAL
            while time.monotonic() < min(next_at, began + seconds):
                changed |= _differing(before, environment.content(outage.affected))
                time.sleep(FILE_CHECK_INTERVAL)
        reported = bool(environment.status().get("problems"))
        requests = _requests(environment, outage) - before_requests if outage.counts is not None else None
    for app in SECRETS:
        if not written[app]:  # the server could not accept the write
            _wait(lambda app=app: environment.write(app, value), CAP)
    recovery = _wait(lambda: all(environment.contains(app, value) for app in SECRETS) and environment.is_fresh(), CAP)
    result = Result(environment.is_running(), frozenset(changed), reported, requests, late, recovery)
    report(f"{outage.name}, {seconds:.0f} s: {result}")
    return result


def _differing(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> set[str]:
    return {name for name in before if now.get(name) != before[name]}


def _seconds_to_publish(environment: Environment, app: str, value: str) -> float:
    """Seconds until a change was published for an app that the outage does not affect."""
    environment.write(app, value)
    took = _wait(lambda: environment.contains(app, value), CHANGE_INTERVAL)
    return CHANGE_INTERVAL if took is None else took


def _wait(condition: Callable[[], object], cap: float) -> float | None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > cap:
            return None
        time.sleep(FILE_CHECK_INTERVAL)
    return time.monotonic() - began


def _requests(environment: Environment, outage: Outage) -> int:
    """The requests that the proxy counted, or lessee's count if it is higher: some never reach the proxy."""
    seen = environment.proxy.count(outage.counts or "")
    if outage.counts:
        return seen
    return max(seen, environment.count_requests())
