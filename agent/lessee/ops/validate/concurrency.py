"""Applies a function to many items with several threads, within a time limit."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

WORKERS = 8


def map_concurrently(
    items: Iterable[_Item], function: Callable[[_Item], _Result], seconds: float
) -> dict[_Item, _Result]:
    """The results by item, without items for which the time was too short or `function` failed."""
    waiting = iter(items)
    lock = threading.Lock()
    results: dict[_Item, _Result] = {}
    deadline = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < deadline:
            with lock:
                item = next(waiting, _END)
            if item is _END:
                return
            # Python prints the exception of a thread with the values that it holds.
            with suppress(Exception):
                result = function(item)  # type: ignore[arg-type]  # It is not _END.
                with lock:
                    results[item] = result  # type: ignore[index]  # As above.

    # Daemons: the end of the program does not wait for those that hang.
    workers = [threading.Thread(target=work, name="lessee-read", daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(deadline - time.monotonic(), 0))
    with lock:
        return dict(results)


_END = object()
