"""Polls the status of agents and rotators, each in its own thread."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lessee.config.grammar.alerts import WatchTarget
from lessee.core.errors import AgentUnavailableError
from lessee.core.immutable import replace
from lessee.host.clock import wall_time
from lessee.ops.monitor.alert_delivery.channels import with_absolute_paths
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError, ask, content
from lessee.ops.monitor.policy.service_status import PollResult, parse_service_status
from lessee.status.client import request_status

_TIMEOUT = 5.0
_NO_STATUS = "the answer is not a lessee status"


class ServicePoller:
    """Polls until it is closed."""

    def __init__(self, watched: Mapping[str, WatchTarget], base: Path, interval: float) -> None:
        """Relative file paths start at `base`."""
        self._results: dict[str, PollResult] = {}
        self._interval, self._closed = interval, threading.Event()
        for name, block in watched.items():
            service = with_absolute_paths(block, base)
            threading.Thread(target=self._run, args=(name, service), name=f"lessee-poll-{name}", daemon=True).start()

    def results(self) -> Mapping[str, PollResult]:
        """The latest result of each service that was polled."""
        return dict(self._results)

    def close(self) -> None:
        """Stop polling."""
        self._closed.set()

    def _run(self, name: str, service: WatchTarget) -> None:
        while True:
            try:
                status, now = parse_service_status(_status(service)), wall_time()
                result = PollResult(now, None, status, _address(service), answered_at=now)
            except (DeliveryFailedError, AgentUnavailableError) as exc:
                error = exc.what if isinstance(exc, AgentUnavailableError) else str(exc)
                result = self._failure(name, error)
            except Exception as exc:  # noqa: BLE001  # Without its thread, a service would seem healthy forever.
                result = self._failure(name, f"{_NO_STATUS}: {type(exc).__name__}")
            self._results[name] = result
            if self._closed.wait(self._interval):
                return

    def _failure(self, name: str, error: str) -> PollResult:
        last = self._results.get(name, PollResult(0.0, None, None))
        return replace(last, at=wall_time(), error=error)


def _address(service: WatchTarget) -> str:
    """Where the service is, without a user and password that the URL may contain."""
    return service.socket if service.socket is not None else urlsplit(service.url or "").netloc.rpartition("@")[2]


def _status(service: WatchTarget) -> Any:
    if service.socket is not None:
        return request_status(Path(service.socket), "GET", "/status.json", timeout=_TIMEOUT)
    url = (service.url or "").rstrip("/")
    url = url if url.endswith(".json") else f"{url}/status.json"
    headers = {"Authorization": f"Bearer {content(service.token_file)}"} if service.token_file is not None else {}
    try:
        return json.loads(ask(url, headers=headers, ca_file=service.ca_file, timeout=_TIMEOUT))
    except (ValueError, RecursionError):
        raise DeliveryFailedError(_NO_STATUS) from None
