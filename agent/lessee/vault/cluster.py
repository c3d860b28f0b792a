"""Selects the address of a Vault cluster that serves requests."""

import threading
from collections import Counter
from collections.abc import Callable

from lessee.core.failures import Failure, Kind
from lessee.vault.responses import RequestFailedError, describe_status

ACTIVE = 200
STANDBY = (429, 473)
"""A standby forwards requests to the active node, if there is one."""


class Cluster:
    """The addresses of one Vault. All threads use the same one of them."""

    def __init__(self, urls: tuple[str, ...], health: Callable[[str], int | str]) -> None:
        """`health`: the status of sys/health at an address, or why it does not answer."""
        self._urls = urls
        self._health = health
        self._lock = threading.Lock()
        self._serves = len(urls) == 1
        self.url = urls[0]
        """The address in use, or the last one in use."""

    def find(self) -> str:
        """The address that serves requests. Raises RequestFailedError if no address does."""
        with self._lock:
            if not self._serves:
                self.url = self._select()
                self._serves = True
            return self.url

    def mark_unavailable(self, url: str) -> bool:
        """Select another address before the next request; return whether there is one to try."""
        if len(self._urls) == 1:
            return False
        with self._lock:
            if url == self.url:
                self._serves = False
        return True

    def _select(self) -> str:
        standby = None
        reasons = Counter[str]()
        for url in sorted(self._urls, key=lambda url: url != self.url):
            match self._health(url):
                case status if status == ACTIVE:
                    return url
                case status if status in STANDBY:
                    standby = standby or url
                case int() as status:
                    reasons[describe_status(status)] += 1
                case str() as reason:
                    reasons[reason] += 1
        if standby is not None:
            return standby
        counts = ", ".join(f"{reason} at {number}" for reason, number in reasons.items())
        raise RequestFailedError(Failure(Kind.UNAVAILABLE, f"none of {len(self._urls)} addresses serves: {counts}"))
