"""A PostgreSQL, with the credentials in Vault: the login, what is behind it, and how long that will go on."""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from lessee.config.grammar.validate import RequiredPrivileges
from lessee.core import credentials as wanted
from lessee.core.credentials import PostgresLogin
from lessee.core.errors import LesseeError
from lessee.host.http_client import is_loopback
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject
from lessee.ops.validate.credentials import credentials, library
from lessee.ops.validate.network import reach
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Result, Teller

if TYPE_CHECKING:
    import psycopg

_NAMES = (
    "postgres-secret",
    "postgres-reachable",
    "postgres-login",
    "postgres-database",
    "postgres-tls",
    "postgres-not-superuser",
    "postgres-rights",
    "postgres-password-expiry",
    "postgres-connections",
    "postgres-clock",
)
_SHARE = 0.5
"""Of a check's time, for the connection alone."""
_FULL = ("too many clients", "too many connections", "remaining connection slots")
_ROLE = """
    SELECT rolsuper,
           CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil - now()) END::float8
    FROM pg_roles WHERE rolname = session_user
"""
_ROOM = """
    SELECT (SELECT sum(numbackends) FROM pg_stat_database)::int,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
"""
_CAN = "has_table_privilege(%(t)s, 'SELECT') AND has_table_privilege(%(t)s, 'INSERT')"
_TABLE = f"""
    SELECT to_regclass(%(t)s) IS NOT NULL,
           CASE WHEN to_regclass(%(t)s) IS NOT NULL THEN {_CAN}
                AND has_table_privilege(%(t)s, 'UPDATE') AND has_table_privilege(%(t)s, 'DELETE') END
"""


def check(subject: Subject, tell: Teller, path: str, rights: RequiredPrivileges, *, configured: bool) -> Check:
    """All about the database of one secret."""
    return Check(tell.component, _NAMES, partial(_look, subject, tell, path, rights, configured=configured))


def _look(subject: Subject, tell: Teller, path: str, rights: RequiredPrivileges, *, configured: bool) -> Iterator[Result]:
    login = credentials(subject, path, wanted.postgres, configured=configured)
    yield tell.passed("postgres-secret", f"Database credentials found in Vault ({path})")
    if silence := reach(login.host, login.port, subject.timeout * _SHARE):
        todo = "start it, or mend host and port in the secret and the network on the way"
        yield tell.critical("postgres-reachable", f"PostgreSQL does not answer at {login.address}: {silence}", todo)
        return
    yield tell.passed("postgres-reachable", f"PostgreSQL answers at {login.address}")
    driver = library("psycopg")
    try:
        connection = _connect(driver, login, subject.timeout * _SHARE)
    except driver.Error as exc:
        yield from _refused(tell, login, str(exc))
        return
    try:
        with connection:
            yield tell.passed("postgres-login", f"PostgreSQL login as {login.username} works")
            yield from _inside(tell, login, connection)
            yield _rights(tell, driver, connection, rights)
            yield from _prospects(tell, connection)
    except driver.Error as exc:
        todo = "see PostgreSQL's own log; may the role look into pg_catalog, and did the connection last?"
        raise LesseeError(f"PostgreSQL does not say ({type(exc).__name__})", todo=todo) from None


def _connect(driver: Any, login: PostgresLogin, timeout: float) -> "psycopg.Connection[Any]":
    secured = {"sslmode": login.sslmode} if login.sslmode else {}
    if login.ca_file:
        secured["sslrootcert"] = login.ca_file
    connection: psycopg.Connection[Any] = driver.connect(
        host=login.host,
        port=login.port,
        dbname=login.database,
        user=login.username,
        password=login.password,
        connect_timeout=max(int(timeout), 2),  # libpq takes no less.
        application_name="lessee validate",
        autocommit=True,
        **secured,
    )
    return connection


def _refused(tell: Teller, login: PostgresLogin, said: str) -> Iterator[Result]:
    """What the server said is only looked into: it may quote what it was sent."""
    if "authentication failed" in said or "no password" in said:
        todo = "write the role's password into the secret, or set it anew: ALTER ROLE … PASSWORD …"
        yield tell.critical("postgres-login", f"PostgreSQL refuses the password of {login.username}", todo)
    elif f'database "{login.database}" does not exist' in said:
        yield tell.passed("postgres-login", f"PostgreSQL login as {login.username} works")
        todo = "make it (CREATE DATABASE), or mend `database` in the secret"
        yield tell.critical("postgres-database", f"there is no database {login.database}", todo)
    elif any(words in said for words in _FULL):
        todo = "end idle sessions, put a pooler in between, or raise max_connections"
        yield tell.critical("postgres-connections", "PostgreSQL has no connection left", todo)
    elif "SSL" in said or "certificate" in said:
        todo = "does the server speak TLS, and does its certificate fit sslmode, ca_file and host?"
        yield tell.critical("postgres-tls", f"no TLS connection to {login.address} comes about", todo)
    else:
        todo = "see PostgreSQL's own log; may the role log in (LOGIN, pg_hba.conf, CONNECT)?"
        yield tell.critical("postgres-login", f"PostgreSQL refuses {login.username}", todo)


def _inside(tell: Teller, login: PostgresLogin, connection: "psycopg.Connection[Any]") -> Iterator[Result]:
    (name,) = _row(connection, "SELECT current_database()")
    if name == login.database:
        yield tell.passed("postgres-database", f"the database is {login.database}")
    else:
        todo = "what stands between (a pooler?) leads elsewhere: mend its configuration"
        yield tell.critical("postgres-database", f"another database answers than {login.database}", todo)
    yield thresholds.wire(
        tell,
        "postgres-tls",
        "PostgreSQL",
        loopback=is_loopback(login.host),
        tls=bool(connection.pgconn.ssl_in_use),
        verified=login.sslmode.startswith("verify-"),
    )
    is_superuser, left = _row(connection, _ROLE)
    if is_superuser:
        todo = "let the apps log in by a role of their own: CREATE ROLE … LOGIN NOSUPERUSER"
        yield tell.warning("postgres-not-superuser", f"{login.username} is a superuser", todo)
    else:
        yield tell.passed("postgres-not-superuser", f"{login.username} is no superuser")
    if left is None:
        yield tell.passed("postgres-password-expiry", "the password does not end")
    else:
        todo = "set it anew: ALTER ROLE … PASSWORD … VALID UNTIL …"
        yield thresholds.expiry(tell, "postgres-password-expiry", "the password", left, todo)


def _rights(tell: Teller, driver: Any, connection: "psycopg.Connection[Any]", rights: RequiredPrivileges) -> Result:
    schema, creatable = _row(connection, "SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
    lacking = [] if schema else ["USAGE on any schema of its search_path"]
    if rights.create and not creatable:
        lacking.append(f"CREATE on schema {schema}" if schema else "CREATE on a schema")
    lacking += filter(None, (_lack(driver, connection, table) for table in rights.tables))
    if lacking:
        return tell.critical("postgres-rights", f"the role lacks {'; '.join(lacking)}", "grant it: GRANT … ON … TO …")
    return tell.passed("postgres-rights", "the role has the rights that it needs")


def _lack(driver: Any, connection: "psycopg.Connection[Any]", table: str) -> str:
    """What the role lacks of a table; empty where that is nothing."""
    try:
        there, granted = _row(connection, _TABLE, {"t": table})
    except driver.errors.InsufficientPrivilege:
        return f"USAGE on the schema of {table}"
    except (driver.ProgrammingError, driver.NotSupportedError):
        return f"the table {table}, which is no table's name"
    if not there:
        return f"the table {table}, which is not there"
    return "" if granted else f"SELECT, INSERT, UPDATE and DELETE on {table}"


def _prospects(tell: Teller, connection: "psycopg.Connection[Any]") -> Iterator[Result]:
    used, most = _row(connection, _ROOM)
    todo = "end idle sessions, put a pooler in between, or raise max_connections"
    yield thresholds.room(tell, "postgres-connections", "connections of PostgreSQL", used, most, todo)
    before = time.time()
    (there,) = _row(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    here = (before + time.time()) / 2
    yield thresholds.skew(tell, "postgres-clock", "PostgreSQL", here - there)


def _row(
    connection: "psycopg.Connection[Any]", statement: str, values: dict[str, str] | None = None
) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return tuple(row)
