"""The same look at many things, several at a time, for so long and no longer."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

_Item = TypeVar("_Item")
_Seen = TypeVar("_Seen")

WORKERS = 8


def each(items: Iterable[_Item], look: Callable[[_Item], _Seen], seconds: float) -> dict[_Item, _Seen]:
    """What was seen within so many seconds; the rest is missing, and so is an item at which `look` failed."""
    waiting = iter(items)
    lock = threading.Lock()
    seen: dict[_Item, _Seen] = {}
    deadline = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < deadline:
            with lock:
                item = next(waiting, _END)
            if item is _END:
                return
            # Of an exception in a thread Python prints all that it holds.
            with suppress(Exception):
                found = look(item)  # type: ignore[arg-type]  # It is no _END.
                with lock:
                    seen[item] = found  # type: ignore[index]  # As above.

    # Daemons: the end of the program waits for none that hangs.
    workers = [threading.Thread(target=work, name="lessee-look", daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(deadline - time.monotonic(), 0))
    with lock:
        return dict(seen)


_END = object()
