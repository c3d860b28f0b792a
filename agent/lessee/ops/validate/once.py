"""A look that is taken once, by whoever asks first."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from lessee.core.errors import LesseeError
from lessee.ops.validate.checks import NotLookedError

_T = TypeVar("_T")


class Once(Generic[_T]):
    """Calls give what the first call gave, or raise what it raised; those that come meanwhile wait for it."""

    def __init__(self, look: Callable[[], _T]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._seen: list[_T] = []
        self._failed: LesseeError | NotLookedError | None = None

    def __call__(self) -> _T:
        with self._lock:
            if self._failed is not None:
                raise self._failed
            if not self._seen:
                try:
                    self._seen.append(self._look())
                except (LesseeError, NotLookedError) as exc:
                    self._failed = exc
                    raise
            return self._seen[0]
