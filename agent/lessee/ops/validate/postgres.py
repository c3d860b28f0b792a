"""Checks a PostgreSQL with the credentials in Vault: the login, TLS, privileges, expiry and connections."""

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
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import library, read_login
from lessee.ops.validate.network import connection_error
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter, Result

if TYPE_CHECKING:
    import psycopg

_NAMES = (
    "postgres-secret",
    "postgres-reachable",
    "postgres-login",
    "postgres-database",
    "postgres-tls",
    "postgres-not-superuser",
    "postgres-privileges",
    "postgres-password-expiry",
    "postgres-connections",
    "postgres-clock",
)
_SHARE = 0.5
"""Of a check's time, for the connection."""
_FULL = ("too many clients", "too many connections", "remaining connection slots")
_MORE_CONNECTIONS = "end idle sessions, use a connection pooler, or increase max_connections"
_ROLE = """
    SELECT rolsuper,
           CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil - now()) END::float8
    FROM pg_roles WHERE rolname = session_user
"""
_CONNECTIONS = """
    SELECT (SELECT sum(numbackends) FROM pg_stat_database)::int,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
"""
_CAN = "has_table_privilege(%(t)s, 'SELECT') AND has_table_privilege(%(t)s, 'INSERT')"
_TABLE = f"""
    SELECT to_regclass(%(t)s) IS NOT NULL,
           CASE WHEN to_regclass(%(t)s) IS NOT NULL THEN {_CAN}
                AND has_table_privilege(%(t)s, 'UPDATE') AND has_table_privilege(%(t)s, 'DELETE') END
"""


def check(
    context: ValidationContext, reporter: Reporter, path: str, privileges: RequiredPrivileges, *, configured: bool
) -> Check:
    """The check of the database of one secret."""
    run = partial(_check, context, reporter, path, privileges, configured=configured)
    return Check(reporter.component, _NAMES, run)


def _check(
    context: ValidationContext, reporter: Reporter, path: str, privileges: RequiredPrivileges, *, configured: bool
) -> Iterator[Result]:
    login = read_login(context, path, wanted.postgres, configured=configured)
    yield reporter.passed("postgres-secret", f"Database credentials found in Vault ({path})")
    if error := connection_error(login.host, login.port, context.timeout * _SHARE):
        todo = "start it, or correct host and port in the secret, or the network"
        yield reporter.critical("postgres-reachable", f"PostgreSQL does not answer at {login.address}: {error}", todo)
        return
    yield reporter.passed("postgres-reachable", f"PostgreSQL answers at {login.address}")
    driver = library("psycopg")
    try:
        connection = _connect(driver, login, context.timeout * _SHARE)
    except driver.Error as exc:
        yield from _login_failure(reporter, login, str(exc))
        return
    try:
        with connection:
            yield reporter.passed("postgres-login", f"PostgreSQL login as {login.username} works")
            yield from _check_session(reporter, login, connection)
            yield _check_privileges(reporter, driver, connection, privileges)
            yield from _check_limits(reporter, connection)
    except driver.Error as exc:
        todo = "see PostgreSQL's own log, and check that the role may read pg_catalog"
        raise LesseeError(f"PostgreSQL does not answer a query ({type(exc).__name__})", todo=todo) from None


def _connect(driver: Any, login: PostgresLogin, timeout: float) -> "psycopg.Connection[Any]":
    connection: psycopg.Connection[Any] = driver.connect(
        host=login.host,
        port=login.port,
        dbname=login.database,
        user=login.username,
        password=login.password,
        connect_timeout=max(int(timeout), 2),  # The minimum of libpq.
        application_name="lessee validate",
        autocommit=True,
        **login.security,
    )
    return connection


def _login_failure(reporter: Reporter, login: PostgresLogin, error: str) -> Iterator[Result]:
    """The result for a server's error, which is not printed: it may quote what it was sent."""
    if "invalid connection option" in error:
        todo = "install psycopg[binary], or libpq 16 or later"
        yield reporter.critical("postgres-login", "libpq cannot refuse to send a password in clear text", todo)
    elif "authentication method requirement" in error:
        todo = "set sslmode: verify-full in the secret, or have the server use scram-sha-256"
        what = f"PostgreSQL at {login.address} asks for the password in clear text"
        yield reporter.critical("postgres-login", what, todo)
    elif "authentication failed" in error or "no password" in error:
        todo = "write the role's password into the secret, or set a new one: ALTER ROLE … PASSWORD …"
        yield reporter.critical("postgres-login", f"PostgreSQL rejects the password of {login.username}", todo)
    elif f'database "{login.database}" does not exist' in error:
        yield reporter.passed("postgres-login", f"PostgreSQL login as {login.username} works")
        todo = "create it (CREATE DATABASE), or correct `database` in the secret"
        yield reporter.critical("postgres-database", f"the database {login.database} does not exist", todo)
    elif any(words in error for words in _FULL):
        yield reporter.critical("postgres-connections", "PostgreSQL has no free connection", _MORE_CONNECTIONS)
    elif "SSL" in error or "certificate" in error:
        todo = "check that the server has TLS, and a certificate that matches sslmode, ca_file and host"
        yield reporter.critical("postgres-tls", f"the TLS connection to {login.address} fails", todo)
    else:
        todo = "see PostgreSQL's own log, and check LOGIN, CONNECT and pg_hba.conf"
        yield reporter.critical("postgres-login", f"PostgreSQL rejects {login.username}", todo)


def _check_session(reporter: Reporter, login: PostgresLogin, connection: "psycopg.Connection[Any]") -> Iterator[Result]:
    (name,) = _row(connection, "SELECT current_database()")
    if name == login.database:
        yield reporter.passed("postgres-database", f"the database is {login.database}")
    else:
        todo = "correct the configuration of the connection pooler in between"
        yield reporter.critical(
            "postgres-database", f"the connection leads to a database other than {login.database}", todo
        )
    yield thresholds.encryption(
        reporter,
        "postgres-tls",
        "PostgreSQL",
        loopback=is_loopback(login.host),
        tls=bool(connection.pgconn.ssl_in_use),
        verified=login.sslmode.startswith("verify-"),
    )
    is_superuser, left = _row(connection, _ROLE)
    if is_superuser:
        todo = "create a role for the apps: CREATE ROLE … LOGIN NOSUPERUSER"
        yield reporter.warning("postgres-not-superuser", f"{login.username} is a superuser", todo)
    else:
        yield reporter.passed("postgres-not-superuser", f"{login.username} is not a superuser")
    if left is None:
        yield reporter.passed("postgres-password-expiry", "the password does not expire")
    else:
        todo = "set a new one: ALTER ROLE … PASSWORD … VALID UNTIL …"
        yield thresholds.expiry(reporter, "postgres-password-expiry", "the password", left, todo)


def _check_privileges(
    reporter: Reporter, driver: Any, connection: "psycopg.Connection[Any]", privileges: RequiredPrivileges
) -> Result:
    schema, can_create = _row(connection, "SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
    missing = [] if schema else ["USAGE on any schema of its search_path"]
    if privileges.create and not can_create:
        missing.append(f"CREATE on schema {schema}" if schema else "CREATE on a schema")
    missing += filter(None, (_missing_on(driver, connection, table) for table in privileges.tables))
    if missing:
        todo = "grant it: GRANT … ON … TO …"
        return reporter.critical("postgres-privileges", f"the role lacks {'; '.join(missing)}", todo)
    return reporter.passed("postgres-privileges", "the role has all required privileges")


def _missing_on(driver: Any, connection: "psycopg.Connection[Any]", table: str) -> str:
    """What the role lacks for a table; empty where it lacks nothing."""
    try:
        exists, granted = _row(connection, _TABLE, {"t": table})
    except driver.errors.InsufficientPrivilege:
        return f"USAGE on the schema of {table}"
    except (driver.ProgrammingError, driver.NotSupportedError):
        return f"the table {table}, which is not a valid name"
    if not exists:
        return f"the table {table}, which does not exist"
    return "" if granted else f"SELECT, INSERT, UPDATE and DELETE on {table}"


def _check_limits(reporter: Reporter, connection: "psycopg.Connection[Any]") -> Iterator[Result]:
    used, maximum = _row(connection, _CONNECTIONS)
    resource = "connections of PostgreSQL"
    yield thresholds.usage(reporter, "postgres-connections", resource, used, maximum, _MORE_CONNECTIONS)
    before = time.time()
    (server_time,) = _row(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    local_time = (before + time.time()) / 2
    yield thresholds.skew(reporter, "postgres-clock", "PostgreSQL", local_time - server_time)


def _row(
    connection: "psycopg.Connection[Any]", statement: str, values: dict[str, str] | None = None
) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return tuple(row)
