"""Sends many requests to Vault concurrently."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lessee.core.errors import LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.host.progress import SILENT, Progress

THREADS = 8
_MAX_UNREACHABLE = 2 * THREADS

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def unless_gone(request: Callable[[], _Result]) -> _Result | None:
    """What a lookup returns, or None if Vault does not know the accessor any more: then it answers 404 or 400."""
    try:
        return request()
    except VaultRequestError as exc:
        if exc.kind in {Kind.NOT_FOUND, Kind.INVALID}:
            return None
        raise


def request_all(
    request: Callable[[_Item], _Result],
    items: Iterable[_Item],
    progress: Progress = SILENT,
    *,
    threads: int = THREADS,
) -> list[_Result | LesseeError]:
    """The result or the error for each item, in their order. Few requests are sent to a server that is unreachable."""
    unreachable: list[VaultUnreachableError] = []

    def send(item: _Item) -> _Result | LesseeError:
        if len(unreachable) >= _MAX_UNREACHABLE:
            return unreachable[-1]
        try:
            return request(item)
        except VaultUnreachableError as exc:
            unreachable.append(exc)
            return exc
        except LesseeError as exc:
            return exc
        finally:
            progress.advance()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, items))
