"""The systems that have credentials of their own: how to recognize one, and where its credentials are in Vault."""

import re
from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct


class Kind(ImmutableStruct, frozen=True):
    """A kind of system. `path`: that of its credentials in Vault, if the project has one such system."""

    name: str
    path: str
    images: str
    """A pattern of the last part of the names of its images."""
    words: str
    """A pattern of the words in the names of its variables."""
    schemes: frozenset[str] = frozenset()
    user: str = ""
    """The user whose password the image sets by default."""
    fields: Mapping[str, str] = {}
    """The field of a variable, where it is not `password`."""

    @property
    def folder(self) -> str:
        """The folder of its path."""
        return self.path.rpartition("/")[0]


POSTGRES = Kind(
    "postgres",
    "database/postgres",
    r".*postg.*|timescaledb.*|pgvector.*|pgvecto-rs.*|spilo.*|supabase-postgres|cloudnative-pg|paradedb",
    "POSTGRES|POSTGRESQL|PG|PGSQL|PSQL|PGPASSWORD",
    frozenset({"postgres", "postgresql", "jdbc:postgresql", "pgsql", "cockroachdb"}),
    "postgres",
    {"POSTGRESQL_POSTGRES_PASSWORD": "root_password", "POSTGRESQL_REPLICATION_PASSWORD": "replication_password"},
)
MYSQL = Kind(
    "mysql",
    "database/mysql",
    r".*mysql.*|.*mariadb.*|percona.*",
    "MYSQL|MARIADB|MYSQLDB",
    frozenset({"mysql", "mysql2", "mariadb", "jdbc:mysql", "jdbc:mariadb"}),
    "root",
    {
        "MYSQL_ROOT_PASSWORD": "root_password",
        "MARIADB_ROOT_PASSWORD": "root_password",
        "MYSQL_REPLICATION_PASSWORD": "replication_password",
        "MARIADB_REPLICATION_PASSWORD": "replication_password",
    },
)
REDIS = Kind(
    "redis",
    "database/redis",
    r".*redis.*|valkey.*|keydb.*|dragonfly.*",
    "REDIS|VALKEY|KEYDB|REDISCLI|REQUIREPASS",
    frozenset({"redis", "rediss", "valkey"}),
)
MONGODB = Kind(
    "mongodb", "database/mongodb", r"mongo.*|.*mongodb.*", "MONGO|MONGODB", frozenset({"mongodb", "mongodb+srv"})
)
RABBITMQ = Kind(
    "rabbitmq", "messaging/rabbitmq", r"rabbitmq.*", "RABBITMQ|RABBIT|AMQP", frozenset({"amqp", "amqps"}), "guest"
)
MINIO = Kind(
    "minio",
    "storage/minio",
    r"minio.*",
    "MINIO",
    user="",
    fields={
        "MINIO_ROOT_USER": "access_key",
        "MINIO_ACCESS_KEY": "access_key",
        "MINIO_ROOT_PASSWORD": "secret_key",
        "MINIO_SECRET_KEY": "secret_key",
    },
)
OTHERS = (
    Kind("elasticsearch", "database/elasticsearch", r"elasticsearch.*", "ELASTIC|ELASTICSEARCH|ES", user="elastic"),
    Kind("opensearch", "database/opensearch", r"opensearch.*", "OPENSEARCH", user="admin"),
    Kind("clickhouse", "database/clickhouse", r"clickhouse.*", "CLICKHOUSE", frozenset({"clickhouse"}), "default"),
    Kind("influxdb", "database/influxdb", r"influxdb.*", "INFLUXDB|INFLUX"),
    Kind("neo4j", "database/neo4j", r"neo4j.*", "NEO4J", frozenset({"neo4j", "bolt"}), "neo4j"),
    Kind("mssql", "database/mssql", r"mssql.*|azure-sql-edge", "MSSQL|SA", frozenset({"mssql", "sqlserver"}), "sa"),
    Kind("couchdb", "database/couchdb", r"couchdb.*", "COUCHDB|COUCH", frozenset({"couchdb"})),
    Kind("qdrant", "database/qdrant", r"qdrant.*", "QDRANT"),
    Kind("meilisearch", "database/meilisearch", r"meilisearch.*", "MEILI|MEILISEARCH"),
    Kind("typesense", "database/typesense", r"typesense.*", "TYPESENSE"),
    Kind("weaviate", "database/weaviate", r"weaviate.*", "WEAVIATE"),
    Kind("surrealdb", "database/surrealdb", r"surrealdb.*", "SURREAL|SURREALDB"),
    Kind("nats", "messaging/nats", r"nats.*", "NATS", frozenset({"nats"})),
)
DATABASE = Kind("database", "database/database", r"(?!)", "DB|DATABASE|SQL|DATASOURCE|JDBC")
"""A database of a kind that the project does not show."""
KINDS = (POSTGRES, MYSQL, REDIS, MONGODB, RABBITMQ, MINIO, *OTHERS)
DATABASES = frozenset({"postgres", "mysql", "mongodb", "mssql", "clickhouse", "couchdb", "neo4j", "surrealdb"})
"""The kinds that a variable such as DB_PASSWORD may mean."""


def kind_of_image(reference: str) -> Kind | None:
    """The kind of system that an image runs; None: none of these."""
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    if _TOOL.search(name):
        return None
    return next((kind for kind in KINDS if re.fullmatch(kind.images, name)), None)


def kind_of_scheme(scheme: str) -> Kind | None:
    """The kind of system of a URL's scheme, also with a driver: `postgresql+asyncpg`."""
    lowered = scheme.lower()
    for candidate in (lowered, lowered.partition("+")[0]):
        for kind in KINDS:
            if candidate in kind.schemes:
                return kind
    return None


def kind_of_name(name: str) -> Kind | None:
    """The kind of system that a variable's name tells of; DATABASE for one of any database."""
    words = [word.upper() for word in _WORDS.findall(name)]
    found = (kind for kind in (*KINDS, DATABASE) if any(re.fullmatch(kind.words, word) for word in words))
    return next(found, None)


_TOOL = re.compile(
    r"exporter|admin|commander|express|backup|client|adapter|console|connector|insight|operator|mcp|proxy|pgbouncer"
    r"|pooler|-mc$|dump|migrat|postgrest|gui|\bui\b"
)
"""Words of images that only use such a system."""
_WORDS = re.compile(r"[A-Z0-9]+(?![a-z])|[A-Z]?[a-z0-9]+")
