"""The checks of an environment, and values that several checks share."""

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import SecretField
from lessee.ops.validate.policy.results import Result, Skip

_T = TypeVar("_T")


class Check(ImmutableStruct, frozen=True):
    """A check of one thing: `run` yields a result for each of `names`, in this order.

    It may end early, after a failure that leaves nothing to check; then the runner reports the other names as skipped.
    """

    component: str
    names: tuple[str, ...]
    """The stable names of its results; a test needs a broken part for each."""
    run: Callable[[], Iterable[Result]]
    optional: bool = False
    """It may find nothing to check; then it has no results."""


class CheckSkippedError(Exception):
    """A check cannot run, which is not a failure. The text says why, and holds no value."""

    skip = Skip.IMPOSSIBLE


class NotConfiguredError(CheckSkippedError):
    """Nothing names what the check is for."""

    skip = Skip.NOT_CONFIGURED


class IncompleteCheckError(CheckSkippedError):
    """A check found no failure, but could not check everything."""

    skip = Skip.INCOMPLETE


class UnusableSecretError(LesseeError):
    """A secret is missing, or what is in it cannot work. `explains`: what of it, see `Result.explains`."""

    def __init__(self, what: str, *, where: str, todo: str, explains: Iterable[SecretField] = ()) -> None:
        super().__init__(what, where=where, todo=todo)
        self.explains = frozenset(explains) or frozenset({SecretField(where, "")})


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
