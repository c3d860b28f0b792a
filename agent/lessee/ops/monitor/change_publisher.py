"""Publishes each change in the audit log to Redis, webhooks, and Unix sockets."""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from lessee.core.change_events import MAX_MESSAGE_BYTES, encode_message
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import wall_time
from lessee.ops.monitor.delivery_queue import ChangeMessage, DeliveryQueue, Destination, QueueState
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.change_detection import change_of

MAX_DELAY = 10.0
"""Seconds between an entry and its being read, after which agents should poll instead of waiting for changes."""
_MAX_CLOCK_SKEW = 300.0
"""The server's clock may be this far behind: a change after the first start would seem to be one of before."""
_MANY_PENDING = 100
"""Pending changes that are reported as a problem."""


class _State(ImmutableStruct, frozen=True):
    epoch: str
    destinations: Mapping[str, QueueState]


class ChangePublisher:
    """A sink whose state holds the pending changes, so that a kill loses none.

    Redis gets no change twice: it stores the number of the last entry in the transaction that publishes its change.
    """

    name = "changes"

    def __init__(
        self,
        urls: Iterable[str],
        environments: Collection[str],
        logs_readable: Callable[[], bool],
        heartbeat_interval: float,
    ) -> None:
        """`environments` are the first elements of KV paths that events report separately."""
        self._logs_readable = logs_readable
        self._newest: float | None = None
        """The time of the newest entry since the last tick."""
        self._delay = 0.0
        """The age of the newest entry at the last tick, or 0 if it is at most MAX_DELAY."""
        self._environments = environments
        self._epoch = uuid.uuid4().hex
        """Identifies this numbering of the log's entries. A new state directory numbers them again."""
        self._queues: dict[str, DeliveryQueue] = {}
        self._recent = wall_time() - _MAX_CLOCK_SKEW
        self._started = False
        for url in urls:
            name = self._name(url)
            self._queues[name] = DeliveryQueue(name, self._destination(url), heartbeat_interval)

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        self._start()
        if entries:
            self._newest = entries[-1].access.at
        messages = [
            ChangeMessage(entry.source, entry.number, text.decode())
            for entry in entries
            # Agents poll until the monitor runs: what changed long before its first start is no news.
            if not (entry.is_history and entry.access.at < self._recent)
            and (change := change_of(entry.access, self._environments)) is not None
            # No agent accepts a longer message.
            and len(text := encode_message(change)) <= MAX_MESSAGE_BYTES
        ]
        if messages:
            for queue in self._queues.values():
                queue.enqueue(messages)

    def tick(self, now: float) -> None:
        """See Sink."""
        self._start()
        # An agent that gets heartbeats does not poll. The monitor sends none while it cannot read a log or is late.
        delay = now - self._newest if self._newest is not None else 0.0
        self._delay, self._newest = delay if delay > MAX_DELAY else 0.0, None
        is_up_to_date = self._logs_readable() and not self._delay
        for queue in self._queues.values():
            queue.set_up_to_date(is_up_to_date=is_up_to_date)

    def state(self) -> Any:
        """See Sink."""
        state = _State(self._epoch, {name: queue.state() for name, queue in self._queues.items()})
        return msgspec.to_builtins(state)

    def restore(self, state: Any) -> None:
        """See Sink."""
        saved = msgspec.convert(state, _State)
        self._epoch = saved.epoch
        for name, queue in self._queues.items():
            if name in saved.destinations:
                queue.restore(saved.destinations[name])

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        destinations = {name: queue.status() for name, queue in self._queues.items()}
        problems = [text for name, status in destinations.items() for text in _problems(name, status)]
        if self._delay:
            problems.append(
                f"changes are published {self._delay:.0f} s late: there are many entries to read, or the server's "
                "clock differs from this machine's; agents poll until it is resolved"
            )
        return {"destinations": destinations, "problems": problems}

    def close(self) -> None:
        """See Sink."""
        if self._started:
            for queue in self._queues.values():
                queue.finish()
            for queue in self._queues.values():
                queue.close()

    def _start(self) -> None:
        # Not in __init__, because `restore` is called first.
        if not self._started:
            self._started = True
            for queue in self._queues.values():
                queue.start()

    def _name(self, url: str) -> str:
        kind = url.partition(":")[0].rstrip("s") if not url.startswith("unix") else "socket"
        kind = {"redi": "redis", "http": "webhook"}.get(kind, kind)
        others = sum(name.partition(" ")[0] == kind for name in self._queues)
        return f"{kind} {others + 1}" if others else kind

    def _destination(self, url: str) -> Destination:
        # Each import is only needed for its scheme.
        match url.partition("://"):
            case "redis" | "rediss", _, _:
                from lessee.ops.monitor.destinations.redis_streams import RedisStreams  # noqa: PLC0415

                return RedisStreams(url, lambda: self._epoch)
            case "http" | "https", _, _:
                from lessee.ops.monitor.destinations.webhook import Webhook  # noqa: PLC0415

                return Webhook(url)
            case "unix", _, path:
                from lessee.ops.monitor.destinations.unix_socket import UnixSocket  # noqa: PLC0415

                return UnixSocket(path)
            case _:
                raise LesseeError("unsupported URL to publish changes to", todo="use redis://, https:// or unix:///")


def _problems(name: str, status: Mapping[str, Any]) -> Iterable[str]:
    if status["error"] is not None:
        pending = f"{status['pending']} pending"
        yield f"changes cannot be published to {name}: {status['error']}; {pending}, agents poll until it is available"
    elif status["pending"] > _MANY_PENDING:
        yield f"changes are published late to {name}: {status['pending']} pending"
