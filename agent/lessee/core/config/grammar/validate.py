"""The block `validate:`: which systems an environment is made of, and where their credentials lie."""

from typing import Annotated

from lessee.core.config.grammar import words as w
from lessee.core.config.grammar.block import Block, says

CACHE_DATABASE, CACHE_REDIS = "cache/database", "cache/redis"
"""Where a cache's credentials usually lie."""


class Rights(Block, frozen=True, kw_only=True):
    """What the database's user must be able to do."""

    tables: Annotated[
        tuple[w.Text, ...], says("Tables to be read and written, such as `orders` or `sales.orders`.")
    ] = ()
    create: Annotated[w.Switch, says("Whether it must be able to make tables.")] = False


class CheckedDatabase(Block, frozen=True, kw_only=True):
    """A PostgreSQL that the environment's apps use."""

    secret: Annotated[
        w.SecretPath, says("Keys: host, port, database, username, password, and if wanted sslmode and ca_file.")
    ] = "database/postgres"  # noqa: S105  # A path.
    rights: Annotated[Rights, says("What its user must be able to do.")] = Rights()


class CheckedStorage(Block, frozen=True, kw_only=True):
    """An object store that speaks S3."""

    secret: Annotated[
        w.SecretPath, says("Keys: endpoint, access_key, secret_key, bucket, and if wanted secure and ca_file.")
    ] = "storage/minio"  # noqa: S105  # A path.


class CheckedCache(Block, frozen=True, kw_only=True):
    """What an MCP server's cache lives in: a PostgreSQL, a Redis, or both."""

    secret: Annotated[
        w.SecretPath | None, says("The PostgreSQL's keys, as of `database`; default: cache/database, if there.")
    ] = None
    redis: Annotated[
        w.SecretPath | None,
        says("Keys: host, port, password, and if wanted username, db, tls, ca_file; default: cache/redis, if there."),
    ] = None


class Validate(Block, frozen=True, kw_only=True):
    """What `lessee validate` looks at; what is left out is looked for at its usual path in Vault."""

    timeout: Annotated[w.Timeout, says("How long each check may take.")] = 5.0
    database: Annotated[CheckedDatabase | None, says("The PostgreSQL that the apps use.")] = None
    storage: Annotated[CheckedStorage | None, says("The object store.")] = None
    mcp_cache: Annotated[CheckedCache | None, says("What an MCP server's cache lives in.")] = None
