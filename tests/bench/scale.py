"""Measures the requests of 200 real agents to a real server: at their start, idle, at a rotation, after its restart.

It also measures what one request, one token and one connection cost the server. `support/models/scaling.py` uses both
to calculate the requests of thousands of agents.
"""

import json
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from figures import Figure
from rig import LESSEE, MEMORY, TIMEOUT, Program, cpu_seconds, report, resident

from lessee.vault.connections import Address, Connection, Connector
from support import sockets
from support.servers.cluster import Cluster, Node

AGENTS = 200
REFRESH = 5.0
"""The same machine runs the agents: with the default of 1 s they would take all its CPU time."""
TTL = 120
"""Of each token, so that all tokens expire during the outage."""
CONCURRENT = 10
"""Agents that start at the same time: their own CPU time limits the requests that the server receives then."""
IDLE = 60.0
SETTLE = 15.0
"""Seconds after a start before idle agents are measured: longer than agents hold idle connections."""
OUTAGE = 140.0
CONNECTIONS = 1.0
REACH = 60.0
SAMPLES, CLIENTS = 2000, 8
"""Requests to measure the cost of one, and the number of concurrent clients that send them."""

_POLICY = """
path "secret/data/production/*"              { capabilities = ["read"] }
path "secret/metadata/production/*"          { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""
_AUDIT = 'audit "file" "bench" {{ options {{ file_path = "{file}" }} }}\n'
_TEMPLATES = {
    "database.env": 'PASSWORD={{ secret("database/postgres").password }}\n',
    "keys.env": 'KEY={{ secret("api-keys/openai").api_key }}\n',
}
_KINDS = (
    ("auth/approle/login", "login"),
    ("auth/token/renew-self", "renewal"),
    ("auth/token/lookup-self", "token lookup"),
    ("secret/detailed-metadata/", "metadata"),
    ("secret/metadata/", "metadata"),
    ("secret/data/", "read"),
)


class Request(NamedTuple):
    """A request in the server's audit log: the second of the day, and its kind."""

    second: int
    kind: str


class Rig:
    """One server with an audit log, and agents, each with its own folder."""

    def __init__(self, folder: Path, cluster: Cluster, audit: Path) -> None:
        self._folder = folder
        self._audit = audit
        self.cluster = cluster
        (folder / "templates").mkdir()
        for name, text in _TEMPLATES.items():
            (folder / "templates" / f"{name}.j2").write_text(text)
        cluster.ask(0, "POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self._await_mount()
        self.write("database/postgres", password="0")
        self.write("api-keys/openai", api_key="0")
        cluster.ask(0, "PUT", "sys/policies/acl/scale", {"policy": _POLICY})
        cluster.ask(0, "POST", "sys/auth/approle", {"type": "approle"})
        cluster.ask(0, "POST", "auth/approle/role/scale", {"token_policies": ["scale"], "token_ttl": TTL})
        role = cluster.ask(0, "GET", "auth/approle/role/scale/role-id")["data"]["role_id"]
        (folder / "role_id").write_text(role)
        self._write_secret_id()

    @property
    def server(self) -> int:
        process = self._node.process
        assert process is not None
        return process.pid

    @property
    def login(self) -> Mapping[str, str]:
        return {name: (self._folder / name).read_text() for name in ("role_id", "secret_id")}

    @property
    def address(self) -> str:
        return self._node.address

    def write(self, path: str, **fields: str) -> None:
        self.cluster.ask(0, "POST", f"secret/data/production/{path}", {"data": fields})

    def agents(self, count: int) -> Sequence[Program]:
        return [self._agent(self._folder / f"agent-{number:04}") for number in range(count)]

    def requests(self, begin: int = 0) -> Sequence[Request]:
        """The requests after an offset in the log."""
        with self._audit.open("rb") as log:
            log.seek(begin)
            entries = (json.loads(line) for line in log if line.startswith(b"{") and line.endswith(b"}\n"))
            return [_request(entry) for entry in entries if entry["type"] == "request"]

    def log_size(self) -> int:
        """Bytes of the audit log."""
        return self._audit.stat().st_size

    @property
    def _node(self) -> Node:
        return self.cluster.nodes[0]

    def _await_mount(self) -> None:
        """Wait for the KV v2 mount, which OpenBao creates in the background."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.cluster.ask(0, "GET", "secret/config")
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _write_secret_id(self) -> None:
        secret_id = self.cluster.ask(0, "POST", "auth/approle/role/scale/secret-id", {})["data"]["secret_id"]
        (self._folder / "secret_id").write_text(secret_id)

    def _agent(self, folder: Path) -> Program:
        folder.mkdir()
        approle = {f"{name}_file": str(self._folder / name) for name in ("role_id", "secret_id")}
        config = {
            "environment": "production",
            "vault": {"address": self.address, "auth": {"method": "approle", **approle}},
            "secrets": {"refresh_interval": f"{REFRESH:.0f}s"},
            "state_dir": str(folder / "state"),
            "template_dir": str(self._folder / "templates"),
            "apps": {
                "files": {
                    "directory": str(folder / "files"),
                    "files": [{"template": f"{name}.j2"} for name in _TEMPLATES],
                }
            },
        }
        (folder / "lessee.yaml").write_text(json.dumps(config))
        return Program(folder, [*LESSEE, "run", "--config", folder / "lessee.yaml"], list(_TEMPLATES))


def measure(count: int = AGENTS) -> Iterator[Figure]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY)))
        audit = folder / "audit.log"
        cluster = stack.enter_context(Cluster(folder, nodes=1, config=_AUDIT.format(file=audit)))
        rig = Rig(folder, cluster, audit)
        yield from _costs(rig)
        agents = rig.agents(count)
        yield from _start(rig, agents, stack)
        yield from _idle(rig, agents)
        yield from _rotation(rig, agents)
        yield from _return(rig, agents)


def _start(rig: Rig, agents: Sequence[Program], stack: ExitStack) -> Iterator[Figure]:
    name = f"{len(agents)} agents start, {CONCURRENT} at the same time"
    begin, began = rig.log_size(), time.monotonic()
    for number, agent in enumerate(agents):
        if number >= CONCURRENT:
            agents[number - CONCURRENT].wait_for_files()
        stack.enter_context(agent)
    for agent in agents:
        agent.wait_for_files()
    took, asked = time.monotonic() - began, rig.requests(begin)
    yield Figure(f"{name}: all have their files", "", f"{took:.0f} s")
    yield Figure(f"{name}: requests of one agent", "", _each(asked, len(agents)))
    yield Figure(f"{name}: requests a second at peak", "", str(_peak(asked)))


def _idle(rig: Rig, agents: Sequence[Program]) -> Iterator[Figure]:
    """Measure while nothing changes."""
    name = f"{len(agents)} agents, {REFRESH:.0f} s refresh interval, nothing changes"
    time.sleep(SETTLE)
    pids = [agent.process.pid for agent in agents]
    begin, began = rig.log_size(), time.monotonic()
    used, served = sum(map(cpu_seconds, pids)), cpu_seconds(rig.server)
    samples = []
    while time.monotonic() < began + IDLE:
        time.sleep(IDLE / 10)
        samples.append(_connections(rig, pids))
    took = time.monotonic() - began
    used, served = sum(map(cpu_seconds, pids)) - used, cpu_seconds(rig.server) - served
    asked = rig.requests(begin)
    held = [count for sample in samples for count in sample]
    sizes = [resident(pid) for pid in pids]
    rss, shares = [size for size, _ in sizes], [share for _, share in sizes if share is not None]
    yield Figure(f"{name}: requests a second", "", f"{len(asked) / took:.1f}: {_rates(asked, took)}")
    yield Figure(
        f"{name}: connections of one agent, the mean (the most at one moment)",
        "",
        f"{mean(held):.2f} ({max(held)})",
        f"≤ {CONNECTIONS:.0f}.1",
        mean(held) <= CONNECTIONS + 0.1,
    )
    yield Figure(f"{name}: RSS of one agent, the median (the most)", "", f"{median(rss):.1f} MiB ({max(rss):.1f} MiB)")
    if shares:
        yield Figure(f"{name}: PSS of one agent, the median", "", f"{median(shares):.1f} MiB")
    yield Figure(f"{name}: CPU of one agent", "", f"{1000 * used / took / len(agents):.1f} ms a second")
    yield Figure(f"{name}: CPU of the server", "", f"{1000 * served / len(asked):.2f} ms a request")
    yield Figure(f"{name}: RSS of the server", "", f"{resident(rig.server)[0]:.0f} MiB")


def _rotation(rig: Rig, agents: Sequence[Program]) -> Iterator[Figure]:
    name = f"{len(agents)} agents, {REFRESH:.0f} s refresh interval, a shared secret changes"
    begin, began = rig.log_size(), time.monotonic()
    rig.write("database/postgres", password="rotated")
    took = _fresh(agents, "rotated", lambda: time.monotonic() - began)
    asked = rig.requests(begin)
    limit = REFRESH + 1
    yield Figure(
        f"{name}: fresh, the median and the last",
        "",
        f"{median(took):.1f} s, {took[-1]:.1f} s",
        f"≤ {limit:.0f} s",
        took[-1] <= limit,
    )
    yield Figure(f"{name}: requests of one agent", "", _each(asked, len(agents)))
    yield Figure(f"{name}: requests a second at peak", "", str(_peak(asked)))


def _return(rig: Rig, agents: Sequence[Program]) -> Iterator[Figure]:
    """Kill the server, and restart it after all tokens have expired."""
    name = f"{len(agents)} agents, {OUTAGE:.0f} s of outage, all tokens expired"
    cluster = rig.cluster
    report("the server is killed")
    cluster.stop(0)
    time.sleep(OUTAGE)
    begin = rig.log_size()
    cluster.start(0)
    up_at = time.monotonic()
    report("the server is restarted")
    cluster.active()
    rig.write("database/postgres", password="returned")
    took = _fresh(agents, "returned", lambda: time.monotonic() - up_at)
    asked = rig.requests(begin)
    time.sleep(SETTLE)
    held = _connections(rig, [agent.pid for agent in agents])
    logins = [one for one in asked if one.kind == "login"]
    dead = sum(agent.process.poll() is not None for agent in agents)
    yield Figure(
        f"{name}: fresh again, the median and the last",
        "",
        f"{median(took):.1f} s, {took[-1]:.1f} s",
        f"≤ {REACH:.0f} s",
        took[-1] <= REACH,
    )
    yield Figure(f"{name}: requests of one agent", "", _each(asked, len(agents)))
    yield Figure(f"{name}: logins, and a second at peak", "", f"{len(logins)}, {_peak(logins)}")
    yield Figure(f"{name}: requests a second at peak", "", str(_peak(asked)))
    yield Figure(f"{name}: connections of one agent {SETTLE:.0f} s later, the mean", "", f"{mean(held):.2f}")
    yield Figure(f"{name}: agents that ended", "", str(dead), "0", not dead)


def _fresh(agents: Sequence[Program], value: str, clock: Callable[[], float]) -> Sequence[float]:
    """Seconds until each agent had a value in its file, in order."""
    missing, took = list(agents), []
    while missing:
        if clock() > TIMEOUT:
            raise RuntimeError(f"{len(missing)} agents did not become fresh, one in {missing[0].folder}")
        late = []
        for agent in missing:
            if value in (agent.directory / "database.env").read_text():
                took.append(clock())
            else:
                late.append(agent)
        missing = late
        time.sleep(0.02)
    return took


def _connections(rig: Rig, pids: Sequence[int]) -> Sequence[int]:
    """The number of each process's connections to the server."""
    port = int(rig.address.rpartition(":")[2])
    return [sockets.connections(pid, port) for pid in pids]


def _costs(rig: Rig) -> Iterator[Figure]:
    """Measure the server's CPU time for a request of each kind, and its memory for a token and a connection."""
    connections = Connector(Address(rig.address))
    clients = [connections.open(rig.address, timeout=3.0) for _ in range(CLIENTS)]
    tokens = []

    def log_in(over: Connection) -> None:
        tokens.append(_ask(over, "POST", "auth/approle/login", body=rig.login)["auth"]["client_token"])

    before = resident(rig.server)[0]
    yield _cost(rig, clients, "login", log_in)
    held = (resident(rig.server)[0] - before) * 1024 / len(tokens)
    yield Figure(f"RSS of the server, a token, after {len(tokens):,} logins", "", f"{held:.0f} KiB")
    name = "production/database"
    for kind, method, path in (
        ("renewal", "POST", "auth/token/renew-self"),
        ("metadata read of a folder", "GET", f"secret/detailed-metadata/{name}?list=true"),
        ("metadata read of a secret", "GET", f"secret/metadata/{name}/postgres"),
        ("read", "GET", f"secret/data/{name}/postgres"),
    ):
        # A new token for each kind, because tokens expire soon.
        log_in(clients[0])
        ask = partial(_ask, method=method, path=path, token=tokens[-1])
        yield _cost(rig, clients, kind, ask)
    before = resident(rig.server)[0]
    many = [connections.open(rig.address, timeout=3.0) for _ in range(SAMPLES // 2)]
    for one in many:
        _ask(one, "GET", f"secret/data/{name}/postgres", tokens[-1])
    held = (resident(rig.server)[0] - before) * 1024 / len(many)
    yield Figure(f"RSS of the server, a connection, of {len(many)}", "", f"{held:.0f} KiB")
    for one in [*many, *clients]:
        one.close()
    rig.cluster.ask(0, "PUT", "sys/leases/revoke-prefix/auth/approle/login", timeout=60)


def _cost(rig: Rig, clients: Sequence[Connection], kind: str, ask: Callable[[Connection], Any]) -> Figure:
    """Measure SAMPLES requests, sent by all clients concurrently."""

    def ask_on(over: Connection) -> None:
        for _ in range(SAMPLES // len(clients)):
            ask(over)

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(ask, clients))
        used, began = cpu_seconds(rig.server), time.monotonic()
        list(pool.map(ask_on, clients))
        used, took = cpu_seconds(rig.server) - used, time.monotonic() - began
    name = f"a {kind}, {len(clients)} concurrent clients, audited: CPU of the server, requests a second"
    return Figure(name, "", f"{1000 * used / SAMPLES:.2f} ms, {SAMPLES / took:,.0f}")


def _ask(
    connection: Connection, method: str, path: str, token: str = "", body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    content = json.dumps(body).encode() if body is not None else None
    headers = {"X-Vault-Token": token} if token else {}
    response, answer = connection.exchange(method, f"/v1/{path}", content, headers, 10.0)
    if response.status != 200:  # HTTP's code for success.
        raise RuntimeError(f"{method} {path}: {response.status}")
    result: dict[str, Any] = json.loads(answer)
    return result


def _request(entry: Mapping[str, Any]) -> Request:
    path = entry["request"]["path"]
    kind = next((kind for start, kind in _KINDS if path.startswith(start)), path)
    hours, minutes, seconds = entry["time"].partition("T")[2][:8].split(":")
    return Request((int(hours) * 60 + int(minutes)) * 60 + int(seconds), kind)


def _each(asked: Sequence[Request], count: int) -> str:
    """The requests of one agent, by kind."""
    kinds = Counter(one.kind for one in asked)
    by_kind = ", ".join(f"{kind} {number / count:.2f}" for kind, number in kinds.most_common())
    return f"{len(asked) / count:.2f}: {by_kind}"


def _rates(asked: Sequence[Request], took: float) -> str:
    kinds = Counter(one.kind for one in asked)
    return ", ".join(f"{kind} {number / took:.1f}" for kind, number in kinds.most_common())


def _peak(asked: Sequence[Request]) -> int:
    return max(Counter(one.second for one in asked).values(), default=0)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=AGENTS)
    for figure in measure(parser.parse_args().agents):
        sys.stdout.write(f"| {figure.name} | {figure.lessee} | {figure.target} | {figure.met} |\n")
        sys.stdout.flush()
