"""Measures the audit trail: its cost for the acting thread, its writes to disk, and its verification."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from figures import Figure
from rig import MEMORY, report

from lessee.audit_trail.keys import public_key
from lessee.audit_trail.policy.verification import verify
from lessee.audit_trail.reader import open_audit_trail
from lessee.audit_trail.recorder import record_service
from lessee.audit_trail.writer import AuditTrailWriter
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.core.redaction import Redactor
from lessee.telemetry.logs import log
from support.models.audit_trails import action

COUNT = 2_000
ENTRIES = 100_000
"""Entries of the verified trail; they are signed, and are on tmpfs."""
SECRETS = 100
"""Values that the redactor searches for in each action."""


def measure(entries: int = ENTRIES) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-audit-trail-") as folder:
        yield from _loop(Path(folder))
    with tempfile.TemporaryDirectory(prefix="lessee-audit-trail-") as folder:
        yield from _disk(Path(folder))
    with tempfile.TemporaryDirectory(prefix="lessee-audit-trail-", dir=MEMORY) as folder:
        yield from _verified(Path(folder), entries)


def _loop(folder: Path) -> Iterator[Figure]:
    """Log the same lines with and without an audit trail, whose thread writes at the same time."""
    redactor = Redactor()
    redactor.learn("bench", [f"canary-{number:040}" for number in range(SECRETS)])
    settings = AuditTrail(directory=str(folder / "trail"), key_file=str(folder / "trail.key"))
    bare = _logged()
    with record_service(settings, "agent", "testing", redactor, {}):
        time.sleep(0.5)  # Its start is not what is measured.
        recorded = _logged()
    with open_audit_trail(folder / "trail") as trail:
        written = sum(1 for _ in trail.lines())
    rows = [(quantiles(some, n=100)[49] * 1e6, quantiles(some, n=100)[98] * 1e6) for some in (bare, recorded)]
    cells = [f"{middle:.0f} µs, {most:.0f} µs" for middle, most in rows]
    report(f"{written:,} entries")
    name = "an action in the acting thread: log line alone; with an audit trail (median, p99)"
    yield Figure(name, "", "; ".join(cells), "all recorded", written == COUNT + 2)


def _logged() -> list[float]:
    took = []
    for number in range(COUNT):
        began = time.perf_counter()
        log("info", "secret read", secret=f"secret/testing/app/{number % 100}", version=number)
        took.append(time.perf_counter() - began)
        time.sleep(0.0005)  # The writing thread gets CPU time between two lines.
    return took


def _disk(folder: Path) -> Iterator[Figure]:
    """Write actions to disk one at a time, as an operator's command does, and in batches, as a service does."""
    rates = []
    for batch in (1, 64):
        writer = AuditTrailWriter(folder / str(batch), folder / f"{batch}.key")
        actions = [action(number) for number in range(640)]
        began = time.monotonic()
        for number in range(0, len(actions), batch):
            writer.add(actions[number : number + batch])
        rates.append(len(actions) / (time.monotonic() - began))
        writer.close()
    yield Figure(
        "actions a second on disk: one at a time; in batches of 64", "", "; ".join(f"{rate:,.0f}" for rate in rates)
    )


def _verified(folder: Path, entries: int) -> Iterator[Figure]:
    """Verify an intact trail, and the same trail with one changed entry, which makes it check each signature."""
    writer = AuditTrailWriter(folder / "trail", folder / "trail.key")
    for _ in range(0, entries, 1000):
        writer.add([action(number) for number in range(1000)])
    writer.close()
    public = public_key(folder / "trail" / "public.pem")
    first = folder / "trail" / "000000000001.jsonl"
    text, rates, found = first.read_bytes(), [], []
    for content in (text, text.replace(b'"n":500}', b'"n":501}', 1)):
        first.write_bytes(content)
        began = time.monotonic()
        with open_audit_trail(folder / "trail") as trail:
            verdict = verify(trail.lines, trail.head, public.is_genuine)
        rates.append(entries / (time.monotonic() - began))
        found.append(len(verdict.findings))
    report(f"{len(text) / 1e6:,.0f} MB in the first file; findings: {found}")
    name = f"`audit verify` of {entries:,} entries: entries a second if intact; if one is changed"
    yield Figure(name, "", "; ".join(f"{rate:,.0f}" for rate in rates), "found", found == [0, 1])
