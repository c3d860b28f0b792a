"""The checks of an environment, and values that several checks share."""

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.validate.policy.results import Result

_T = TypeVar("_T")


class Check(ImmutableStruct, frozen=True):
    """A check of one thing: `run` yields a result for each of `names`, in this order.

    It may end early, after a failure that leaves nothing to check; then the runner reports the other names as skipped.
    """

    component: str
    names: tuple[str, ...]
    """The stable names of its results; a test needs a broken part for each."""
    run: Callable[[], Iterable[Result]]


class CheckSkippedError(Exception):
    """A check cannot run, which is not a failure. The text says why, and holds no value."""


class CachedCall(Generic[_T]):
    """A function that is called only once. Concurrent calls wait for its result, or its error."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._results: list[_T] = []
        self._error: LesseeError | CheckSkippedError | None = None

    def __call__(self) -> _T:
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self._results:
                try:
                    self._results.append(self._function())
                except (LesseeError, CheckSkippedError) as exc:
                    self._error = exc
                    raise
            return self._results[0]
