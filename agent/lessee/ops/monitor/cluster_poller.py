"""Polls the cluster's raft peers, and measures its storage on this machine, for metrics."""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.config import Vault
from lessee.config.grammar.monitor import ClusterMetrics
from lessee.core.errors import LesseeError
from lessee.host.clock import wall_time
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.classification import printable
from lessee.ops.monitor.policy.timestamps import rfc3339
from lessee.vault.admin import AdminClient
from lessee.vault.service_logins import ServiceLogins

_PEERS = "sys/storage/raft/configuration"
_MAX_PEERS = 100
_BLOCK = 512
"""Bytes of a block in stat(2)'s st_blocks, whatever the file system's own size is."""
_CLOSE_TIMEOUT = 2.0
"""Seconds at the end for revoking the token."""


class ClusterPoller:
    """A sink that takes no entries. It begins with the first tick."""

    name = "cluster"

    def __init__(self, config: ClusterMetrics, vault: Vault, environ: Mapping[str, str], logins: ServiceLogins) -> None:
        self._config, self._vault, self._environ, self._logins = config, vault, environ, logins
        self._status: Mapping[str, Any] = {"peers": None, "checked_at": None, "error": None}
        self._problems: list[str] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lessee-cluster", daemon=True)

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""

    def tick(self, now: float) -> None:
        """See Sink."""
        del now
        if self._thread.ident is None:
            self._thread.start()

    def state(self) -> None:
        """See Sink. The next start polls again."""

    def restore(self, state: Any) -> None:
        """See Sink."""

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        return {"cluster": self._status, "problems": self._problems}

    def close(self) -> None:
        """See Sink."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_TIMEOUT)

    def _run(self) -> None:
        while True:
            problems = []
            peers, error = self._read_peers()
            if error is not None:
                problems.append(f"the raft peers are unknown: {error}")
            storage: Mapping[str, int] = {}
            if self._config.storage_dir is not None:
                try:
                    storage = _storage(Path(self._config.storage_dir))
                except OSError as exc:
                    problems.append(f"the storage's size is unknown: {exc.filename}: {exc.strerror}")
            self._status = {"peers": peers, "checked_at": rfc3339(wall_time()), "error": error, **storage}
            self._problems = problems
            if self._closed.wait(self._config.poll_interval):
                return

    def _read_peers(self) -> tuple[list[Mapping[str, Any]] | None, str | None]:
        """The peers, or the last known ones and why they are unknown now."""
        try:
            with self._logins.client(self._vault, self._environ) as client:
                return _peers(client), None
        except LesseeError as exc:
            return self._status["peers"], printable(str(exc))
        except Exception as exc:  # noqa: BLE001  # Its text may hold a value, and the thread must survive.
            return self._status["peers"], f"internal error: {type(exc).__name__}; please report it"


def _peers(client: AdminClient) -> list[Mapping[str, Any]] | None:
    """The peers, or None if the storage is not raft."""
    answer = client.read(_PEERS)
    config = (answer or {}).get("config")
    servers = config.get("servers") if isinstance(config, Mapping) else None
    return None if servers is None else list(_parsed(servers))


def _parsed(servers: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    for server, _ in zip(servers, range(_MAX_PEERS), strict=False):
        yield {
            "node": printable(str(server.get("node_id"))),
            "voter": server.get("voter") is True,
            "leader": server.get("leader") is True,
        }


def _storage(directory: Path) -> Mapping[str, int]:
    """What the files take on the disk, and what is left there. Raises OSError."""

    def fail(exc: OSError) -> None:
        raise exc

    total = 0
    for folder, _, names in os.walk(directory, onerror=fail):
        for name in names:
            try:
                total += os.lstat(Path(folder, name)).st_blocks * _BLOCK
            except FileNotFoundError:
                continue  # The server has removed it meanwhile.
    disk = os.statvfs(directory)
    return {"storage_bytes": total, "storage_free_bytes": disk.f_bavail * disk.f_frsize}
