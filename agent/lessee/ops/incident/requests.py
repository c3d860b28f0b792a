"""Requests that change nothing, many at once."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.transport import RequestFailedError

THREADS = 8
_ENOUGH = 2 * THREADS

_A = TypeVar("_A")
_B = TypeVar("_B")


def look_up(client: AdminClient, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a POST that changes nothing tells; None where what is asked for is gone. Raises as `AdminClient.read`."""
    try:
        return client.transport.ask("POST", path, token=client.token, body=body, changes=False).data
    except RequestFailedError as exc:
        if exc.failure.kind in {Kind.MISSING, Kind.INVALID}:
            return None
        raise request_error(exc.failure, path) from None


def side_by_side(ask: Callable[[_A], _B], about: Iterable[_A], *, threads: int = THREADS) -> list[_B | LesseeError]:
    """An answer, or what went wrong, about each, in their order. Of a server that is away few are asked."""
    lost: list[VaultUnreachableError] = []

    def asked(one: _A) -> _B | LesseeError:
        if len(lost) >= _ENOUGH:
            return lost[-1]
        try:
            return ask(one)
        except VaultUnreachableError as exc:
            lost.append(exc)
            return exc
        except LesseeError as exc:
            return exc

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(asked, about))
