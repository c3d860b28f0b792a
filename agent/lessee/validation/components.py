"""The components of an environment, in the order in which they are told of."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from lessee.core.errors import UsageError
from lessee.validation import database, mcp_cache, storage, vault
from lessee.validation.checks import Check
from lessee.validation.subject import Subject

COMPONENTS: Mapping[str, Callable[[Subject], Iterator[Check]]] = {
    "vault": vault.checks,
    "database": database.checks,
    "storage": storage.checks,
    "mcp_cache": mcp_cache.checks,
}
"""Each by its name, with what makes its checks."""


def checks(subject: Subject, only: Iterable[str] = ()) -> list[Check]:
    """Those of all components, or of some. Raises UsageError for a component that there is not."""
    wanted = set(only)
    if unknown := sorted(wanted - COMPONENTS.keys()):
        raise UsageError(f"there is no component {unknown[0]!r}", todo=f"there are: {', '.join(COMPONENTS)}")
    return [check for name, make in COMPONENTS.items() if not wanted or name in wanted for check in make(subject)]
