"""Which of Vault's addresses to ask."""

import threading
from collections import Counter
from collections.abc import Callable

from lessee.core.failures import Failure, Kind
from lessee.vault.responses import RequestFailedError, meaning

ACTIVE = 200
STANDBY = (429, 473)
"""It passes on what it cannot do itself, once there is an active node."""


class Cluster:
    """The addresses of one Vault, of which one is in use, by all threads."""

    def __init__(self, urls: tuple[str, ...], health: Callable[[str], int | str]) -> None:
        """`health` gives the status of an address's sys/health, or why it does not answer."""
        self._urls = urls
        self._health = health
        self._lock = threading.Lock()
        self._serves = len(urls) == 1
        self.url = urls[0]
        """The address in use, or used last."""

    def find(self) -> str:
        """The address that serves. Raises RequestFailedError where none does."""
        with self._lock:
            if not self._serves:
                self.url = self._look()
                self._serves = True
            return self.url

    def lose(self, url: str) -> bool:
        """It did not serve; whether it is worth asking `find` for another."""
        if len(self._urls) == 1:
            return False
        with self._lock:
            if url == self.url:
                self._serves = False
        return True

    def _look(self) -> str:
        standby = None
        reasons = Counter[str]()
        for url in sorted(self._urls, key=lambda url: url != self.url):
            match self._health(url):
                case status if status == ACTIVE:
                    return url
                case status if status in STANDBY:
                    standby = standby or url
                case int() as status:
                    reasons[meaning(status)] += 1
                case str() as reason:
                    reasons[reason] += 1
        if standby is not None:
            return standby
        told = ", ".join(f"{reason} at {number}" for reason, number in reasons.items())
        raise RequestFailedError(Failure(Kind.UNAVAILABLE, f"of {len(self._urls)} addresses none serves: {told}"))
