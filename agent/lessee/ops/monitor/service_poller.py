"""Asks agents and the rotator how they are, each in a thread of its own."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lessee.config.grammar.alerts import Watched
from lessee.core.errors import AgentUnavailableError
from lessee.core.immutable import replace
from lessee.host.clock import wall_time
from lessee.ops.monitor.alert_delivery.channels import settled
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError, ask, content
from lessee.ops.monitor.policy.facts import Answer, heard
from lessee.status import server

EVERY = 15.0
"""Seconds between two looks."""
_TIMEOUT = 5.0


class Looking:
    """Goes on until it is closed."""

    def __init__(self, watched: Mapping[str, Watched], near: Path, every: float = EVERY) -> None:
        """`near`: where the paths of files start."""
        self._answers: dict[str, Answer] = {}
        self._every, self._closed = every, threading.Event()
        for name, one in watched.items():
            said = settled(one, near)
            threading.Thread(target=self._go_on, args=(name, said), name=f"lessee-look-{name}", daemon=True).start()

    def answers(self) -> Mapping[str, Answer]:
        """The latest of each that has been asked."""
        return dict(self._answers)

    def close(self) -> None:
        """No more looks."""
        self._closed.set()

    def _go_on(self, name: str, said: Watched) -> None:
        while True:
            try:
                answer = Answer(wall_time(), None, heard(_status(said)))
            except (DeliveryFailedError, AgentUnavailableError) as exc:
                last = self._answers.get(name)
                why = exc.what if isinstance(exc, AgentUnavailableError) else str(exc)
                answer = replace(last or Answer(0.0, None, None), at=wall_time(), error=why)
            except Exception as exc:  # noqa: BLE001  # Without this thread it would be taken for well for ever.
                last = self._answers.get(name)
                why = f"what answers there is no status: {type(exc).__name__}"
                answer = replace(last or Answer(0.0, None, None), at=wall_time(), error=why)
            self._answers[name] = answer
            if self._closed.wait(self._every):
                return


def _status(said: Watched) -> Any:
    if said.socket is not None:
        return server.ask(Path(said.socket), "GET", "/status.json", timeout=_TIMEOUT)
    url = (said.url or "").rstrip("/")
    url = url if url.endswith(".json") else f"{url}/status.json"
    headers = {"Authorization": f"Bearer {content(said.token_file)}"} if said.token_file is not None else {}
    try:
        return json.loads(ask(url, headers=headers, ca_file=said.ca_file, timeout=_TIMEOUT))
    except (ValueError, RecursionError):
        raise DeliveryFailedError("what answers there is no status") from None
