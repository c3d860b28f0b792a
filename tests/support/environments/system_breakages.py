"""Ways to break PostgreSQL and Redis, each with the check that must fail."""

from contextlib import contextmanager

from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Breakage, Table
from support.environments.server_environment import clock_ahead, postgres_with_tls
from support.servers.clear_password_postgres import ClearPasswordPostgres
from support.servers.detours import Detour

DATABASES = {"database": ("database/postgres", "validated"), "mcp_cache": ("cache/database", "cached")}
ROWS = Table()
broken = ROWS.broken


def of_both(check, level):
    """Decorates a function that breaks a PostgreSQL, and adds it for both of them."""

    def add(how):
        for component, (path, role) in DATABASES.items():
            ROWS.append(Breakage(component, check, level, _bound(how, path, role)))
        return how

    return add


def _bound(how, *arguments):
    def bound(env):
        return how(env, *arguments)

    bound.__name__ = how.__name__
    return bound


@of_both("postgres-secret", CRITICAL)
def its_secret_lacks_a_key(env, path, _):
    return env.with_secret(path, password=None)


@of_both("postgres-secret", CRITICAL)
@contextmanager
def its_secret_is_deleted(env, path, _):
    env.bao.ask("DELETE", f"secret/metadata/testing/{path}")
    yield
    env.write(path, **env.secrets[path])


@of_both("postgres-reachable", CRITICAL)
def postgres_has_another_port(env, path, _):
    return env.with_secret(path, port=free_port())


@of_both("postgres-reachable", CRITICAL)
def its_host_cannot_be_resolved(env, path, _):
    return env.with_secret(path, host="nowhere.invalid")


@of_both("postgres-login", CRITICAL)
def its_password_is_wrong(env, path, _):
    return env.with_secret(path, password=env.value())


@of_both("postgres-login", CRITICAL)
@contextmanager
def another_server_asks_for_its_password(env, path, _):
    with ClearPasswordPostgres() as server, env.with_secret(path, port=server.port):
        yield
    assert not server.passwords


@of_both("postgres-login", CRITICAL)
def its_role_may_not_log_in(env, _, role):
    return _altered(env, role, "NOLOGIN", "LOGIN")


@of_both("postgres-database", CRITICAL)
def its_database_is_missing(env, path, _):
    return env.with_secret(path, database="nowhere")


@of_both("postgres-tls", CRITICAL)
def it_has_no_tls(env, path, _):
    return env.with_secret(path, sslmode="verify-full")


@of_both("postgres-tls", CRITICAL)
@contextmanager
def its_password_crosses_the_network(env, path, _):
    with Detour(env.postgres.port) as way, env.with_secret(path, host=way.host, port=way.port):
        yield


@of_both("postgres-tls", WARNING)
@contextmanager
def its_certificate_is_not_verified(env, path, _):
    with (
        postgres_with_tls(env),
        Detour(env.postgres.port) as way,
        env.with_secret(path, host=way.host, port=way.port, sslmode="require"),
    ):
        yield


@of_both("postgres-tls", CRITICAL)
@contextmanager
def it_has_a_certificate_of_another_authority(env, path, _):
    with postgres_with_tls(env), env.with_secret(path, sslmode="verify-full", ca_file=str(env.stranger)):
        yield


@of_both("postgres-not-superuser", WARNING)
def its_role_is_a_superuser(env, _, role):
    return _altered(env, role, "SUPERUSER", "NOSUPERUSER")


@of_both("postgres-privileges", CRITICAL)
def its_role_may_use_no_schema(env, _, role):
    return _altered(env, role, "SET search_path TO nowhere", "RESET search_path")


@of_both("postgres-password-expiry", CRITICAL)
def its_password_expires_tomorrow(env, _, role):
    return _valid(env, role, 1)


@of_both("postgres-password-expiry", WARNING)
def its_password_expires_next_week(env, _, role):
    return _valid(env, role, 7)


@of_both("postgres-connections", CRITICAL)
def its_role_has_no_free_connection(env, _, role):
    return _altered(env, role, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1")


@of_both("postgres-clock", CRITICAL)
def its_clock_is_two_minutes_behind(env, *_):
    return clock_ahead(env, 120)


@broken("database", "postgres-privileges", CRITICAL)
@contextmanager
def its_role_may_not_write_to_a_table(env):
    env.postgres.sql("REVOKE DELETE ON orders FROM validated", database="validated")
    yield
    env.postgres.sql("GRANT ALL ON orders TO validated", database="validated")


@broken("database", "postgres-privileges", CRITICAL)
def a_table_is_missing(env):
    return env.with_config(validate={"database": {"privileges": {"tables": ["orders", "nowhere"]}}})


@broken("database", "postgres-privileges", CRITICAL)
@contextmanager
def its_role_may_not_use_the_schema_of_a_table(env):
    env.postgres.sql("CREATE SCHEMA hidden CREATE TABLE orders (id int)", database="validated")
    with env.with_config(validate={"database": {"privileges": {"tables": ["hidden.orders"]}}}):
        yield
    env.postgres.sql("DROP SCHEMA hidden CASCADE", database="validated")


@broken("database", "postgres-privileges", CRITICAL)
def a_table_name_is_invalid(env):
    return env.with_config(validate={"database": {"privileges": {"tables": ['"', "a.b.c.d"]}}})


@broken("database", "postgres-not-superuser", CRITICAL)
@contextmanager
def its_role_may_not_read_roles(env):
    env.postgres.sql("REVOKE SELECT ON pg_roles FROM PUBLIC", database="validated")
    yield
    env.postgres.sql("GRANT SELECT ON pg_roles TO PUBLIC", database="validated")


@contextmanager
def _altered(env, role, how, back):
    env.postgres.sql(f"ALTER ROLE {role} {how}")
    yield
    env.postgres.sql(f"ALTER ROLE {role} {back}")


@contextmanager
def _valid(env, role, days):
    until = env.postgres.sql(f"SELECT (now() + interval '{days} days')::text")[0][0]
    with _altered(env, role, f"VALID UNTIL '{until}'", "VALID UNTIL 'infinity'"):
        yield


@broken("mcp_cache", "redis-secret", CRITICAL)
def the_secret_of_redis_lacks_a_key(env):
    return env.with_secret("cache/redis", password=None)


@broken("mcp_cache", "redis-reachable", CRITICAL)
def redis_has_another_port(env):
    return env.with_secret("cache/redis", port=free_port())


@broken("mcp_cache", "redis-tls", CRITICAL)
@contextmanager
def the_password_of_redis_crosses_the_network(env):
    with Detour(env.redis.port) as way, env.with_secret("cache/redis", host=way.host, port=way.port):
        yield


@broken("mcp_cache", "redis-tls", CRITICAL)
def redis_has_a_certificate_of_another_authority(env):
    return env.with_secret("cache/redis", port=env.redis.tls_port, tls=True, ca_file=str(env.stranger))


@broken("mcp_cache", "redis-login", CRITICAL)
def the_password_of_redis_is_wrong(env):
    return env.with_secret("cache/redis", password=env.value())


@broken("mcp_cache", "redis-tls", CRITICAL)
@contextmanager
def redis_has_no_tls(env):
    # Redis takes the handshake for an incomplete command, and waits for more.
    with env.with_secret("cache/redis", tls=True), env.with_config(validate={"timeout": "5s"}):
        yield


@broken("mcp_cache", "redis-probe", CRITICAL)
def the_user_of_redis_may_not_write(env):
    return _acl(env, ["app", "-set"], ["app", "+set"])


@broken("mcp_cache", "redis-requires-login", CRITICAL)
def redis_accepts_clients_without_a_login(env):
    return _acl(env, ["default", "nopass"], ["default", "resetpass", f">{env.redis.password}"])


@broken("mcp_cache", "redis-rejects-wrong-password", CRITICAL)
def redis_accepts_any_password(env):
    return _acl(env, ["app", "nopass"], ["app", "resetpass", f">{env.secrets['cache/redis']['password']}"])


@broken("mcp_cache", "cache-secret", WARNING)
@contextmanager
def a_secret_of_the_cache_has_no_known_keys(env):
    env.bao.put("testing/cache/other", note="no address")
    yield
    env.bao.ask("DELETE", "secret/metadata/testing/cache/other")


@contextmanager
def _acl(env, how, back):
    env.redis.ask("ACL", "SETUSER", *how)
    yield
    env.redis.ask("ACL", "SETUSER", *back)
