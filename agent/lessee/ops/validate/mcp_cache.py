"""What an MCP server's cache lives in: a PostgreSQL, a Redis, or both."""

from collections.abc import Iterator

from lessee.config.grammar.validate import CACHE_DATABASE, CACHE_REDIS, CheckedCache, Rights
from lessee.ops.validate import postgres, redis
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.results import Teller

_TELL = Teller("mcp_cache")


def checks(subject: Subject) -> Iterator[Check]:
    """Those of both; of what is not named, nothing need be there."""
    said = subject.config.validate.mcp_cache or CheckedCache()
    database, cache = said.secret, said.redis
    yield postgres.check(subject, _TELL, database or CACHE_DATABASE, Rights(), configured=database is not None)
    yield redis.check(subject, _TELL, cache or CACHE_REDIS, configured=cache is not None)
