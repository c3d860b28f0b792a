"""The components of an environment, in the order in which they are told of."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from lessee.core.errors import UsageError
from lessee.ops.validate import (
    api_keys,
    apps,
    database,
    frontend,
    host,
    mcp_auth,
    mcp_cache,
    secret_quality,
    storage,
    vault,
)
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject

_Make = Callable[[Subject], Iterator[Check]]

COMPONENTS: Mapping[str, _Make] = {
    "vault": vault.checks,
    "database": database.checks,
    "api_keys": api_keys.checks,
    "storage": storage.checks,
    "mcp_cache": mcp_cache.checks,
    "mcp_auth": mcp_auth.checks,
    "frontend": frontend.checks,
    "secrets": secret_quality.checks,
    "host": host.checks,
}
"""Each by its name, with what makes its checks; each app is one more."""


def checks(subject: Subject, only: Iterable[str] = ()) -> list[Check]:
    """Those of all components, or of some. Raises UsageError for a component that there is not."""
    wanted = set(only)
    named: list[tuple[str, _Make]] = [
        *COMPONENTS.items(),
        *((name, partial(apps.checks, app)) for name, app in subject.config.apps.items()),
    ]
    if unknown := sorted(wanted - {name for name, _ in named}):
        there = ", ".join(dict.fromkeys(name for name, _ in named))
        raise UsageError(f"there is no component {unknown[0]!r}", todo=f"there are: {there}")
    return [check for name, make in named if not wanted or name in wanted for check in make(subject)]
