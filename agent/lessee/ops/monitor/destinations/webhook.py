"""Publishes each change to a webhook, as a POST with a JSON body."""

from collections.abc import Sequence
from http import HTTPStatus

from lessee.core.change_events import Heartbeat
from lessee.host import http_client
from lessee.host.http_client import HttpError
from lessee.ops.monitor.delivery_queue import ChangeMessage, PublishError

_TIMEOUT = 5.0
_SUCCESS = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
_TEMPORARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class Webhook:
    """A URL, whose path may be a secret and is never printed. After a failure a change may arrive twice."""

    max_batch = 1
    takes_heartbeats = False

    def __init__(self, url: str) -> None:
        self._url = url

    def deliver(self, messages: Sequence[ChangeMessage]) -> None:
        [message] = messages
        try:
            response = http_client.request(
                "POST",
                self._url,
                headers={"Content-Type": "application/json"},
                body=message.content.encode(),
                timeout=_TIMEOUT,
            )
        except HttpError as exc:
            raise PublishError(exc.reason) from None
        status = response.status
        if status not in _SUCCESS:
            # A client error does not go away with another attempt.
            raise PublishError(
                f"the server answered {status}", permanent=status in _CLIENT_ERRORS and status not in _TEMPORARY
            )

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        """A webhook only gets changes."""

    def close(self) -> None:
        """Each request has its own connection."""
