"""Redis: a channel for who listens, a stream for who was away, and the number of the last line with each."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lessee.core.change_events import CHANNEL, HEARTBEAT, Beat, packed
from lessee.events.redis_streams import FIELD, connected, why
from lessee.events.source import AwayError
from lessee.ops.monitor.delivery_queue import Parcel, UndeliveredError

KEPT = 10_000
"""Changes in the stream, about."""
_ANSWER = 3.0
_REMEMBERED = 30 * 86400
"""Seconds that Redis remembers which lines an account has published."""


class Streams:
    """Redis at a URL."""

    most = 500
    beats = True

    def __init__(self, url: str, epoch: Callable[[], str]) -> None:
        """`epoch` tells the accounts apart by which lines are numbered."""
        self._url = url
        self._epoch = epoch
        self._client: Any = None
        self._done: dict[str, int] | None = None
        """The last line of each source that is there; None: it is not known what arrived."""

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        key = f"lessee:published:{self._epoch()}"
        try:
            client = self._connected()
            if self._done is None:
                there = client.hgetall(key)
                self._done = {source.decode(): int(number) for source, number in there.items()}
            done = self._done
            new = [parcel for parcel in parcels if parcel.number > done.get(parcel.source, 0)]
            if not new:
                return
            last = {parcel.source: parcel.number for parcel in new}
            # Whether an answer that is lost was a yes is asked when it is connected again.
            self._done = None
            with client.pipeline(transaction=True) as all_or_nothing:
                for parcel in new:
                    all_or_nothing.publish(CHANNEL, parcel.content)
                    all_or_nothing.xadd(CHANNEL, {FIELD: parcel.content}, maxlen=KEPT, approximate=True)
                all_or_nothing.hset(key, mapping=last)
                all_or_nothing.expire(key, _REMEMBERED)
                all_or_nothing.execute()
        except UndeliveredError:
            raise
        except Exception as exc:  # noqa: BLE001  # What speaks no Redis can make its client stumble over anything.
            self._let_go()
            raise UndeliveredError(why(exc)) from None
        self._done = {**done, **last}

    def beat(self, beat: Beat) -> None:
        try:
            self._connected().xadd(HEARTBEAT, {FIELD: packed(beat)}, maxlen=1, approximate=False)
        except UndeliveredError:
            raise
        except Exception as exc:  # noqa: BLE001  # As above.
            self._let_go()
            raise UndeliveredError(why(exc)) from None

    def close(self) -> None:
        self._let_go()

    def _connected(self) -> Any:
        if self._client is None:
            try:
                self._client = connected(self._url, extra="events", timeout=_ANSWER)
            except AwayError as exc:
                raise UndeliveredError(str(exc)) from None
        return self._client

    def _let_go(self) -> None:
        self._done = None
        if self._client is not None:
            with suppress(Exception):  # It is gone anyhow.
                self._client.close()
            self._client = None
