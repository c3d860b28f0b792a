"""A webhook: a POST of JSON for each change."""

from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection as Plain
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from lessee.core.change_events import Beat
from lessee.ops.monitor.delivery_queue import Parcel, UndeliveredError

_ANSWER = 5.0
_GOOD = range(200, 300)
_REFUSALS = range(400, 500)
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class Webhook:
    """A URL, whose path may be a secret and is never told. A change may come twice, after a failure."""

    most = 1
    beats = False

    def __init__(self, url: str) -> None:
        self._url = url

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        [parcel] = parcels
        try:
            url = urlsplit(self._url)
            connection = (HTTPSConnection if url.scheme == "https" else Plain)(
                url.hostname or "", url.port, timeout=_ANSWER
            )
        except (ValueError, HTTPException):
            raise UndeliveredError("its URL has no valid host and port") from None
        try:
            target = f"{url.path or '/'}{url.query and '?'}{url.query}"
            connection.request(
                "POST", target, body=parcel.content.encode(), headers={"Content-Type": "application/json"}
            )
            status = connection.getresponse().status
        except OSError as exc:
            raise UndeliveredError(exc.strerror or "no answer") from None
        except (HTTPException, ValueError):
            raise UndeliveredError("what answers speaks no HTTP") from None
        finally:
            connection.close()
        if status not in _GOOD:
            # What it will have nothing of, it is not asked to take for ever.
            raise UndeliveredError(f"it answered {status}", lost=status in _REFUSALS and status not in _LATER)

    def beat(self, beat: Beat) -> None:
        """It is told of changes alone."""

    def close(self) -> None:
        """No connection is kept."""
