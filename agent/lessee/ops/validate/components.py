"""The components of an environment, in the order of the report."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from lessee.config.grammar.validate import (
    CACHE_DATABASE,
    CACHE_REDIS,
    CacheCheck,
    DatabaseCheck,
    RequiredPrivileges,
)
from lessee.core.errors import UsageError
from lessee.ops.validate import (
    api_keys,
    apps,
    caches,
    frontend,
    host,
    mcp_auth,
    postgres,
    redis,
    rotated,
    secret_quality,
    storage,
    vault,
)
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.expected import check_present
from lessee.ops.validate.policy.results import Reporter

_Factory = Callable[[ValidationContext], Iterator[Check]]


def _database(context: ValidationContext) -> Iterator[Check]:
    """The apps' PostgreSQL."""
    configured = context.config.validate.database
    block = configured or DatabaseCheck()
    reporter = Reporter("database")
    yield postgres.check(context, reporter, block.secret, block.privileges, configured=configured is not None)
    yield from check_present("database", context)


def _mcp_cache(context: ValidationContext) -> Iterator[Check]:
    """The cache of an MCP server: a PostgreSQL, a Redis, or both."""
    block, reporter = context.config.validate.mcp_cache or CacheCheck(), Reporter("mcp_cache")
    database, cache = block.secret, block.redis
    yield postgres.check(
        context, reporter, database or CACHE_DATABASE, RequiredPrivileges(), configured=database is not None
    )
    yield redis.check(context, reporter, cache or CACHE_REDIS, configured=cache is not None)
    yield from caches.checks(context, frozenset({database or CACHE_DATABASE, cache or CACHE_REDIS}))


def _storage(context: ValidationContext) -> Iterator[Check]:
    yield from storage.checks(context)
    yield from check_present("storage", context)


def _frontend(context: ValidationContext) -> Iterator[Check]:
    yield from frontend.checks(context)
    yield from check_present("frontend", context)


def _secrets(context: ValidationContext) -> Iterator[Check]:
    yield from secret_quality.checks(context)
    yield from check_present("secrets", context)


COMPONENTS: Mapping[str, _Factory] = {
    "vault": vault.checks,
    "database": _database,
    "api_keys": api_keys.checks,
    "storage": _storage,
    "mcp_cache": _mcp_cache,
    "mcp_auth": mcp_auth.checks,
    "rotation": rotated.checks,
    "frontend": _frontend,
    "secrets": _secrets,
    "host": host.checks,
}
"""What creates the checks of each component; each app is another component."""


def checks(context: ValidationContext, only: Iterable[str] = ()) -> list[Check]:
    """The checks of all components, or of some. Raises UsageError for an unknown component."""
    selected = set(only)
    check_components(context, selected)
    return [
        check for name, create in _factories(context) if not selected or name in selected for check in create(context)
    ]


def check_components(context: ValidationContext, names: Iterable[str]) -> None:
    """Raises UsageError for an unknown component."""
    factories = _factories(context)
    if unknown := sorted(set(names) - {name for name, _ in factories}):
        known = ", ".join(dict.fromkeys(name for name, _ in factories))
        raise UsageError(f"unknown component {unknown[0]!r}", todo=f"the components are: {known}")


def _factories(context: ValidationContext) -> list[tuple[str, _Factory]]:
    apps_of = context.config.apps.items()
    return [*COMPONENTS.items(), *((name, partial(apps.checks, app)) for name, app in apps_of)]
