"""Requests that change nothing, many at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lessee.core.errors import LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind

THREADS = 8
_ENOUGH = 2 * THREADS

_A = TypeVar("_A")
_B = TypeVar("_B")


def unless_gone(ask: Callable[[], _B]) -> _B | None:
    """What a lookup returns, or None if Vault does not know the accessor any more: then it answers 404 or 400."""
    try:
        return ask()
    except VaultRequestError as exc:
        if exc.kind in {Kind.NOT_FOUND, Kind.INVALID}:
            return None
        raise


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
