"""Finds further databases and Redis servers of MCP servers' caches, by the secrets in cache/."""

from collections.abc import Iterator, Mapping
from functools import partial

from lessee.config.grammar.validate import RequiredPrivileges
from lessee.core.sensitive.names import SecretField
from lessee.ops.validate import postgres, redis
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.results import Reporter, Result, Skip, listed

_REPORTER = Reporter("mcp_cache")
_CHECK = "cache-secret"


def checks(context: ValidationContext, checked: frozenset[str]) -> Iterator[Check]:
    """The check of all secrets in cache/, except those that are `checked` anyway."""
    yield Check("mcp_cache", (_CHECK,), partial(_check, context, checked), optional=True)


def _check(context: ValidationContext, checked: frozenset[str]) -> Iterator[Result]:
    secrets = context.secrets()
    if reason := context.overlooked("cache"):
        yield _REPORTER.skipped(_CHECK, reason, Skip.INCOMPLETE)
    for path in sorted({*secrets, *context.missing("mcp_cache")} - checked):
        if component_of(path) == "mcp_cache":
            yield from _check_secret(context, path, secrets.get(path))


def _check_secret(context: ValidationContext, path: str, data: Mapping[str, object] | None) -> Iterator[Result]:
    ref = context.scope.secret(path)
    if data is None:
        text = f"{ref} does not exist (named by {', '.join(context.expected()[path].sources)})"
        yield _REPORTER.critical(_CHECK, text, "write it", explains=[SecretField(str(ref), "")])
    elif "database" in data:
        yield from postgres.check(context, _REPORTER, path, RequiredPrivileges(), configured=True).run()
    elif "host" in data:
        yield from redis.check(context, _REPORTER, path, configured=True).run()
    else:
        text = f"{ref} has neither the keys of a PostgreSQL nor of a Redis; its keys: {listed(data) or 'none'}"
        todo = "write host, port and password, and for a PostgreSQL also database and username"
        yield _REPORTER.warning(_CHECK, text, todo)
