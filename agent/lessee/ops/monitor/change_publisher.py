"""Publishes each change that the audit log shows: to Redis, to webhooks, at a Unix socket."""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from lessee.core.change_events import LONGEST, packed
from lessee.core.errors import LesseeError
from lessee.core.immutable import Record
from lessee.ops.monitor.delivery_queue import DeliveryQueue, Parcel, Place, Waiting
from lessee.ops.monitor.policy.access import Line
from lessee.ops.monitor.policy.change_detection import change_of

LATE = 10.0
"""Seconds between a line and its being read, after which what is told comes too late to be waited for."""
_WAIT_LONG = 100
"""Changes that wait and are told of as a problem."""


class _Kept(Record, frozen=True):
    epoch: str
    places: Mapping[str, Waiting]


class Publishing:
    """A sink of the monitor. What has not arrived is part of its state: nothing is lost by a kill.

    In Redis nothing is doubled either: the number of the last line stands there, written with its change.
    """

    name = "publishing"

    def __init__(
        self, urls: Iterable[str], environments: Collection[str], sees: Callable[[], bool], heartbeat: float
    ) -> None:
        """`environments` are the first elements of KV paths that events name apart. `sees`: all logs can be read.

        `heartbeat`: seconds between two.
        """
        self._sees = sees
        self._newest: float | None = None
        """The time of the newest line since the last tick."""
        self._late = 0.0
        """Seconds that the newest line was old, as of the last tick; 0 where that does no harm."""
        self._environments = environments
        self._epoch = uuid.uuid4().hex
        """Of this account: another one numbers the log's lines anew."""
        self._couriers: dict[str, DeliveryQueue] = {}
        self._urls = tuple(urls)
        self._started = False
        for url in self._urls:
            name = self._name(url)
            self._couriers[name] = DeliveryQueue(name, self._place(url), heartbeat)

    def take(self, lines: Sequence[Line]) -> None:
        self._start()
        if lines:
            self._newest = lines[-1].access.at
        parcels = [
            Parcel(line.source, line.number, text.decode())
            for line in lines
            if (change := change_of(line.access, self._environments)) is not None
            # Nobody takes a longer one, and at a socket it would be taken for rubbish that never ends.
            and len(text := packed(change)) <= LONGEST
        ]
        if parcels:
            for courier in self._couriers.values():
                courier.put(parcels)

    def tick(self, now: float) -> None:
        self._start()
        # Agents that hear it poll no more: so whoever sees nothing, or is behind, is silent.
        late = now - self._newest if self._newest is not None else 0.0
        self._late, self._newest = late if late > LATE else 0.0, None
        all_of_it = self._sees() and not self._late
        for courier in self._couriers.values():
            courier.sees(all_of_it=all_of_it)

    def state(self) -> Any:
        kept = _Kept(self._epoch, {name: one.state() for name, one in self._couriers.items()})
        return msgspec.to_builtins(kept)

    def restore(self, state: Any) -> None:
        kept = msgspec.convert(state, _Kept)
        self._epoch = kept.epoch
        for name, courier in self._couriers.items():
            if name in kept.places:
                courier.restore(kept.places[name])

    def status(self) -> Mapping[str, Any]:
        said = {name: courier.status() for name, courier in self._couriers.items()}
        problems = [line for name, one in said.items() for line in _problems(name, one)]
        if self._late:
            late = f"changes are published {self._late:.0f} s late, agents poll meanwhile"
            problems.append(f"{late}: there is much to read, or the server's clock is not this machine's")
        return {"publishing": said, "problems": problems}

    def close(self) -> None:
        if self._started:
            for courier in self._couriers.values():
                courier.finish()
            for courier in self._couriers.values():
                courier.close()

    def _start(self) -> None:
        # Only now, for what was kept is taken up first.
        if not self._started:
            self._started = True
            for courier in self._couriers.values():
                courier.start()

    def _name(self, url: str) -> str:
        kind = url.partition(":")[0].rstrip("s") if not url.startswith("unix") else "socket"
        kind = {"redi": "redis", "http": "webhook"}.get(kind, kind)
        others = sum(name.partition(" ")[0] == kind for name in self._couriers)
        return f"{kind} {others + 1}" if others else kind

    def _place(self, url: str) -> Place:
        # Each imports what the others have no use for.
        match url.partition("://"):
            case "redis" | "rediss", _, _:
                from lessee.ops.monitor.destinations.streams import Streams  # noqa: PLC0415

                return Streams(url, lambda: self._epoch)
            case "http" | "https", _, _:
                from lessee.ops.monitor.destinations.webhook import Webhook  # noqa: PLC0415

                return Webhook(url)
            case "unix", _, path:
                from lessee.ops.monitor.destinations.sockets import Sockets  # noqa: PLC0415

                return Sockets(path)
            case _:
                raise LesseeError("no change can be published there", todo="write redis://, https:// or unix:///")


def _problems(name: str, said: Mapping[str, Any]) -> Iterable[str]:
    if said["error"] is not None:
        yield f"changes are not published: {name}: {said['error']}; {said['waiting']} wait, agents poll meanwhile"
    elif said["waiting"] > _WAIT_LONG:
        yield f"changes are published late: {name}: {said['waiting']} wait"
