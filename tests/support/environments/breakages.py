"""How parts of an environment are broken, and which check must fail then: here, Vault and an agent."""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from lessee.host.openbao import ROOT_TOKEN, OpenBao, free_port
from support.environments.sound_environment import POLICY, clock_ahead
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
    """What fails at which level, and what breaks it for as long as it lasts."""

    component: str
    check: str
    level: str
    how: object
    also: frozenset = frozenset()
    """Other checks of the component that cannot but fail with it."""


class Table(list):
    """Breakages, and what puts more of them in."""

    def broken(self, component, check, level, *also):
        """Takes what it decorates for a way to break something; one may stand for several checks."""

        def put(how):
            self.append(Breakage(component, check, level, how, frozenset(also)))
            return how

        return put


ROWS = Table()
broken = ROWS.broken


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
    return it.with_config(vault={"tls_skip_verify": True})


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
        proxy.fault = Fault.REFUSE
        agent.until(lambda status: not status["fresh"])
        with it.with_agent(agent):
            yield


@broken("vault", "lease-headroom", CRITICAL, "agent-not-degraded", "agent-fresh")
@broken("vault", "agent-not-degraded", WARNING, "lease-headroom", "agent-fresh")
@contextmanager
def a_lease_has_ended(it):
    it.postgres.attach(it.bao, role="brief", default_ttl="3s", max_ttl="3s")
    with Proxy(it.bao.port) as proxy, _agent(proxy.address, BRIEF) as agent:
        proxy.fault = Fault.REFUSE
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
