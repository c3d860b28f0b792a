"""What the trail costs: the loop that acts, the thread that writes, and whoever looks whether all is whole."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from rig import MEMORY, Figure, report

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
"""Of the trail that is verified; their signatures are made, and the disk is not waited for."""
SECRETS = 100
"""Values that the redactor looks for in each act."""


def measure(entries: int = ENTRIES) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-trail-") as folder:
        yield from _loop(Path(folder))
    with tempfile.TemporaryDirectory(prefix="lessee-trail-") as folder:
        yield from _disk(Path(folder))
    with tempfile.TemporaryDirectory(prefix="lessee-trail-", dir=MEMORY) as folder:
        yield from _verified(Path(folder), entries)


def _loop(folder: Path) -> Iterator[Figure]:
    """The same line of the log with and without a trail, while the thread writes beside it."""
    redactor = Redactor()
    redactor.learn("bench", [f"canary-{number:040}" for number in range(SECRETS)])
    said = AuditTrail(directory=str(folder / "trail"), key_file=str(folder / "trail.key"))
    bare = _logged()
    with record_service(said, "agent", "testing", redactor, {}):
        time.sleep(0.5)  # Its start is not what is measured.
        heard = _logged()
    with open_audit_trail(folder / "trail") as trail:
        written = sum(1 for _ in trail.lines())
    rows = [(quantiles(some, n=100)[49] * 1e6, quantiles(some, n=100)[98] * 1e6) for some in (bare, heard)]
    cells = [f"{middle:.0f} µs, {most:.0f} µs" for middle, most in rows]
    report(f"{written:,} entries")
    name = "an act, in the loop's thread: its line in the log alone; with a trail (median, p99)"
    yield Figure(name, "", "; ".join(cells), "all are in it", written == COUNT + 2)


def _logged() -> list[float]:
    took = []
    for number in range(COUNT):
        began = time.perf_counter()
        log("info", "secret read", secret=f"secret/testing/app/{number % 100}", version=number)
        took.append(time.perf_counter() - began)
        time.sleep(0.0005)  # A burst, in which others get their turn.
    return took


def _disk(folder: Path) -> Iterator[Figure]:
    """From the first to the last on the disk, as an operator's step and as a service writes."""
    rates = []
    for at_once in (1, 64):
        writer = AuditTrailWriter(folder / str(at_once), folder / f"{at_once}.key")
        actions = [action(number) for number in range(640)]
        began = time.monotonic()
        for number in range(0, len(actions), at_once):
            writer.add(actions[number : number + at_once])
        rates.append(len(actions) / (time.monotonic() - began))
        writer.close()
    yield Figure(
        "acts a second, on the disk: one at a time; 64 at once", "", "; ".join(f"{rate:,.0f}" for rate in rates)
    )


def _verified(folder: Path, entries: int) -> Iterator[Figure]:
    """A trail that is whole, and the same with one entry changed: then each signature is looked at."""
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
    name = f"`audit verify` of {entries:,} entries: entries a second where all is whole; where one was changed"
    yield Figure(name, "", "; ".join(f"{rate:,.0f}" for rate in rates), "found", found == [0, 1])
