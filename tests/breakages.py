"""How each part of an environment is broken, and which check must fail then: vault, database, caches and storage."""

import json
import secrets
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from cluster import Cluster
from detours import Detour
from environments import PATIENCE, POLICY, clock_ahead, postgres_with_tls
from faults import Proxy, Sky
from lessee.host.openbao import ROOT_TOKEN, OpenBao, free_port
from sidecar import Sidecar, eventually
from stores import Store

CRITICAL, WARNING = "critical", "warning"
DATABASES = {"database": ("database/postgres", "validated"), "mcp_cache": ("cache/database", "cached")}
CLOSED = """
path "secret/data/testing/*"     { capabilities = ["deny"] }
path "secret/metadata/testing/*" { capabilities = ["list"] }
"""
OPEN = """
path "secret/data/testing/*" { capabilities = ["read"] }
path "secret/data/production/*" { capabilities = ["read"] }
"""
OLD = 'path "old/testing/*" { capabilities = ["read"] }'
BRIEF = '{% set db = dynamic("database/creds/brief") %}{{ db.username }}\n'


class Breakage(NamedTuple):
    """What fails at which level, and what breaks it for as long as it lasts."""

    component: str
    check: str
    level: str
    how: object
    also: frozenset = frozenset()
    """Other checks of the component that cannot but fail with it."""


def broken(component, check, level, *also):
    """Puts a way to break something into the table."""

    def put(how):
        ROWS.append(Breakage(component, check, level, how, frozenset(also)))
        return how

    return put


ROWS = []


# Vault


@broken("vault", "reachable", CRITICAL)
def nobody_listens(it):
    return it.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"})


@broken("vault", "reachable", WARNING)
def a_node_is_away(it):
    addresses = [it.secure["good"], f"https://127.0.0.1:{free_port()}"]
    return _addresses(it, addresses)


@contextmanager
def _addresses(it, addresses):
    with it.with_config(vault={"addresses": addresses}):
        del it.config["vault"]["address"]
        yield


@broken("vault", "reachable", CRITICAL)
def another_authority_is_trusted(it):
    return it.with_config(vault={"ca_file": None})


@broken("vault", "initialised", CRITICAL)
@contextmanager
def it_was_never_initialised(it):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        node = Cluster(Path(folder), nodes=1)
        stack.callback(node.stop, 0)
        node.start(0, unseal=False)
        with it.with_config(vault={"address": node.nodes[0].address}):
            yield


@broken("vault", "unsealed", CRITICAL)
@contextmanager
def it_is_sealed(it):
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), nodes=1) as cluster:
        cluster.seal(0)
        with it.with_config(vault={"address": cluster.nodes[0].address}):
            yield


@broken("vault", "active-node", CRITICAL)
@contextmanager
def the_majority_is_gone(it):
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        active = cluster.active()
        left = next(i for i in range(3) if i != active)
        for i in {0, 1, 2} - {left}:
            cluster.stop(i)
        with it.with_config(vault={"address": cluster.nodes[left].address}):
            yield


@broken("vault", "tls", CRITICAL)
@contextmanager
def tokens_cross_the_network(it):
    with Detour(it.bao.port) as way, it.with_config(vault={"address": f"http://{way.host}:{way.port}"}):
        yield


@broken("vault", "tls", CRITICAL)
def nothing_is_verified(it):
    return it.with_config(vault={"insecure": True})


@broken("vault", "tls-expiry", CRITICAL)
def the_certificate_ends_tomorrow(it):
    return it.with_config(vault={"address": it.secure["now"]})


@broken("vault", "tls-expiry", WARNING)
def the_certificate_ends_next_week(it):
    return it.with_config(vault={"address": it.secure["soon"]})


@broken("vault", "clock-skew", WARNING)
def the_clock_is_half_a_minute_ahead(it):
    return clock_ahead(it, 30)


@broken("vault", "clock-skew", CRITICAL)
def the_clock_is_two_minutes_ahead(it):
    return clock_ahead(it, 120)


@broken("vault", "login", CRITICAL)
@contextmanager
def the_secret_id_is_wrong(it):
    file = Path(it.config["vault"]["auth"]["secret_id_file"])
    before = file.read_text()
    file.write_text(it.value())
    yield
    file.write_text(before)


@broken("vault", "login", CRITICAL)
def the_token_is_not_valid(it):
    return it.with_token_file(it.value())


@broken("vault", "token-not-root", CRITICAL, "environments-apart")
def the_token_is_root(it):
    return it.with_token_file(ROOT_TOKEN)


@broken("vault", "token-ttl", CRITICAL)
def the_token_ends_in_seconds(it):
    return it.with_token(["validated"], ttl="15s")


@broken("vault", "token-renewable", WARNING)
def the_token_cannot_be_renewed(it):
    return it.with_token(["validated"], ttl="1h", renewable=False)


@broken("vault", "kv-version-2", WARNING)
@contextmanager
def the_mount_keeps_no_versions(it):
    it.bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    with _policy(it, "old", OLD), it.with_config(secrets={"mount": "old"}):
        yield
    it.bao.ask("DELETE", "sys/mounts/old")


@contextmanager
def _policy(it, name, policy, **settings):
    it.bao.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    with it.with_token([name], ttl="1h", **settings):
        yield


@broken("vault", "secret-readable", CRITICAL)
def the_policy_grants_no_secret(it):
    return _policy(it, "closed", CLOSED)


@broken("vault", "environments-apart", CRITICAL)
def the_policy_grants_another_environment(it):
    return _policy(it, "open", OPEN)


@broken("vault", "environments-apart", CRITICAL)
def the_policy_grants_another_environment_to_a_token_that_may_not_ask_what_it_may(it):
    return _policy(it, "open", OPEN, no_default_policy=True)


@broken("vault", "audit-device", WARNING)
@contextmanager
def there_is_no_audit_log(it):
    with tempfile.TemporaryDirectory() as folder, OpenBao(Path(folder)) as bao:
        bao.ask("PUT", "sys/policies/acl/audit", {"policy": POLICY})
        token = bao.ask("POST", "auth/token/create", {"policies": ["audit"], "ttl": "1h"})["auth"]["client_token"]
        with it.with_token_file(token), it.with_config(vault={"address": bao.address}):
            yield


@broken("vault", "agent-ready", CRITICAL, "agent-fresh")
@contextmanager
def the_agent_waits_for_a_secret_that_is_not_there(it):
    with _agent(it.bao.address, '{{ secret("nowhere").x }}\n', wait=False) as agent:
        agent.until(lambda status: status["problems"])
        with it.with_agent(agent):
            yield


@broken("vault", "agent-fresh", WARNING)
@contextmanager
def the_agent_has_lost_vault(it):
    with Proxy(it.bao.port) as proxy, _agent(proxy.address, '{{ secret("cache/redis").port }}\n') as agent:
        proxy.weather = Sky.REFUSE
        agent.until(lambda status: not status["fresh"])
        with it.with_agent(agent):
            yield


@broken("vault", "lease-headroom", CRITICAL, "agent-not-degraded", "agent-fresh")
@broken("vault", "agent-not-degraded", WARNING, "lease-headroom", "agent-fresh")
@contextmanager
def a_lease_has_ended(it):
    it.postgres.attach(it.bao, role="brief", default_ttl="3s", max_ttl="3s")
    with Proxy(it.bao.port) as proxy, _agent(proxy.address, BRIEF) as agent:
        proxy.weather = Sky.REFUSE
        agent.until(lambda status: status["apps"]["web"]["degraded"])
        with it.with_agent(agent):
            yield


@contextmanager
def _agent(address, template, *, wait=True):
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        agent = Sidecar(address, Path(disk), Path(memory))
        agent.template("x.txt.j2", template)
        try:
            yield agent.start(wait=wait)
        finally:
            agent.close()


# PostgreSQL, of the apps and of the cache


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
    return it.with_config(validate={"database": {"rights": {"tables": ["orders", "nowhere"]}}})


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


# Redis


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
    return it.with_secret("cache/redis", port=it.redis.secure, tls=True, ca_file=str(it.stranger))


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


# The object store


@broken("storage", "s3-secret", CRITICAL)
def the_secret_of_the_store_lacks_a_key(it):
    return it.with_secret("storage/minio", bucket=None)


@broken("storage", "s3-reachable", CRITICAL)
def the_store_is_elsewhere(it):
    return it.with_secret("storage/minio", endpoint=f"127.0.0.1:{free_port()}")


@broken("storage", "s3-tls", CRITICAL)
@contextmanager
def objects_cross_the_network(it):
    with Detour(it.store.port) as way, it.with_secret("storage/minio", endpoint=f"{way.host}:{way.port}"):
        yield


@broken("storage", "s3-tls", CRITICAL)
def the_store_speaks_no_tls(it):
    return it.with_secret("storage/minio", secure=True)


@broken("storage", "s3-tls", CRITICAL)
def the_certificate_of_the_store_is_of_another_authority(it):
    endpoint = f"https://127.0.0.1:{it.store.secure}"
    return it.with_secret("storage/minio", endpoint=endpoint, ca_file=str(it.stranger))


@broken("storage", "s3-key", CRITICAL)
def the_key_of_the_store_is_wrong(it):
    return it.with_secret("storage/minio", secret_key=it.value())


@broken("storage", "s3-key", CRITICAL)
def the_store_knows_no_such_key(it):
    return it.with_secret("storage/minio", access_key=it.value())


@broken("storage", "s3-bucket", CRITICAL)
def the_bucket_is_not_there(it):
    return _as(it, "admin", bucket="nowhere")


@broken("storage", "s3-list", WARNING)
def the_key_may_not_list(it):
    return _as(it, "unlisting")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_write(it):
    return _as(it, "reader")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_read(it):
    return _as(it, "writer")


@broken("storage", "s3-delete", CRITICAL)
@contextmanager
def the_key_may_not_delete(it):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::docs/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    it.admin.put_bucket_policy(Bucket="docs", Policy=policy)
    yield
    it.admin.delete_bucket_policy(Bucket="docs")
    for left in it.admin.list_objects_v2(Bucket="docs", Prefix="lessee-validate")["Contents"]:
        it.admin.delete_object(Bucket="docs", Key=left["Key"])


@broken("storage", "s3-refuses-anonymous", CRITICAL)
def anybody_may_read(it):
    return it.with_secret("storage/minio", bucket="open")


@broken("storage", "s3-refuses-wrong-key", CRITICAL, "s3-refuses-anonymous")
@contextmanager
def the_store_checks_nothing(it):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = Store(folder, free_port())
        stack.callback(store.close)
        keys = {"access_key_id": "any", "secret_access_key": secrets.token_hex(8)}
        eventually(lambda: store.lets_in(**keys), "the store", PATIENCE)
        with it.with_secret("storage/minio", endpoint=f"127.0.0.1:{store.port}"):
            yield


def _as(it, name, **fields):
    access_key, secret_key = it.keys[name]
    return it.with_secret("storage/minio", access_key=access_key, secret_key=secret_key, **fields)
