"""The clients that log in with a role and read secrets, as the audit log shows them.

The log has the version of each secret in plain text. So it shows, without any access to Vault, whether a client has
read the newest version of what it reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, convert, field, to_builtins

from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.classification import RequestKind, classify, component, printable, secret_path
from lessee.ops.monitor.policy.timestamps import rfc3339

MAX_CLIENTS = 1000
"""With more, the one that was not seen for longest is forgotten."""
MAX_PATHS = 10_000
"""Secrets of all clients whose newest version is known."""
MAX_PATHS_OF_CLIENT = 50
SILENT_AFTER = 2 * 3600.0
"""A client without a request for this long may be gone: with the token_ttl of `lessee setup`, it renews before."""
FORGET_AFTER = 7 * 86400.0
_MAX_OUTDATED = 5
"""Outdated secrets of a client in the status."""
_MAX_REQUESTS = 3
_MAX_ID = 64
_CONCURRENT = 5.0
"""Seconds within which two answers may be in the log in another order than the server gave them."""
_SERVICES = ("rotator", "monitor")
"""The roles of `lessee setup` that are no agent's."""
_OWN_TOKEN = ("auth/token/lookup-self", "auth/token/renew-self")

Who = tuple[str, str]
"""Component and address."""


class Client(Struct):
    """A role at an address. Moments are in seconds since 1970; 0: unknown. It is changed in place."""

    component: str
    address: str
    environment: str
    seen_at: float
    logged_in_at: float = 0.0
    read_at: float = 0.0
    path: str = ""
    """What it read last."""
    version: int | None = None
    versions: dict[str, int] = field(default_factory=dict)
    """The version that it read last, of each secret that has versions."""
    is_complete: bool = True
    """Whether `versions` has all of these secrets."""
    requests: list[str] = field(default_factory=list)
    """The ids of its last logins, and of the last renewals and look-ups of its token."""


class _Newest(Struct):
    """The newest version of a secret, and when the log showed it first."""

    version: int
    at: float


class _State(Struct):
    clients: list[Client]
    newest: dict[str, _Newest]


class Clients:
    """The clients, and the newest version of each secret that they read. It is changed in place, as `Rates` is."""

    def __init__(self, environments: Sequence[str] = ()) -> None:
        """`environments`: whose roles begin with their name, as `lessee setup` names them."""
        self._environments = tuple(sorted({name.lower() for name in environments}, key=len, reverse=True))
        self._clients: dict[Who, Client] = {}
        self._newest: dict[str, _Newest] = {}

    def take(self, access: Access) -> None:
        """Note a request."""
        if access.error is not None:
            return
        path = self._changed_or_read(access) if access.mount_type == "kv" else ""
        if not access.role:
            return
        kind = classify(access.operation, access.path, access.local_mount, access.mount_type)
        who = component(access), printable(access.address)
        client = self._clients.get(who)
        if client is None:
            if kind not in {RequestKind.LOGIN, RequestKind.READ}:
                return
            client = self._add(who, access)
            if client is None:
                return
        client.seen_at = max(client.seen_at, access.at)
        if kind is RequestKind.LOGIN or access.path in _OWN_TOKEN:
            client.requests = [*client.requests, access.id[:_MAX_ID]][-_MAX_REQUESTS:]
        if kind is RequestKind.LOGIN:
            client.logged_in_at = max(client.logged_in_at, access.at)
        elif kind is RequestKind.READ:
            self._take_read(client, access, path)

    def prune(self, now: float) -> None:
        """Forget clients that are gone, and secrets that no client reads."""
        gone = [who for who, client in self._clients.items() if now - client.seen_at >= FORGET_AFTER]
        for who in gone:
            del self._clients[who]
        if gone:
            self._forget_unread()

    def rows(self, now: float) -> Iterator[tuple[Who, str, Mapping[str, Any]]]:
        """Who, its name, and its fields in status.json, of each client that has read a secret."""
        for who, client in sorted(self._clients.items()):
            if not client.read_at:
                continue
            outdated = self._outdated(client)
            fresh = None if not outdated and (not client.is_complete or not client.versions) else not outdated
            silent = now - client.seen_at >= SILENT_AFTER
            name = f"{client.component} at {client.address}"
            yield (
                who,
                name,
                {
                    "state": "silent" if silent else "not_watched" if fresh is None else _STATES[fresh],
                    "address": client.address,
                    "environment": client.environment or None,
                    "component": client.component,
                    "fresh": fresh,
                    "outdated": outdated[:_MAX_OUTDATED],
                    "logged_in_at": rfc3339(client.logged_in_at or None),
                    "last_read_at": rfc3339(client.read_at),
                    "last_read": {"path": client.path, "version": client.version},
                    "last_seen_at": rfc3339(client.seen_at),
                    "token_requests": client.requests,
                },
            )

    def state(self) -> Any:
        """The clients as JSON."""
        return to_builtins(_State(list(self._clients.values()), self._newest))

    def restore(self, state: Any) -> None:
        """Take over `state`. Raises ValidationError."""
        restored = convert(state, _State)
        self._clients = {(client.component, client.address): client for client in restored.clients}
        self._newest = restored.newest

    def _changed_or_read(self, access: Access) -> str:
        """Note the newest version of the secret that the request is about, and return the secret's path."""
        mount = access.local_mount
        is_metadata = access.path.startswith(f"{mount}/metadata/")
        plain = f"{mount}/data/{access.path[len(mount) + 10 :]}" if is_metadata else access.path
        path = secret_path(plain, mount, "kv", access.namespace)
        newest = self._newest.get(path)
        if newest is None:
            return path
        if is_metadata and access.operation == "delete":
            del self._newest[path]  # The next version is 1.
            for client in self._clients.values():
                client.versions.pop(path, None)
        elif access.version is not None and access.version > newest.version:
            self._newest[path] = _Newest(access.version, access.at)
        return path

    def _add(self, who: Who, access: Access) -> Client | None:
        environment = self._environment_of(access.role)
        if environment and access.role.lower()[len(environment) + 1 :] in _SERVICES:
            return None
        within = "/".join(filter(None, (access.namespace, environment)))
        client = self._clients[who] = Client(*who, printable(within), access.at)
        if len(self._clients) > MAX_CLIENTS:
            del self._clients[min(self._clients, key=lambda one: self._clients[one].seen_at)]
            self._forget_unread()
        return client

    def _environment_of(self, role: str) -> str:
        return next((name for name in self._environments if role.lower().startswith(f"{name}-")), "")

    def _take_read(self, client: Client, access: Access, path: str) -> None:
        client.read_at = max(client.read_at, access.at)
        client.path = path or secret_path(access.path, access.local_mount, access.mount_type, access.namespace)
        client.version = access.version
        if access.version is None:
            return
        newest = self._newest.get(path)
        if newest is None:
            if len(self._newest) >= MAX_PATHS:
                client.is_complete = False
                return
            newest = self._newest[path] = _Newest(access.version, access.at)
        if access.version < newest.version and access.at - newest.at > _CONCURRENT:
            client.versions.pop(path, None)  # It asked for this version.
        elif path in client.versions or len(client.versions) < MAX_PATHS_OF_CLIENT:
            client.versions[path] = max(access.version, client.versions.get(path, 0))
        else:
            client.is_complete = False

    def _outdated(self, client: Client) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for path, version in client.versions.items():
            newest = self._newest.get(path)
            if newest is not None and newest.version > version:
                found.append({"path": path, "version": version, "newest": newest.version, "since": rfc3339(newest.at)})
        return found

    def _forget_unread(self) -> None:
        read = {path for client in self._clients.values() for path in client.versions}
        self._newest = {path: newest for path, newest in self._newest.items() if path in read}


_STATES = {True: "fresh", False: "not_fresh"}
