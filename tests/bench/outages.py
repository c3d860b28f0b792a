"""Bad weather of each kind: do the files outlast it, how little is Vault asked, and how soon is all fresh again."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from outage_faults import ALL, SECRETS, Outage, Place, all_outages
from rig import MEMORY, Figure, report, rig

from lessee.core.errors import LesseeError
from support.servers.fault_proxy import Proxy
from support.servers.postgres import Postgres, find_initdb

LONG, SHORT = 60.0, 20.0
"""Seconds of weather."""
FAIR = 20.0
"""Seconds between the two, at least."""
BACK = {LONG: 60.0, SHORT: 5.0}
"""Seconds from its end until all is fresh, at most."""
CAP = 120.0
"""Seconds after which nobody waits for that any longer."""
A_MINUTE = 20
"""Requests at most: of all, or on the one path that is in trouble."""
LATE = 1.5
"""Seconds in which a change on another path is to be seen meanwhile: `refresh`, and what it takes to publish."""
EVERY = 5.0
"""Seconds between such changes."""
AT_ONCE = 3
"""Kinds of weather, each over a server and an agent of its own."""
GLANCE = 0.02
"""Seconds between looks at the files: so seldom that three spells at once do not load the machine."""
_ATTACHING = Lock()
"""The database of all spells is made by the first."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one spell of weather went. `late`: the longest that a change on another path took, where others go on."""

    survived: bool
    changed: frozenset[str]
    told: bool
    requests: int | None
    late: float
    back: float | None

    @property
    def trouble(self) -> str:
        """What should not be, in words."""
        faults = {
            "ended": not self.survived,
            f"changed: {', '.join(sorted(self.changed))}": bool(self.changed),
            "not told": not self.told,
            f"others late by {self.late:.1f} s": self.late > LATE,
        }
        return ", ".join(words for words, is_so in faults.items() if is_so)


def measure() -> Iterator[Figure]:
    if find_initdb() is None:
        raise LesseeError("there is no PostgreSQL", todo="apt install postgresql")
    weathers = list(all_outages())
    with (
        TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder,
        Postgres(Path(folder)) as postgres,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        spells = [pool.submit(_spells, kind, postgres) for kind in weathers]
        try:
            for kind, both in zip(weathers, spells, strict=True):
                yield _figure(kind, *both.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _figure(kind: Outage, long: Result, short: Result) -> Figure:
    backs = [f"{spell.back:.1f} s" if spell.back is not None else f"> {CAP:.0f} s" for spell in (long, short)]
    said = [f"back in {backs[0]} ({backs[1]})", long.trouble, short.trouble]
    reach = [f"≤ {BACK[LONG]:.0f} s (≤ {BACK[SHORT]:.0f} s)", "files same"]
    met = not long.trouble and not short.trouble and _in_time(long, LONG) and _in_time(short, SHORT)
    if long.requests is not None:
        said.insert(0, f"{long.requests} requests")
        reach.insert(0, f"≤ {A_MINUTE}")
        met = met and long.requests <= A_MINUTE
    name = f"weather of {LONG:.0f} s (then {SHORT:.0f} s): {kind.name}"
    return Figure(name, "", ", ".join(filter(None, said)), ", ".join(reach), met)


def _in_time(spell: Result, seconds: float) -> bool:
    return spell.back is not None and spell.back <= BACK[seconds]


def _spells(kind: Outage, postgres: Postgres) -> tuple[Result, Result]:
    """A long one and, when that is past, a short one: nothing of the first is to be felt."""
    with ExitStack() as stack:
        bench = stack.enter_context(rig())
        with _ATTACHING:
            postgres.attach(bench.bao)
        place = Place(bench, stack.enter_context(Proxy(bench.bao.port)))
        for app in SECRETS:
            place.write(app, "before")
        if kind.prepare is not None:
            stack.enter_context(kind.prepare(place))
        program = stack.enter_context(place.program)
        program.until(lambda: all(place.shows(app, "before") for app in SECRETS), "the files")
        program.until(place.is_fresh, "all fresh")
        long = _spell(kind, LONG, place)
        time.sleep(FAIR)
        return long, _spell(kind, SHORT, place)


def _spell(kind: Outage, seconds: float, place: Place) -> Result:
    value = f"of {seconds:.0f} s"
    before = place.content(kind.stuck)
    changed: set[str] = set()
    with kind.over(place):
        began, asked = time.monotonic(), _asked(place, kind)
        written = dict.fromkeys(SECRETS, False)
        written |= {app: place.write(app, value) for app in kind.stuck}
        late = 0.0
        while time.monotonic() - began < seconds and place.lives():
            late = max([late, *(_goes_on(place, app, f"at {time.monotonic()}") for app in ALL - kind.stuck)])
            next_at = time.monotonic() + EVERY
            while time.monotonic() < min(next_at, began + seconds):
                changed |= _differing(before, place.content(kind.stuck))
                time.sleep(GLANCE)
        told = bool(place.status().get("problems"))
        requests = _asked(place, kind) - asked if kind.counts is not None else None
    for app in SECRETS:
        if not written[app]:  # the server was in no state to take it
            _wait(lambda app=app: place.write(app, value), CAP)
    back = _wait(lambda: all(place.shows(app, value) for app in SECRETS) and place.is_fresh(), CAP)
    spell = Result(place.lives(), frozenset(changed), told, requests, late, back)
    report(f"{kind.name}, {seconds:.0f} s: {spell}")
    return spell


def _differing(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> set[str]:
    return {name for name in before if now.get(name) != before[name]}


def _goes_on(place: Place, app: str, value: str) -> float:
    """How long a change took to be seen in an app that has fair weather."""
    place.write(app, value)
    took = _wait(lambda: place.shows(app, value), EVERY)
    return EVERY if took is None else took


def _wait(condition: Callable[[], object], cap: float) -> float | None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > cap:
            return None
        time.sleep(GLANCE)
    return time.monotonic() - began


def _asked(place: Place, kind: Outage) -> int:
    """What the proxy has seen; where nobody listens, or nobody finds it, lessee's own count is the greater."""
    seen = place.proxy.count(kind.counts or "")
    if kind.counts:
        return seen
    return max(seen, place.count_requests())
