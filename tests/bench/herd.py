"""Measures the requests of 10,000 agents after a long outage of their server, and how soon all are fresh.

Each agent is the real state machine, in simulated time against a model of a server. The secret changes during the
outage: an agent is fresh when it has notified its app of the new version.
"""

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from math import inf
from statistics import median

from figures import Figure
from rig import report

from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.step import start, steps
from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.immutable import replace
from lessee.core.paths import Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import AppSpec

SEED = 1
AGENTS = 10_000
REFRESH = 30.0
"""Of each agent. The server can serve so many agents at this interval with a seventh of its capacity."""
TTL = 300.0
"""Of each token. It expires during the outage, so each agent must log in again."""
START = 180.0
"""Seconds within which all agents start, with a third of the server's capacity."""
OUTAGE = 600.0
SHORT = 20.0
"""A short outage, for information: all agents return within seconds, and so at the same time."""
WATCH = 300.0
"""Seconds after the outage in which every agent must be fresh."""
PEAK = 1.2
TAIL = 90.0

LOGINS, OTHERS = 400.0, 2500.0
"""Logins, or other requests, that the model serves in a second. OpenBao served 291 or 2,572 on two cores."""
QUEUE = 800
DELAY = 0.002
"""Seconds until a response arrives."""

SPEC = AppSpec(frozenset({Ref("secret", "herd")}), REFRESH, notifies=True, compiled_app="")
_CONTENTS = [Generation("app", (File("a", str(version).encode(), 0o440),)) for version in range(3)]
_UNAVAILABLE = Failure(Kind.UNAVAILABLE, "connection refused")
_BUSY = Failure(Kind.UNAVAILABLE, "request queue is full")


class Agent:
    """The state machine of one agent. Every command except requests to Vault is done in zero time."""

    __slots__ = ("_ask", "due", "fresh_at", "now", "number", "published", "state", "token_ends_at")

    def __init__(self, seed: int, ask: Callable[[cmd.Command], None]) -> None:
        self.state = start(seed)
        self.due = self.now = self.token_ends_at = 0.0
        self.number = 0
        self.published: Generation | None = None
        self.fresh_at: float | None = None
        """When its app was notified of the newest version."""
        self._ask = ask

    def take(self, events: Sequence[ev.Event], now: float) -> None:
        self.now = now
        while True:
            self.state, commands = steps(self.state, events or (ev.Tick(),), now)
            events = [done for command in commands if (done := self._obey(command)) is not None]
            if not events:
                return

    def _obey(self, command: cmd.Command) -> ev.Event | None:
        match command:
            case cmd.Render():
                ((_, secret),) = command.secrets.items()
                return ev.Rendered(command.app, command.job, _CONTENTS[int(str(secret.data["version"]))])
            case cmd.Publish():
                self.number += 1
                self.published = command.generation
                return ev.Published(command.app, command.job, self.number, changed=True)
            case cmd.Notify():
                self.fresh_at = self.now if self.published == _CONTENTS[2] else None
                return ev.Notified(command.app, command.job, "SIGHUP")
            case cmd.Log() | cmd.MarkNotified() | cmd.Prune():
                return None
            case _:
                self._ask(command)
                return None


class Model:
    """A server that serves one request after another, and rejects requests while its queue is full."""

    def __init__(self, outage: float) -> None:
        self.down_at, self.up_at = 2 * START, 2 * START + outage
        self.logins, self.requests, self.work = Counter[int](), Counter[int](), Counter[int]()
        """By the second, counted from the end of the outage; work in seconds."""
        self.rejected = 0
        self._waiting: deque[float] = deque()
        self._names = itertools.count(1)

    def ask(self, agent: Agent, command: cmd.VaultCommand, now: float) -> tuple[float, ev.Answer]:
        """When the response arrives, and the response."""
        work = 1 / LOGINS if isinstance(command, cmd.Login) else 1 / OTHERS
        self._count(command, now, work)
        if self.down_at <= now < self.up_at:
            return now + DELAY / 2, ev.RequestFailed(command.request_id, _UNAVAILABLE)
        waiting = self._waiting
        while waiting and waiting[0] <= now:
            waiting.popleft()
        if len(waiting) >= QUEUE:
            self.rejected += 1
            return now + DELAY, ev.RequestFailed(command.request_id, _BUSY)
        done_at = max(now, waiting[-1] if waiting else now) + work
        if now < self.down_at <= done_at:
            return self.down_at, ev.RequestFailed(command.request_id, _UNAVAILABLE)
        waiting.append(done_at)
        return done_at + DELAY, self._serve(agent, command, now)

    def _count(self, command: cmd.VaultCommand, now: float, work: float) -> None:
        second = int((now - self.up_at) // 1)
        self.requests[second] += 1
        self.logins[second] += isinstance(command, cmd.Login)
        self.work[second] += work

    def _serve(self, agent: Agent, command: cmd.VaultCommand, now: float) -> ev.Answer:
        version = 1 if now < self.up_at else 2
        match command:
            case cmd.Login():
                agent.token_ends_at = now + TTL
                return ev.LoggedIn(command.request_id, Token("", now, TTL, renewable=True, id=str(next(self._names))))
            case _ if now >= agent.token_ends_at:
                return ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "the token has ended"))
            case cmd.RenewToken():
                agent.token_ends_at = now + TTL
        token = agent.state.session.token
        match command:
            case cmd.RenewToken() | cmd.LookUpToken() if token is not None:
                return ev.TokenRenewed(command.request_id, replace(token, sent_at=now, ttl=agent.token_ends_at - now))
            case cmd.RevokeToken():
                return ev.Revoked(command.request_id)
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(command.request_id, 2)
            case cmd.ReadMetadata():
                return ev.MetadataRead(command.request_id, VersionMetadata(version, ""))
            case cmd.ReadSecret():
                return ev.SecretRead(command.request_id, Secret({"version": version}, VersionMetadata(version, "")))
            case _:
                raise AssertionError(command)


class Herd:
    """Agents and a server in simulated time, which jumps from one response or deadline to the next."""

    def __init__(self, outage: float) -> None:
        self.server = Model(outage)
        self.agents: list[Agent] = []
        self._asked: list[cmd.Command] = []
        self._mail: list[tuple[float, int, Agent, ev.Event | None]] = []
        self._order = itertools.count()
        chance = random.Random(SEED)  # noqa: S311  # The same seed gives the same run.
        for _ in range(AGENTS):
            agent = Agent(chance.getrandbits(64), self._asked.append)
            self.agents.append(agent)
            self._post(chance.uniform(0.0, START), agent, ev.Configured({"app": SPEC}))

    def run(self, until: float) -> None:
        """Deliver responses and deadlines. A deadline is mail without an event; only an agent's latest one counts."""
        mail = self._mail
        while mail and mail[0][0] < until:
            now, _, agent, event = heapq.heappop(mail)
            if event is None and now != agent.due:
                continue
            agent.take([event] if event is not None else (), now)
            for command in self._asked:
                if not isinstance(command, cmd.AbandonRequest | cmd.ForgetToken):
                    at, answer = self.server.ask(agent, command, now)
                    self._post(at, agent, answer)
            self._asked.clear()
            due = max(now, wake_at(agent.state))
            if due != agent.due or event is None:
                agent.due = due
                self._post(due, agent, None)

    def _post(self, at: float, agent: Agent, event: ev.Event | None) -> None:
        heapq.heappush(self._mail, (at, next(self._order), agent, event))


def measure() -> Iterator[Figure]:
    herd = _simulate(OUTAGE)
    server, took = herd.server, seconds_to_fresh(herd.agents, herd.server.up_at)
    load, late, tail = peak(server.work), took.count(inf), took[AGENTS * 99 // 100]
    first, last = (sum(server.requests[second + at] for second in range(60)) / 60 for at in (-int(OUTAGE), -60))
    name = f"{AGENTS:,} agents, {OUTAGE:.0f} s of outage"
    yield Figure(f"{name}: peak load after it, of the capacity", "", f"{load:.2f}", f"≤ {PEAK}", load <= PEAK)
    yield Figure(f"{name}: logins a second at peak, of {LOGINS:.0f}", "", f"{peak(server.logins)}")
    yield Figure(f"{name}: fresh again, 99 of 100", "", f"{tail:.0f} s", f"≤ {TAIL:.0f} s", tail <= TAIL)
    yield Figure(f"{name}: fresh again, the median and the last", "", f"{median(took):.0f} s, {took[-1]:.0f} s")
    yield Figure(f"{name}: not fresh within {WATCH:.0f} s", "", str(late), "0", not late)
    yield Figure(f"{name}: requests a second during it, first and last minute", "", f"{first:.0f}, {last:.0f}")
    herd = _simulate(SHORT)
    took = seconds_to_fresh(herd.agents, herd.server.up_at)
    name = f"{AGENTS:,} agents, {SHORT:.0f} s of outage"
    yield Figure(f"{name}: peak load after it, of the capacity", "", f"{peak(herd.server.work):.2f}")
    yield Figure(f"{name}: fresh again, the median and the last", "", f"{median(took):.0f} s, {took[-1]:.0f} s")


def _simulate(outage: float) -> Herd:
    herd = Herd(outage)
    up_at = herd.server.up_at
    for at in range(0, int(up_at + WATCH), 60):
        herd.run(at + 60.0)
        fresh = sum(agent.fresh_at is not None for agent in herd.agents)
        report(f"{at + 60 - up_at:+.0f} s: {fresh} are fresh")
    load = " ".join(f"{herd.server.work[second]:.2f}" for second in range(60))
    logins = sum(count for second, count in herd.server.logins.items() if second >= 0)
    report(f"seed {SEED}; {logins} logins, {herd.server.rejected} rejected by a full queue; load by the second: {load}")
    return herd


def seconds_to_fresh(agents: Sequence[Agent], up_at: float) -> list[float]:
    """Seconds from the end of the outage until each agent was fresh, in order; infinite for those that are not."""
    return sorted((agent.fresh_at if agent.fresh_at is not None else inf) - up_at for agent in agents)


def peak(counts: Counter[int], first: int = 0) -> float:
    return max(count for second, count in counts.items() if second >= first)
