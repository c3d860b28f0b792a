"""The apps' read sockets, which answer from the states of the identities."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from lessee import __version__
from lessee.agent.machine.apps.state import App
from lessee.agent.machine.state import State
from lessee.core.errors import WriteError
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref, is_of_source
from lessee.core.secrets import Secret
from lessee.host.clock import boot_time
from lessee.protocol.app_spec import supply_name
from lessee.read_api.policy.answers import ReadScope
from lessee.read_api.policy.values import Issued, Published
from lessee.read_api.server import AppSocket, ReadServers

if TYPE_CHECKING:
    from lessee.config import CredentialSocket, ReadSocket
    from lessee.host.project import Project
    from lessee.read_api.containers import RunningContainer


_N = TypeVar("_N", bound=Need)

ReadFiles = Callable[[str], Mapping[str, bytes]]
"""Returns the published files of an app, by name. Raises WriteError."""


class ReadSockets:
    """The sockets of all apps. Any thread may ask; the loop configures."""

    def __init__(self, states: Callable[[], Iterable[State]], read_files: ReadFiles) -> None:
        self._states = states
        self._read_files = read_files
        self._lock, self._engine = Lock(), Lock()
        self._changes: set[int] = set()
        """The eventfds of the clients that wait."""
        self._scopes: Mapping[str, ReadScope] = {}
        self._servers = ReadServers(self)
        self._names: Mapping[str, tuple[str, ...]] = {}
        """Under which names the machines serve an app, and supply something to it."""

    def configure(self, project: "Project") -> None:
        """Serve the apps of this project that have a socket."""
        apps = project.config.apps
        sockets: dict[AppSocket, ReadSocket | CredentialSocket] = {
            (name, "read"): app.socket for name, app in apps.items() if app.socket is not None
        }
        sockets |= {(name, "credential"): app.credentials for name, app in apps.items() if app.credentials is not None}
        compiled_apps = {name: project.compiled_apps[name] for name, _ in sockets}
        self._names = {
            name: (name, *(supply_name(name, identity) for identity in ("", *compiled_app.app.identities)))
            for name, compiled_app in compiled_apps.items()
        }
        self._scopes = {
            name: ReadScope(name, compiled_app.scope, compiled_app.app.vault.namespace or "", __version__)
            for name, compiled_app in compiled_apps.items()
        }
        self._servers.configure(sockets)

    def close(self) -> None:
        """Close all sockets."""
        self._servers.close()

    def problems(self) -> list[str]:
        """Why sockets are not open."""
        return self._servers.problems()

    def turned(self) -> None:
        """The loop has ended a turn, in which something may have been published."""
        self._servers.retry()
        if self._changes:
            with self._lock:
                for change in self._changes:
                    os.eventfd_write(change, 1)

    def container(self, container_id: str) -> "RunningContainer | None":
        """A container, as the engine describes it. Raises LesseeError."""
        # The engine's client takes 17 MB: few sockets name containers.
        from lessee.notification.engine import open_engine  # noqa: PLC0415
        from lessee.read_api.containers import RunningContainer  # noqa: PLC0415

        with self._engine, open_engine() as engine:
            found = engine.inspect(container_id)
        if found is None or found.id != container_id:
            return None
        return RunningContainer(found.title, found.state.pid, found.config.labels or {})

    def scope(self, app: str) -> ReadScope | None:
        """What does not change between two requests."""
        return self._scopes.get(app)

    def values(self, app: str) -> "AppValues | None":
        """What the app may read now."""
        names = self._names.get(app, ())
        parts = [(state, found) for state in self._states() for name in names if (found := state.apps.get(name))]
        return AppValues(app, parts, self._read_files) if parts else None

    @contextmanager
    def changes(self) -> Iterator[int]:
        """An eventfd that can be read after each turn, so that a client's thread can watch its connection too."""
        change = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._lock:
            self._changes.add(change)
        try:
            yield change
        finally:
            with self._lock:
                self._changes.remove(change)
                os.close(change)


class AppValues:
    """What one app may read: of the machine that serves it, and of those that supply something to it."""

    def __init__(self, app: str, parts: Collection[tuple[State, App]], read_files: ReadFiles) -> None:
        self._app = app
        self._parts = parts
        self._read_files = read_files

    @property
    def published(self) -> Published | None:
        """The generation that readers see."""
        publication = next((app.publication for _, app in self._parts if app.spec.supplies is None), None)
        if publication is None:
            return None
        number, generation = publication.number, publication.generation
        if generation is not None:
            etag = f"{number}-{generation.fingerprint[:16]}"
            return Published(number, etag, {file.name: file.content for file in generation.files})
        try:
            # An earlier process has published it, and Vault has not said yet that it is still the right one.
            return Published(number, f"{number}-earlier", self._read_files(self._app))
        except WriteError:
            return None

    @property
    def mounts(self) -> Collection[str]:
        """The KV mounts of the app's secrets."""
        needs = (need for _, app in self._parts for need in app.spec.needs if not isinstance(need, DynamicSecret))
        return {need.mount for need in needs if not is_of_source(need.mount)}

    def kv_version(self, mount: str) -> int:
        """1 or 2; 0: not known yet."""
        found = (state.mounts.get(mount) for state, _ in self._parts)
        return max((known.version for known in found if known is not None), default=0)

    def reads(self, need: Ref | Folder) -> bool:
        """Whether the app's templates read it."""
        return self._state_of(need) is not None

    def secret(self, ref: Ref) -> Secret | None:
        """The newest value that is known."""
        state = self._state_of(ref)
        known = state.secrets.get(_bare(ref)) if state is not None else None
        return known.secret if known is not None and not _is_missing(known.failure) else None

    def is_missing(self, ref: Ref) -> bool:
        """Whether Vault has said that it does not exist."""
        state = self._state_of(ref)
        if state is None:
            return False
        known, folder = state.secrets.get(_bare(ref)), state.folders.get(_bare(ref.folder))
        if known is not None:
            return _is_missing(known.failure)
        # It is not in a folder that was listed.
        return folder is not None and folder.names is not None

    def names(self, folder: Folder) -> Collection[str] | None:
        """The secrets in a folder."""
        state = self._state_of(folder)
        folder = _bare(folder)
        found = state.folders.get(folder) if state is not None else None
        if state is None or found is None or found.names is None:
            return None
        refs = ((name, state.secrets.get(folder.ref(name))) for name in found.names)
        return [name for name, known in refs if known is None or not _is_missing(known.failure)]

    def dynamic(self, path: str) -> DynamicSecret | None:
        """What a template requests at this path without parameters."""
        found = (need for _, app in self._parts for need in app.spec.needs if isinstance(need, DynamicSecret))
        return next((need for need in found if _is_plain(need) and need.path == path), None)

    def issued(self, need: DynamicSecret) -> Issued | None:
        """The credential that the newest files have, or will have in a moment."""
        state = self._state_of(need)
        issuance = state.issuances.get(need) if state is not None else None
        held = state.leases.get(issuance.lease or "") if state is not None and issuance is not None else None
        if held is None or held.ended_at is not None:
            return None
        left = held.lease.ends_at - boot_time() if held.lease.ttl else None
        return Issued(held.lease.secret, left) if left is None or left > 0 else None

    def _state_of(self, need: Need) -> State | None:
        """The machine that reads it for the app: that of its identity or source, which knows it without the name."""
        bare = _bare(need)
        for state, app in self._parts:
            needs = app.spec.needs
            if (app.spec.supplies or "") != need.identity:
                continue
            if bare in needs or (isinstance(bare, Ref) and bare.version is None and bare.folder in needs):
                return state
        return None


def _bare(need: _N) -> _N:
    return replace(need, identity="") if need.identity else need


def _is_missing(failure: Failure | None) -> bool:
    return failure is not None and failure.kind is Kind.NOT_FOUND


def _is_plain(need: DynamicSecret) -> bool:
    """Whether a request without parameters, under the app's own login, is what the template sends."""
    return need.method == "GET" and not (need.params or need.body or need.inputs or need.identity or need.certificate)
