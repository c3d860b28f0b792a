"""Measures `lessee validate`, and verifies that each broken part fails its own check and no other."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from figures import Figure
from rig import MEMORY, report  # It makes the tests' support modules importable.

from lessee.host.openbao import ROOT_TOKEN
from support.environments import (
    breakages,
    host_breakages,
    key_breakages,
    secret_breakages,
    storage_breakages,
    system_breakages,
)
from support.environments.app_environment import AppEnvironment
from support.environments.layout_worlds import WORLDS
from support.environments.server_environment import ServerEnvironment
from support.environments.usual_layout import COMPONENTS, UsualLayout
from support.servers.postgres import Postgres

_Tables = Sequence[tuple[ServerEnvironment, Sequence[breakages.Breakage]]]

SERVERS = (*breakages.ROWS, *system_breakages.ROWS, *storage_breakages.ROWS)
APPS = (*key_breakages.ROWS, *secret_breakages.ROWS, *host_breakages.ROWS)
REPETITIONS = 5
CHECKS, SECONDS = 40, 10.0


def measure() -> Iterator[Figure]:
    """Measure lessee alone, with real servers; the peer validates nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="lessee-bench-") as disk,
        tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as memory,
        Postgres(Path(disk)) as postgres,
    ):
        folders = [Path(disk, name) for name in ("servers", "apps")]
        for folder in folders:
            folder.mkdir()
            Path(memory, folder.name).mkdir()
        with (
            closing(ServerEnvironment(folders[0], Path(memory, "servers"), postgres)) as environment,
            closing(AppEnvironment(folders[1], Path(memory, "apps"))) as apps,
        ):
            tables = ((environment, SERVERS), (apps, APPS))
            yield from _intact(tables)
            yield _broken(tables)
        Path(disk, "layout").mkdir()
        Path(memory, "layout").mkdir()
        with closing(UsualLayout(Path(disk, "layout"), Path(memory, "layout"), postgres)) as layout:
            yield from _without_block(layout)


def _intact(tables: _Tables) -> Iterator[Figure]:
    took, passed = [], 0
    for environment, rows in tables:
        wanted = [word for one in sorted({row.component for row in rows}) for word in ("--component", one)]
        for _ in range(REPETITIONS):
            began = time.monotonic()
            results = environment.results(*wanted)
            took.append(time.monotonic() - began)
        passed += sum(result["passed"] is True for result in results.values())
    known = len({(row.component, row.check) for _, rows in tables for row in rows})
    yield Figure(
        "validate an intact environment: checks passed, of all checks",
        "",
        f"{passed} of {known}",
        f"≥ {CHECKS}",
        passed >= CHECKS,
    )
    name = f"… run time of the program, {REPETITIONS} times each: the longest"
    yield Figure(name, "", f"{max(took):.2f} s", f"≤ {SECONDS:g} s", max(took) <= SECONDS)


def _broken(tables: _Tables) -> Figure:
    found = count = 0
    for environment, rows in tables:
        for row in rows:
            count += 1
            with row.how(environment):
                results = environment.results("--component", row.component)
            failures = {one for one, result in results.items() if result["passed"] is False}
            failed = {check for component, check in failures if component == row.component}
            if failed == {row.check, *row.also}:
                found += 1
            else:
                report(f"{row.component} {row.check} {row.how.__name__}: {sorted(failed)}")
    name = f"… of {count} parts broken one by one: found by their own check alone"
    return Figure(name, "", str(found), str(count), found == count)


def _without_block(environment: UsualLayout) -> Iterator[Figure]:
    """No block names the systems. Then no secret is there either: nothing of them can be looked at."""
    found = 0
    for world in WORLDS:
        with world.how(environment):
            failed = environment.failed_components()
        if failed == {world.component}:
            found += 1
        else:
            report(f"{world.component} {world.how.__name__}: {sorted(failed)}")
    name = f"no `validate:` block: of {len(WORLDS)} broken worlds reported by the right component alone"
    yield Figure(name, "", str(found), str(len(WORLDS)), found == len(WORLDS))
    with environment.with_config(environment="production", apps={}):
        passed = COMPONENTS & environment.passed_components(VAULT_TOKEN=ROOT_TOKEN)
    name = "… components not looked at that the report calls passed"
    yield Figure(name, "", str(len(passed)), "0", not passed)
