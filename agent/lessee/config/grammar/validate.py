"""The block `validate:`: which systems an environment is made of, and where their credentials lie."""

from typing import Annotated, Literal

from msgspec import field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says

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


Provider = Literal["openrouter", "openai", "anthropic", "brave", "github", "mistral", "huggingface"]
"""Those of whom it is known how they tell whether a key is valid."""


class CheckedKey(Block, frozen=True, kw_only=True):
    """A key of somebody's API."""

    secret: Annotated[w.SecretPath, says("The secret that holds it.")]
    key: Annotated[w.Text, says("Its key in the secret.")] = "api_key"
    recipe: Annotated[Provider | None, says("Whose key it is; default: as it is called here.")] = None
    url: Annotated[w.HttpUrl | None, says("What to ask instead of the provider's own address.")] = None


class CheckedMcp(Block, frozen=True, kw_only=True):
    """An MCP server over HTTP that lets in who has its key."""

    url: Annotated[w.HttpUrl, says("Where it takes requests, such as `http://127.0.0.1:8000/mcp`.")]
    secret: Annotated[w.SecretPath, says("The secret that holds its key.")] = "mcp/memory-service"  # noqa: S105  # A path.
    key: Annotated[w.Text, says("Its key in the secret.")] = "api_key"
    header: Annotated[w.HttpHeader, says("What it is sent in; in Authorization as a bearer token.")] = "Authorization"


PUBLIC_PREFIXES = (
    "VITE_", "NEXT_PUBLIC_", "REACT_APP_", "PUBLIC_", "NUXT_PUBLIC_", "EXPO_PUBLIC_", "GATSBY_", "VUE_APP_",
    "STORYBOOK_",
)  # fmt: skip
"""How the variables begin that the build of a frontend writes into what every visitor gets."""


class CheckedFrontend(Block, frozen=True, kw_only=True):
    """What every visitor of a web site gets."""

    dist: Annotated[w.FilePath | None, says("The folder that a build wrote, relative to this file.")] = None
    env_files: Annotated[tuple[w.FilePath, ...], says("Files that a build reads its variables from.")] = ()
    public: Annotated[
        tuple[w.Text, ...], says("How the variables begin that a build writes into what visitors get.")
    ] = PUBLIC_PREFIXES


class Validate(Block, frozen=True, kw_only=True):
    """What `lessee validate` looks at; what is left out is looked for at its usual path in Vault."""

    timeout: Annotated[w.Timeout, says("How long each check may take.")] = 5.0
    database: Annotated[CheckedDatabase | None, says("The PostgreSQL that the apps use.")] = None
    storage: Annotated[CheckedStorage | None, says("The object store.")] = None
    mcp_cache: Annotated[CheckedCache | None, says("What an MCP server's cache lives in.")] = None
    api_keys: Annotated[dict[w.Name, CheckedKey], says("Keys of other people's APIs, by name.")] = field(
        default_factory=dict
    )
    mcp_auth: Annotated[CheckedMcp | None, says("An MCP server that asks for a key.")] = None
    frontend: Annotated[CheckedFrontend | None, says("What visitors of a web site get.")] = None
