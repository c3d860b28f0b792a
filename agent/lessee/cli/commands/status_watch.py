"""`lessee status --watch`: how a service is, shown as it changes: drawn on a terminal, else as lines."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.core.errors import AgentUnavailableError
from lessee.host.clock import boot_time, wall_time
from lessee.status.pages.components import NONE, Cell, Table, View
from lessee.status.pages.plain_text import lines
from lessee.status.pages.time_format import span
from lessee.status.pages.views import view_of
from lessee.status.server import ask, known

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

EVERY = 1.0
"""Seconds between looks."""
_NARROW = 100
"""Columns of a terminal below which a row is shown as a block of lines."""
_STYLES = {"": "", "good": "green", "warn": "yellow", "bad": "bold red", "quiet": "dim"}
_MARKS = {"good": "✓ ", "warn": "! ", "bad": "✕ "}

_Show = Callable[[View | None, str], None]
"""Takes what was seen last, if anything was, and why nothing is seen now."""


def watch(socket: Path) -> int:
    """Until Ctrl-C; then 0, however it is. Who does not answer is waited for."""
    # The terminal is left as it was, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    view, gone_at = None, None
    try:
        with _drawing() if sys.stdout.isatty() else _writing() as show:
            while True:
                try:
                    with known(socket):
                        view, gone_at, trouble = view_of(ask(socket, "GET", "/status.json"), wall_time()), None, ""
                except AgentUnavailableError as exc:
                    gone_at = boot_time() if gone_at is None else gone_at
                    trouble = f"{exc.where}: {exc.what}"
                show(view, trouble and _gone(trouble, boot_time() - (gone_at or 0.0), drawn=sys.stdout.isatty()))
                time.sleep(EVERY)
    except KeyboardInterrupt:
        return 0


def _gone(trouble: str, seconds: float, *, drawn: bool) -> str:
    return f"{trouble}, for {span(seconds)} now; it is waited for" if drawn else f"{trouble}; it is waited for"


@contextmanager
def _writing() -> Iterator[_Show]:
    """The whole, whenever it is another."""
    last = ""

    def show(view: View | None, trouble: str) -> None:
        nonlocal last
        text = f"! {trouble}" if trouble or view is None else "\n".join(lines(view))
        if text != last:
            print(f"\n{text}" if last else text, flush=True)
        last = text

    yield show


@contextmanager
def _drawing() -> Iterator[_Show]:
    try:
        from rich.console import Console, Group
        from rich.live import Live
    except ImportError:
        print("lessee: it would be drawn with rich: pip install 'lessee[terminal]'", file=sys.stderr)
        with _writing() as show:
            yield show
        return
    console = Console(highlight=False)
    if console.is_dumb_terminal:
        with _writing() as show:
            yield show
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda view, trouble: live.update(Group(*_drawn(view, trouble, console.width)), refresh=True)


def _drawn(view: View | None, trouble: str, width: int) -> Iterator["RenderableType"]:
    from rich.text import Text

    if trouble:
        yield Text(f"✕ {trouble}", "bold red")
    if view is None:
        return
    yield Text.assemble(("lessee ", "bold"), f"{view.service} {view.version}  ", (view.environment, "dim"))
    yield _text(view.standing)
    for problem in view.problems:
        yield Text(f"! {problem}", "red")
    yield Text()
    for fact in view.facts:
        yield Text.assemble((f"{fact.name}  ", "dim"), _text(fact.cell))
    for table in view.tables:
        yield Text()
        yield Text(table.title, "bold")
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
            if cell.text != NONE:
                yield Text.assemble((f"  {name}  ", "dim"), _text(cell))


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    style = _STYLES[cell.tone]
    notes = [(f"  {note}", "dim") for note in (cell.note, cell.passing) if note]
    return Text.assemble((f"{_MARKS.get(cell.tone, '')}{cell.text}", style), *notes)
