"""How PostgreSQL and Redis are broken, and which check must fail then."""

from contextlib import contextmanager

from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Breakage, Table
from support.environments.sound_environment import clock_ahead, postgres_with_tls
from support.servers.detours import Detour

DATABASES = {"database": ("database/postgres", "validated"), "mcp_cache": ("cache/database", "cached")}
ROWS = Table()
broken = ROWS.broken


def of_both(check, level):
    """Puts a way to break a PostgreSQL into the table, for both of them."""

    def put(how):
        for component, (path, role) in DATABASES.items():
            ROWS.append(Breakage(component, check, level, _bound(how, path, role)))
        return how

    return put


def _bound(how, *arguments):
    def bound(it):
        return how(it, *arguments)

    bound.__name__ = how.__name__
    return bound


@of_both("postgres-secret", CRITICAL)
def its_secret_lacks_a_key(it, path, _):
    return it.with_secret(path, password=None)


@of_both("postgres-secret", CRITICAL)
@contextmanager
def its_secret_is_gone(it, path, _):
    it.bao.ask("DELETE", f"secret/metadata/testing/{path}")
    yield
    it.write(path, **it.secrets[path])


@of_both("postgres-reachable", CRITICAL)
def postgres_is_elsewhere(it, path, _):
    return it.with_secret(path, port=free_port())


@of_both("postgres-reachable", CRITICAL)
def its_name_is_not_resolved(it, path, _):
    return it.with_secret(path, host="nowhere.invalid")


@of_both("postgres-login", CRITICAL)
def its_password_is_wrong(it, path, _):
    return it.with_secret(path, password=it.value())


@of_both("postgres-login", CRITICAL)
def its_role_may_not_log_in(it, _, role):
    return _altered(it, role, "NOLOGIN", "LOGIN")


@of_both("postgres-database", CRITICAL)
def its_database_is_not_there(it, path, _):
    return it.with_secret(path, database="nowhere")


@of_both("postgres-tls", CRITICAL)
def it_speaks_no_tls(it, path, _):
    return it.with_secret(path, sslmode="verify-full")


@of_both("postgres-tls", CRITICAL)
@contextmanager
def its_password_crosses_the_network(it, path, _):
    with Detour(it.postgres.port) as way, it.with_secret(path, host=way.host, port=way.port):
        yield


@of_both("postgres-tls", WARNING)
@contextmanager
def nobody_looks_whose_certificate_it_is(it, path, _):
    with (
        postgres_with_tls(it),
        Detour(it.postgres.port) as way,
        it.with_secret(path, host=way.host, port=way.port, sslmode="require"),
    ):
        yield


@of_both("postgres-tls", CRITICAL)
@contextmanager
def its_certificate_is_of_another_authority(it, path, _):
    with postgres_with_tls(it), it.with_secret(path, sslmode="verify-full", ca_file=str(it.stranger)):
        yield


@of_both("postgres-not-superuser", WARNING)
def its_role_is_a_superuser(it, _, role):
    return _altered(it, role, "SUPERUSER", "NOSUPERUSER")


@of_both("postgres-rights", CRITICAL)
def its_role_may_use_no_schema(it, _, role):
    return _altered(it, role, "SET search_path TO nowhere", "RESET search_path")


@of_both("postgres-password-expiry", CRITICAL)
def its_password_ends_tomorrow(it, _, role):
    return _valid(it, role, 1)


@of_both("postgres-password-expiry", WARNING)
def its_password_ends_next_week(it, _, role):
    return _valid(it, role, 7)


@of_both("postgres-connections", CRITICAL)
def its_role_has_no_connection_left(it, _, role):
    return _altered(it, role, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1")


@of_both("postgres-clock", CRITICAL)
def its_clock_is_two_minutes_behind(it, *_):
    return clock_ahead(it, 120)


@broken("database", "postgres-rights", CRITICAL)
@contextmanager
def its_role_may_not_write_into_a_table(it):
    it.postgres.sql("REVOKE DELETE ON orders FROM validated", database="validated")
    yield
    it.postgres.sql("GRANT ALL ON orders TO validated", database="validated")


@broken("database", "postgres-rights", CRITICAL)
def a_table_is_not_there(it):
    return it.with_config(validate={"database": {"privileges": {"tables": ["orders", "nowhere"]}}})


@broken("database", "postgres-rights", CRITICAL)
@contextmanager
def its_role_may_not_use_the_schema_of_a_table(it):
    it.postgres.sql("CREATE SCHEMA hidden CREATE TABLE orders (id int)", database="validated")
    with it.with_config(validate={"database": {"privileges": {"tables": ["hidden.orders"]}}}):
        yield
    it.postgres.sql("DROP SCHEMA hidden CASCADE", database="validated")


@broken("database", "postgres-rights", CRITICAL)
def no_table_is_called_so(it):
    return it.with_config(validate={"database": {"privileges": {"tables": ['"', "a.b.c.d"]}}})


@broken("database", "postgres-not-superuser", CRITICAL)
@contextmanager
def its_role_may_not_look_at_roles(it):
    it.postgres.sql("REVOKE SELECT ON pg_roles FROM PUBLIC", database="validated")
    yield
    it.postgres.sql("GRANT SELECT ON pg_roles TO PUBLIC", database="validated")


@contextmanager
def _altered(it, role, how, back):
    it.postgres.sql(f"ALTER ROLE {role} {how}")
    yield
    it.postgres.sql(f"ALTER ROLE {role} {back}")


@contextmanager
def _valid(it, role, days):
    until = it.postgres.sql(f"SELECT (now() + interval '{days} days')::text")[0][0]
    with _altered(it, role, f"VALID UNTIL '{until}'", "VALID UNTIL 'infinity'"):
        yield


@broken("mcp_cache", "redis-secret", CRITICAL)
def the_secret_of_redis_lacks_a_key(it):
    return it.with_secret("cache/redis", password=None)


@broken("mcp_cache", "redis-reachable", CRITICAL)
def redis_is_elsewhere(it):
    return it.with_secret("cache/redis", port=free_port())


@broken("mcp_cache", "redis-tls", CRITICAL)
@contextmanager
def the_password_of_redis_crosses_the_network(it):
    with Detour(it.redis.port) as way, it.with_secret("cache/redis", host=way.host, port=way.port):
        yield


@broken("mcp_cache", "redis-tls", CRITICAL)
def the_certificate_of_redis_is_of_another_authority(it):
    return it.with_secret("cache/redis", port=it.redis.tls_port, tls=True, ca_file=str(it.stranger))


@broken("mcp_cache", "redis-login", CRITICAL)
def the_password_of_redis_is_wrong(it):
    return it.with_secret("cache/redis", password=it.value())


@broken("mcp_cache", "redis-tls", CRITICAL)
@contextmanager
def redis_speaks_no_tls(it):
    # It waits for more of what it takes for a command.
    with it.with_secret("cache/redis", tls=True), it.with_config(validate={"timeout": "5s"}):
        yield


@broken("mcp_cache", "redis-probe", CRITICAL)
def the_user_of_redis_may_not_write(it):
    return _acl(it, ["app", "-set"], ["app", "+set"])


@broken("mcp_cache", "redis-demands-login", CRITICAL)
def redis_lets_anybody_in(it):
    return _acl(it, ["default", "nopass"], ["default", "resetpass", f">{it.redis.password}"])


@broken("mcp_cache", "redis-refuses-wrong-password", CRITICAL)
def redis_takes_any_password(it):
    return _acl(it, ["app", "nopass"], ["app", "resetpass", f">{it.secrets['cache/redis']['password']}"])


@contextmanager
def _acl(it, how, back):
    it.redis.ask("ACL", "SETUSER", *how)
    yield
    it.redis.ask("ACL", "SETUSER", *back)
