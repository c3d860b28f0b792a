"""What a check is, and how it says that it cannot look."""

from collections.abc import Callable, Iterable

from lessee.core.immutable import Record
from lessee.ops.validate.policy.results import Result


class Check(Record, frozen=True):
    """One look at one thing: `run` gives a result for each of `names`, in this order, as it finds out.

    It may end early, after a failure that leaves nothing to look at: the runner says so of the rest.
    """

    component: str
    names: tuple[str, ...]
    """The lasting names of all that it can tell; a meta-test wants a test for each."""
    run: Callable[[], Iterable[Result]]


class NotLookedError(Exception):
    """Raised by a check that cannot look, with the reason, which holds no value; nothing is wrong for that."""
