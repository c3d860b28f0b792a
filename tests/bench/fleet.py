"""Measures how soon 200 agents are fresh after their real server was killed, restarted sealed, and unsealed.

The agents are real state machines with real clients, in one process.
"""

import os
import queue
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from math import inf
from pathlib import Path
from statistics import median

from figures import Figure
from herd import SEED, SPEC, Agent, peak, seconds_to_fresh
from rig import MEMORY, report, resident

from lessee.agent.machine.deadlines import wake_at
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.vault.auth.approle import AppRoleLogin
from lessee.vault.client import Client
from lessee.vault.transport import Address, Transport
from support.servers.cluster import Cluster

AGENTS = 200
REFRESH = 5.0
TTL = 20
OUTAGE = 40.0
SEALED = 20.0
REACH = 60.0
TIMEOUT = 300.0

_POLICY = 'path "secret/*" { capabilities = ["read", "list"] }'


class Fleet:
    """Agents with their real clients, all driven by one thread."""

    def __init__(self, connect: Callable[[Callable[[ev.Event], None]], Client]) -> None:
        self.requests = Counter[int]()
        """By the second on the boot clock."""
        self._mail: queue.SimpleQueue[tuple[int, ev.Event]] = queue.SimpleQueue()
        numbers = range(AGENTS)
        self._clients = [connect(partial(self._post, number)) for number in numbers]
        self.agents = [Agent(SEED * AGENTS + number, partial(self._ask, number)) for number in numbers]
        for number in numbers:
            self._take(number, [ev.Configured({"app": replace(SPEC, refresh_interval=REFRESH)})])

    def run(self, done: Callable[[], bool]) -> None:
        """Run the agents until a condition holds, or for TIMEOUT seconds."""
        deadline = boot_time() + TIMEOUT
        while not done() and boot_time() < deadline:
            for number, events in self._collect().items():
                self._take(number, events)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _collect(self) -> Mapping[int, Sequence[ev.Event]]:
        """The new events of each agent; an agent whose deadline has passed may have none."""
        letters: defaultdict[int, list[ev.Event]] = defaultdict(list)
        wait = min(agent.due for agent in self.agents) - boot_time()
        with suppress(queue.Empty):
            number, event = self._mail.get(timeout=max(0.0, min(wait, 0.1)))
            letters[number].append(event)
            while True:
                number, event = self._mail.get_nowait()
                letters[number].append(event)
        now = boot_time()
        return letters | {number: letters[number] for number, agent in enumerate(self.agents) if agent.due <= now}

    def _take(self, number: int, events: Sequence[ev.Event]) -> None:
        agent = self.agents[number]
        for event in events:
            if isinstance(event, ev.LoggedIn) and event.request_id in agent.state.requests:
                self._clients[number].use_login(event.request_id)
        agent.take(events, boot_time())
        agent.due = wake_at(agent.state)

    def _post(self, number: int, event: ev.Event) -> None:
        self._mail.put((number, event))

    def _ask(self, number: int, command: cmd.Command) -> None:
        client = self._clients[number]
        match command:
            case cmd.AbandonRequest():
                client.abandon(command.request_id)
            case cmd.ForgetToken():
                client.forget_token(command.id)
            case _:
                self.requests[int(boot_time())] += 1
                client.obey(command)


def measure() -> Iterator[Figure]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY)))
        cluster = stack.enter_context(Cluster(folder, nodes=1))
        fleet = Fleet(_connector(cluster, folder))
        stack.callback(fleet.close)
        fleet.run(lambda: all(agent.number for agent in fleet.agents))
        report(f"{threading.active_count()} threads, {resident(os.getpid())[0]:.0f} MiB")
        with ThreadPoolExecutor(1) as operator:
            outage = operator.submit(_cause_outage, cluster)
            fleet.run(lambda: outage.done() and all(agent.fresh_at is not None for agent in fleet.agents))
            up_at = outage.result()
        report(f"{sum(agent.state.counters.logins for agent in fleet.agents)} logins")
        took = seconds_to_fresh(fleet.agents, up_at)
    late, last = took.count(inf), took[-1]
    name = f"{AGENTS} real agents, server killed for {OUTAGE:.0f} s, sealed for {SEALED:.0f} s"
    reach = f"≤ {REACH:.0f} s"
    yield Figure(f"{name}: unsealed → fresh, the last", "", f"{last:.1f} s", reach, last <= REACH)
    yield Figure(f"{name}: unsealed → fresh, the median", "", f"{median(took):.1f} s")
    yield Figure(f"{name}: requests a second at peak", "", str(peak(fleet.requests, int(up_at))))
    yield Figure(f"{name}: not fresh", "", str(late), "0", not late)


def _connector(cluster: Cluster, folder: Path) -> Callable[[Callable[[ev.Event], None]], Client]:
    """Returns a function that creates clients with an AppRole login."""
    cluster.ask(0, "POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    cluster.ask(0, "POST", "secret/data/herd", {"data": {"version": 1}})
    cluster.ask(0, "PUT", "sys/policies/acl/herd", {"policy": _POLICY})
    cluster.ask(0, "POST", "sys/auth/approle", {"type": "approle"})
    cluster.ask(0, "POST", "auth/approle/role/herd", {"token_policies": ["herd"], "token_ttl": TTL})
    role_id = cluster.ask(0, "GET", "auth/approle/role/herd/role-id")["data"]["role_id"]
    secret_id = cluster.ask(0, "POST", "auth/approle/role/herd/secret-id", {})["data"]["secret_id"]
    file = folder / "secret_id"
    file.write_text(secret_id)

    def connect(post: Callable[[ev.Event], None]) -> Client:
        method = AppRoleLogin(
            mount="approle",
            role_id=role_id,
            role_id_file=None,
            secret_id_file=str(file),
            wrapping_path=None,
            remove=False,
        )
        return Client(Transport(Address(cluster.nodes[0].address)), method, post, boot_time)

    return connect


def _cause_outage(cluster: Cluster) -> float:
    """Kill the server, restart it sealed, unseal it, and change the secret. Returns when it was unsealed."""
    time.sleep(2 * REFRESH)
    report("the server is killed")
    cluster.stop(0)
    time.sleep(OUTAGE)
    cluster.start(0, unseal=False)
    report("the server is restarted, and sealed")
    time.sleep(SEALED)
    cluster.unseal(0)
    up_at = boot_time()
    report("the server is unsealed")
    cluster.active()
    cluster.ask(0, "POST", "secret/data/herd", {"data": {"version": 2}})
    report(f"the secret was changed {boot_time() - up_at:.1f} s later")
    return up_at
