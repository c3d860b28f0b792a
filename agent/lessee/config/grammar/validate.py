"""The block `validate`: the systems of an environment that `lessee validate` checks."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated, Literal

from msgspec import field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe

CACHE_DATABASE, CACHE_REDIS = "cache/database", "cache/redis"
"""The default paths of a cache's credentials."""


class RequiredPrivileges(Block, frozen=True, kw_only=True):
    """What the database user of the apps must be able to do."""

    tables: Annotated[
        tuple[scalars.Text, ...],
        describe("The tables that the user must be able to read and write, such as `orders` or `sales.orders`."),
    ] = ()
    create: Annotated[scalars.Boolean, describe("true means that the user must be able to create tables.")] = False


class DatabaseCheck(Block, frozen=True, kw_only=True):
    """The check of a PostgreSQL database that the apps use."""

    secret: Annotated[
        scalars.SecretPath,
        describe(
            "The path of the secret with the keys host, port, database, username and password, and optionally sslmode "
            "and ca_file."
        ),
    ] = "database/postgres"  # noqa: S105  # A path.
    privileges: Annotated[RequiredPrivileges, describe("What the user in the secret must be able to do.")] = (
        RequiredPrivileges()
    )


class StorageCheck(Block, frozen=True, kw_only=True):
    """The check of an S3-compatible object store."""

    secret: Annotated[
        scalars.SecretPath,
        describe(
            "The path of the secret with the keys endpoint, access_key, secret_key and bucket, and optionally secure "
            "and ca_file."
        ),
    ] = "storage/minio"  # noqa: S105  # A path.


class CacheCheck(Block, frozen=True, kw_only=True):
    """The check of an MCP server's cache: a PostgreSQL database, a Redis, or both."""

    secret: Annotated[
        scalars.SecretPath | None,
        describe(
            "The path of the secret of the PostgreSQL database, with the keys host, port, database, username and "
            "password. Default: cache/database, if it exists."
        ),
    ] = None
    redis: Annotated[
        scalars.SecretPath | None,
        describe(
            "The path of the secret of the Redis, with the keys host, port and password, and optionally username, db, "
            "tls and ca_file. Default: cache/redis, if it exists."
        ),
    ] = None


Provider = Literal["openrouter", "openai", "anthropic", "brave", "github", "mistral", "huggingface"]
"""The providers whose API lessee can ask whether a key is valid."""


class ApiKeyCheck(Block, frozen=True, kw_only=True):
    """The check of an API key of a provider."""

    secret: Annotated[scalars.SecretPath, describe("The path of the secret that contains the API key.")]
    key: Annotated[scalars.Text, describe("The key of the secret that contains the API key.")] = "api_key"
    provider: Annotated[Provider | None, describe("The provider of the API key. Default: the name of this entry.")] = (
        None
    )
    url: Annotated[
        scalars.HttpUrl | None, describe("The URL to send the check to. Default: that of the provider's API.")
    ] = None


class McpCheck(Block, frozen=True, kw_only=True):
    """The check of an MCP server over HTTP that requires a key."""

    url: Annotated[scalars.HttpUrl, describe("The URL of the MCP endpoint, such as `http://127.0.0.1:8000/mcp`.")]
    secret: Annotated[scalars.SecretPath, describe("The path of the secret that contains the server's key.")] = (
        "mcp/memory-service"  # noqa: S105  # A path.
    )
    key: Annotated[scalars.Text, describe("The key of the secret that contains the server's key.")] = "api_key"
    header: Annotated[
        scalars.HttpHeader,
        describe("The HTTP header that carries the key; Authorization carries it as a bearer token."),
    ] = "Authorization"


PUBLIC_PREFIXES = (
    "VITE_", "NEXT_PUBLIC_", "REACT_APP_", "PUBLIC_", "NUXT_PUBLIC_", "EXPO_PUBLIC_", "GATSBY_", "VUE_APP_",
    "STORYBOOK_",
)  # fmt: skip
"""The prefixes of variables that frontend builds write into the files for every visitor."""


class FrontendCheck(Block, frozen=True, kw_only=True):
    """The check of the files that every visitor of a web site gets."""

    dist: Annotated[scalars.FilePath | None, describe("The output directory of the build, relative to this file.")] = (
        None
    )
    env_files: Annotated[
        tuple[scalars.FilePath, ...], describe("The dotenv files that the build reads its variables from.")
    ] = ()
    public_prefixes: Annotated[
        tuple[scalars.Text, ...],
        describe("The prefixes of variables that the build writes into the files for every visitor, such as VITE_."),
    ] = PUBLIC_PREFIXES


class Validate(Block, frozen=True, kw_only=True):
    """The systems that `lessee validate` checks; it looks for a system without a block at its default path in Vault."""

    timeout: Annotated[scalars.Timeout, describe("How long each check may take.")] = 5.0
    database: Annotated[DatabaseCheck | None, describe("The PostgreSQL database that the apps use.")] = None
    storage: Annotated[StorageCheck | None, describe("The S3-compatible object store.")] = None
    mcp_cache: Annotated[CacheCheck | None, describe("The cache of an MCP server.")] = None
    api_keys: Annotated[dict[scalars.Name, ApiKeyCheck], describe("API keys of providers, by name.")] = field(
        default_factory=dict
    )
    mcp_auth: Annotated[McpCheck | None, describe("An MCP server over HTTP that requires a key.")] = None
    frontend: Annotated[FrontendCheck | None, describe("The files that every visitor of a web site gets.")] = None
