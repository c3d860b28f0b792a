"""The figures of the benchmarks: their rows, the stored runs, and the page that is made of both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import json

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/explanation/figures.md"
RUNS = Path(__file__).with_name("results")
"""One file for each benchmark: its last stored run."""
EARLIER = RUNS / "earlier.json"
"""Rows of runs before they were stored: those of each benchmark that has no stored run yet."""

TOPICS = {
    "Start, memory and idle cost": (
        "start",
        "memory",
        "first_process",
        "growth",
        "polling",
        "idle",
        "requests_saved",
        "imports",
    ),
    "From a change to the app": ("latency", "events", "notification", "child_replacement", "reload"),
    "Rendering": ("rendering", "bounds", "slow_templates"),
    "Read sockets": ("reading", "credentials"),
    "Whole files": ("mixed_reads", "killed_publications", "drift"),
    "Notifications and children": (
        "pending_notifications",
        "pid_reuse",
        "rotations",
        "rollback",
        "unhandled_signals",
        "orphans",
        "crashes",
        "mcp_session",
    ),
    "Leases and tokens": (
        "restarts",
        "denied_path",
        "handover",
        "token_revocation",
        "sigstop",
        "clock_jumps",
        "lease_simulation",
    ),
    "Outages": ("outages", "hostile_server", "herd", "fleet", "scale", "reboot"),
    "Secrecy": ("canary", "secrecy", "environment_isolation", "dist", "scanning"),
    "Rotations": (
        "role_rotation",
        "pooled_rotations",
        "broker_rotations",
        "killed_rotations",
        "verified_clients",
        "admin_rotations",
        "concurrent_rotators",
        "rotation_simulation",
        "simba",
    ),
    "Operators' commands": (
        "adoption",
        "setup",
        "validation",
        "backup",
        "large_backup",
        "drill",
        "audit_log",
        "alert_storm",
        "audit_trail",
    ),
}
"""The benchmarks by heading of the page, in their order."""
NAMES = tuple(name for names in TOPICS.values() for name in names)

_BAR = r"\|"
_DASH = "–"  # noqa: RUF001  # An en dash is intended.
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MANUAL = "../../tests/bench/README.md"
_COLUMNS = ("figure", "bao agent", "lessee", "target")
_ABOUT = f"""\
# Figures

`make bench` measures all figures and writes this page; an edit of it is lost. `python tests/bench/run.py NAME --write`
measures those of one benchmark again. [Benchmarks]({_MANUAL}) describes each, and [runs](#runs) lists when
and where each was measured. `bao agent` did the same work in the same run; `{_DASH}` means that it was not measured,
mostly because it has no such function. A bold figure reaches its target.
"""
_TESTED = """\
## Held by tests

Some promises are counts that must be zero. A test fails if one is not:

| must be zero | test |
|---|---|
| hostile values that a real reader gets changed, or as more than one value | [readers](../../tests/readers) |
| sandbox escapes that succeed or print a value | [escapes](../../tests/rendering/sandbox/test_escapes.py) |
| bytes that differ from those of `bao agent` after `lessee import` | [import](../../tests/e2e/test_import.py) |
| edits of an audit trail that are not found at their position | [audit trail](../../tests/audit_trail/test_writer.py) |
| findings of axe in the page, 360 and 1,440 px wide, light and dark | [page](../../tests/e2e/test_page.py) |
| publications not whole after SIGKILL at any step | [publication](../../tests/publishing/test_publication.py) |
"""
_EARLIER = """\
## Earlier runs

These rows were copied from runs before runs were stored, on two cores with CPython 3.11 and 3.13, and `bao agent`
2.7.2. They are to be measured again: the first stored run of a benchmark replaces its rows.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table. `met`: whether it reached its target; None without one. `note`: what one must know of it."""

    name: str
    peer: str
    lessee: str
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one benchmark has measured, and where. `took`: seconds."""

    date: str
    python: str
    bao: str
    processors: int
    took: float
    figures: tuple[Figure, ...]


Earlier = Mapping[str, Sequence[Figure]]
"""The rows of earlier runs, by benchmark."""


def load() -> tuple[dict[str, Run], Earlier]:
    """The stored runs by benchmark, and the rows of earlier runs."""
    runs = {name: RUNS / f"{name}.json" for name in NAMES}
    stored = {name: json.decode(file.read_bytes(), type=Run) for name, file in runs.items() if file.exists()}
    return stored, json.decode(EARLIER.read_bytes(), type=dict[str, tuple[Figure, ...]])


def store(name: str, run: Run) -> None:
    """Store a run in place of the benchmark's last one, and write the page."""
    (RUNS / f"{name}.json").write_bytes(_encoded(run))
    _, earlier = load()
    if name in earlier:
        EARLIER.write_bytes(_encoded({other: rows for other, rows in earlier.items() if other != name}))
    write_page()


def write_page() -> None:
    PAGE.write_text(page(*load()))


def page(runs: Mapping[str, Run], earlier: Earlier) -> str:
    """The page of these runs."""
    notes = _Notes()
    parts = [_ABOUT]
    for topic, names in TOPICS.items():
        rows = [
            (*_cells(figure, notes), f"[`{name}`]({_MANUAL}) {runs[name].date}")
            for name in names
            if name in runs
            for figure in runs[name].figures
        ]
        if rows:
            parts += [f"## {topic}\n", *_table((*_COLUMNS, "run"), rows), *notes.take()]
    parts.append(_TESTED)
    if any(earlier.values()):
        parts.append(_EARLIER)
    for topic, names in TOPICS.items():
        rows = [
            (*_cells(figure, notes), f"[`{name}`]({_MANUAL})") for name in names for figure in earlier.get(name, ())
        ]
        if rows:
            parts += [f"### {topic}\n", *_table((*_COLUMNS, "benchmark"), rows), *notes.take()]
    where = [
        (f"`{name}`", run.date, run.python, str(run.processors), run.bao, f"{run.took / 60:.1f} min")
        for name in NAMES
        if (run := runs.get(name)) is not None
    ]
    columns = ("benchmark", "date", "CPython", "processors", "bao", "took")
    return "\n".join([*parts, "## Runs\n", *(_table(columns, where) if where else ["No run is stored.\n"])])


class _Notes:
    """The notes of a page, numbered in their order; rows with the same note share its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._taken = 0

    def mark(self, note: str) -> str:
        number = self._numbers.setdefault(note, len(self._numbers) + 1)
        return str(number).translate(_DIGITS)

    def take(self) -> Iterator[str]:
        """The notes since the last call, each a paragraph."""
        for note in list(self._numbers)[self._taken :]:
            yield f"{self.mark(note)} {note}\n"
        self._taken = len(self._numbers)


def _cells(figure: Figure, notes: _Notes) -> tuple[str, ...]:
    mark = notes.mark(figure.note) if figure.note else ""
    lessee = f"**{figure.lessee}**" if figure.met and figure.target else figure.lessee
    target = f"{figure.target}: missed" if figure.met is False else figure.target
    return figure.name + mark, figure.peer or _DASH, lessee, target


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield row(*cells)
    yield ""


def row(*cells: str) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def _encoded(value: object) -> bytes:
    return json.format(json.encode(value), indent=1) + b"\n"
