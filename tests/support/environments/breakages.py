"""Ways to break Vault or an agent, each with the check that must fail."""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from lessee.host.openbao import ROOT_TOKEN, OpenBao, free_port
from support.environments.server_environment import POLICY, clock_ahead
from support.programs.sidecar import Sidecar
from support.servers.cluster import Cluster
from support.servers.detours import Detour
from support.servers.fault_proxy import Fault, Proxy

CRITICAL, WARNING = "critical", "warning"
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
    """A check that must fail with a level, and a context manager that breaks its part."""

    component: str
    check: str
    level: str
    how: object
    also: frozenset = frozenset()
    """Other checks of the component that fail too."""


class Table(list):
    """A list of breakages, with a decorator that adds one."""

    def broken(self, component, check, level, *also):
        """Decorates a function that breaks something, also for several checks."""

        def add(how):
            self.append(Breakage(component, check, level, how, frozenset(also)))
            return how

        return add


ROWS = Table()
broken = ROWS.broken


@broken("vault", "reachable", CRITICAL)
def no_server_listens(env):
    return env.with_config(vault={"address": f"http://127.0.0.1:{free_port()}"})


@broken("vault", "reachable", WARNING)
def a_node_is_unavailable(env):
    addresses = [env.secure["good"], f"https://127.0.0.1:{free_port()}"]
    return _addresses(env, addresses)


@contextmanager
def _addresses(env, addresses):
    with env.with_config(vault={"addresses": addresses}):
        del env.config["vault"]["address"]
        yield


@broken("vault", "reachable", CRITICAL)
def another_authority_is_trusted(env):
    return env.with_config(vault={"ca_file": None})


@broken("vault", "initialized", CRITICAL)
@contextmanager
def vault_is_not_initialized(env):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        node = Cluster(Path(folder), nodes=1)
        stack.callback(node.stop, 0)
        node.start(0, unseal=False)
        with env.with_config(vault={"address": node.nodes[0].address}):
            yield


@broken("vault", "unsealed", CRITICAL)
@contextmanager
def vault_is_sealed(env):
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), nodes=1) as cluster:
        cluster.seal(0)
        with env.with_config(vault={"address": cluster.nodes[0].address}):
            yield


@broken("vault", "active-node", CRITICAL)
@contextmanager
def the_majority_is_stopped(env):
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        active = cluster.active()
        left = next(i for i in range(3) if i != active)
        for i in {0, 1, 2} - {left}:
            cluster.stop(i)
        with env.with_config(vault={"address": cluster.nodes[left].address}):
            yield


@broken("vault", "tls", CRITICAL)
@contextmanager
def tokens_cross_the_network(env):
    with Detour(env.bao.port) as way, env.with_config(vault={"address": f"http://{way.host}:{way.port}"}):
        yield


@broken("vault", "tls", CRITICAL)
def the_certificate_is_not_verified(env):
    return env.with_config(vault={"tls_skip_verify": True})


@broken("vault", "tls-expiry", CRITICAL)
def the_certificate_expires_tomorrow(env):
    return env.with_config(vault={"address": env.secure["now"]})


@broken("vault", "tls-expiry", WARNING)
def the_certificate_expires_next_week(env):
    return env.with_config(vault={"address": env.secure["soon"]})


@broken("vault", "clock-skew", WARNING)
def the_clock_is_30_seconds_ahead(env):
    return clock_ahead(env, 30)


@broken("vault", "clock-skew", CRITICAL)
def the_clock_is_two_minutes_ahead(env):
    return clock_ahead(env, 120)


@broken("vault", "login", CRITICAL)
@contextmanager
def the_secret_id_is_wrong(env):
    file = Path(env.config["vault"]["auth"]["secret_id_file"])
    before = file.read_text()
    file.write_text(env.value())
    yield
    file.write_text(before)


@broken("vault", "login", CRITICAL)
def the_token_is_not_valid(env):
    return env.with_token_file(env.value())


@broken("vault", "token-not-root", CRITICAL, "environments-isolated")
def the_token_is_root(env):
    return env.with_token_file(ROOT_TOKEN)


@broken("vault", "token-ttl", CRITICAL)
def the_token_expires_in_seconds(env):
    return env.with_token(["validated"], ttl="15s")


@broken("vault", "token-renewable", WARNING)
def the_token_cannot_be_renewed(env):
    return env.with_token(["validated"], ttl="1h", renewable=False)


@broken("vault", "kv-version-2", WARNING)
@contextmanager
def the_mount_has_no_versions(env):
    env.bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    with _policy(env, "old", OLD), env.with_config(secrets={"mount": "old"}):
        yield
    env.bao.ask("DELETE", "sys/mounts/old")


@contextmanager
def _policy(env, name, policy, **settings):
    env.bao.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    with env.with_token([name], ttl="1h", **settings):
        yield


@broken("vault", "secret-readable", CRITICAL)
def the_policy_grants_no_secret(env):
    return _policy(env, "closed", CLOSED)


@broken("vault", "environments-isolated", CRITICAL)
def the_policy_grants_another_environment(env):
    return _policy(env, "open", OPEN)


@broken("vault", "environments-isolated", CRITICAL)
def the_policy_grants_another_environment_to_a_token_without_lookups(env):
    return _policy(env, "open", OPEN, no_default_policy=True)


@broken("vault", "audit-device", WARNING)
@contextmanager
def vault_has_no_audit_device(env):
    with tempfile.TemporaryDirectory() as folder, OpenBao(Path(folder)) as bao:
        bao.ask("PUT", "sys/policies/acl/audit", {"policy": POLICY})
        token = bao.ask("POST", "auth/token/create", {"policies": ["audit"], "ttl": "1h"})["auth"]["client_token"]
        with env.with_token_file(token), env.with_config(vault={"address": bao.address}):
            yield


@broken("vault", "agent-ready", CRITICAL, "agent-fresh")
@contextmanager
def the_agent_waits_for_a_missing_secret(env):
    with separate_agent(env.bao.address, '{{ secret("nowhere").x }}\n', wait=False) as agent:
        agent.until(lambda status: status["problems"])
        with env.with_agent(agent):
            yield


@broken("vault", "agent-fresh", WARNING)
@contextmanager
def vault_is_unavailable_to_the_agent(env):
    with Proxy(env.bao.port) as proxy, separate_agent(proxy.address, '{{ secret("cache/redis").port }}\n') as agent:
        proxy.fault = Fault.REFUSE
        agent.until(lambda status: not status["fresh"])
        with env.with_agent(agent):
            yield


@broken("vault", "leases-renewed", CRITICAL, "agent-not-degraded", "agent-fresh")
@broken("vault", "agent-not-degraded", WARNING, "leases-renewed", "agent-fresh")
@contextmanager
def a_lease_has_expired(env):
    env.postgres.attach(env.bao, role="brief", default_ttl="3s", max_ttl="3s")
    with Proxy(env.bao.port) as proxy, separate_agent(proxy.address, BRIEF) as agent:
        proxy.fault = Fault.REFUSE
        agent.until(lambda status: status["apps"]["web"]["degraded"])
        with env.with_agent(agent):
            yield


@contextmanager
def separate_agent(address, template, *, wait=True):
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        agent = Sidecar(address, Path(disk), Path(memory))
        agent.template("x.txt.j2", template)
        try:
            yield agent.start(wait=wait)
        finally:
            agent.close()
