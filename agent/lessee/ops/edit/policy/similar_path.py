"""The existing secret whose path is most like a mistyped one."""

from collections import deque
from collections.abc import Callable, Iterable
from difflib import get_close_matches

_FOLDERS = 40
"""Folders that are listed at most, one request each."""
_OWN = "lessee/"
"""The folder of an environment in which lessee stores its own data."""


def similar_path(wanted: str, names: Callable[[str], Iterable[str]]) -> str | None:
    """The path that `wanted` probably means, or None. `names`: what a folder has, where folders end in a slash.

    The folders on the way to `wanted` are searched first.
    """
    found: list[str] = []
    waiting = deque([""])
    for _ in range(_FOLDERS):
        if not waiting:
            break
        folder = waiting.popleft()
        for name in names(folder):
            path = f"{folder}{name}"
            if not name.endswith("/"):
                found.append(path)
            elif wanted.startswith(path):
                waiting.appendleft(path)
            elif path != _OWN:
                waiting.append(path)
    last = wanted.rpartition("/")[2]
    same = [path for path in found if path.rpartition("/")[2] == last]
    return next(iter([*get_close_matches(wanted, found, n=1), *same]), None)
