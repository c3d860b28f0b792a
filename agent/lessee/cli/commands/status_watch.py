"""`lessee status --watch`: prints the status on each change, as a live display on a terminal, else as lines."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.core.errors import AgentUnavailableError
from lessee.host.clock import boot_time, wall_time
from lessee.status.client import known_format, request_status
from lessee.status.pages.components import DASH, Cell, Table, View
from lessee.status.pages.plain_text import lines
from lessee.status.pages.time_format import duration
from lessee.status.pages.views import build_view

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

INTERVAL = 1.0
"""Seconds between two requests."""
_NARROW = 100
"""Terminals with fewer columns get a block of lines instead of a table row."""
_STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "bold red", "quiet": "dim"}
_MARKS = {"good": "✓ ", "warn": "! ", "bad": "✕ "}

_Show = Callable[[View | None, str], None]
"""Displays the last view, if any, and the reason why the service does not answer now."""


def watch(socket: Path) -> int:
    """Runs until Ctrl-C and then returns 0. Waits for a service that does not answer."""
    # SIGTERM unwinds the stack too, so that the terminal is restored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    view, unavailable_since = None, None
    try:
        with _terminal_display() if sys.stdout.isatty() else _line_display() as show:
            while True:
                try:
                    with known_format(socket):
                        view, unavailable_since, problem = (
                            build_view(request_status(socket, "GET", "/status.json"), wall_time()),
                            None,
                            "",
                        )
                except AgentUnavailableError as exc:
                    unavailable_since = boot_time() if unavailable_since is None else unavailable_since
                    problem = f"{exc.where}: {exc.what}"
                show(
                    view,
                    problem
                    and _unavailable_text(problem, boot_time() - (unavailable_since or 0.0), drawn=sys.stdout.isatty()),
                )
                time.sleep(INTERVAL)
    except KeyboardInterrupt:
        return 0


def _unavailable_text(problem: str, seconds: float, *, drawn: bool) -> str:
    return f"{problem}, for {duration(seconds)} now; waiting for it" if drawn else f"{problem}; waiting for it"


@contextmanager
def _line_display() -> Iterator[_Show]:
    """Prints the whole view whenever it differs from the last one."""
    last = ""

    def show(view: View | None, problem: str) -> None:
        nonlocal last
        text = f"! {problem}" if problem or view is None else "\n".join(lines(view))
        if text != last:
            print(f"\n{text}" if last else text, flush=True)
        last = text

    yield show


@contextmanager
def _terminal_display() -> Iterator[_Show]:
    try:
        from rich.console import Console, Group
        from rich.live import Live
    except ImportError:
        print("lessee: no live display without rich; run `pip install 'lessee[terminal]'`", file=sys.stderr)
        with _line_display() as show:
            yield show
        return
    console = Console(file=sys.__stdout__, highlight=False)  # `sys.stdout` spells out its control characters.
    if console.is_dumb_terminal:
        with _line_display() as show:
            yield show
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda view, problem: live.update(Group(*_renderables(view, problem, console.width)), refresh=True)


def _renderables(view: View | None, problem: str, width: int) -> Iterator["RenderableType"]:
    from rich.text import Text

    if problem:
        yield Text(f"✕ {problem}", "bold red")
    if view is None:
        return
    yield Text.assemble(("lessee ", "bold"), f"{view.service} {view.version}  ", (view.environment, "dim"))
    yield _text(view.summary)
    for line in view.problems:
        yield Text(f"! {line}", "red")
    yield Text()
    for fact in view.facts:
        yield Text.assemble((f"{fact.name}  ", "dim"), _text(fact.cell))
    for table in view.tables:
        yield Text()
        yield Text(table.title, "bold")
        if table.note:
            yield Text(table.note, "dim")
        if not table.rows:
            yield Text(table.empty, "dim")
        elif width < _NARROW:
            yield from _blocks(table)
        else:
            yield _table(table)


def _table(table: Table) -> "RenderableType":
    from rich import box
    from rich.table import Table as Drawn

    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", expand=False)
    for column in table.columns:
        drawn.add_column(column, overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(_text, row))
    return drawn


def _blocks(table: Table) -> Iterator["Text"]:
    from rich.text import Text

    for first, *rest in table.rows:
        yield _text(first)
        for name, cell in zip(table.columns[1:], rest, strict=True):
            if cell.text != DASH:
                yield Text.assemble((f"  {name}  ", "dim"), _text(cell))


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    style = _STYLES[cell.tone]
    notes = [(f"  {note}", "dim") for note in (cell.note, cell.transient) if note]
    return Text.assemble((f"{_MARKS.get(cell.tone, '')}{cell.text}", style), *notes)
