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
from lessee.ops.validate.policy.results import Reporter

_Factory = Callable[[ValidationContext], Iterator[Check]]


def _database(context: ValidationContext) -> Iterator[Check]:
    """The apps' PostgreSQL."""
    configured = context.config.validate.database
    block = configured or DatabaseCheck()
    reporter = Reporter("database")
    yield postgres.check(context, reporter, block.secret, block.privileges, configured=configured is not None)


def _mcp_cache(context: ValidationContext) -> Iterator[Check]:
    """The cache of an MCP server: a PostgreSQL, a Redis, or both."""
    block, reporter = context.config.validate.mcp_cache or CacheCheck(), Reporter("mcp_cache")
    database, cache = block.secret, block.redis
    yield postgres.check(
        context, reporter, database or CACHE_DATABASE, RequiredPrivileges(), configured=database is not None
    )
    yield redis.check(context, reporter, cache or CACHE_REDIS, configured=cache is not None)


COMPONENTS: Mapping[str, _Factory] = {
    "vault": vault.checks,
    "database": _database,
    "api_keys": api_keys.checks,
    "storage": storage.checks,
    "mcp_cache": _mcp_cache,
    "mcp_auth": mcp_auth.checks,
    "rotation": rotated.checks,
    "frontend": frontend.checks,
    "secrets": secret_quality.checks,
    "host": host.checks,
}
"""What creates the checks of each component; each app is another component."""


def checks(context: ValidationContext, only: Iterable[str] = ()) -> list[Check]:
    """The checks of all components, or of some. Raises UsageError for an unknown component."""
    selected = set(only)
    factories: list[tuple[str, _Factory]] = [
        *COMPONENTS.items(),
        *((name, partial(apps.checks, app)) for name, app in context.config.apps.items()),
    ]
    if unknown := sorted(selected - {name for name, _ in factories}):
        known = ", ".join(dict.fromkeys(name for name, _ in factories))
        raise UsageError(f"unknown component {unknown[0]!r}", todo=f"the components are: {known}")
    return [check for name, create in factories if not selected or name in selected for check in create(context)]
