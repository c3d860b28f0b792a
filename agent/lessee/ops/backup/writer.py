"""Writes to a server what an archive has and it has not."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from lessee.core.errors import RefusedError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.ops.backup import server
from lessee.ops.backup.archive import Archive
from lessee.ops.backup.policy.changes import Change, Conflict, Data, Lost, change
from lessee.ops.backup.policy.objects import is_known, reaches_out
from lessee.ops.backup.policy.problems import ArchiveError
from lessee.ops.backup.policy.records import Secret, Thing
from lessee.ops.backup.policy.restore import KEPT_VERSIONS, Course, Delete, Destroy, Plan, Put, Settle, Step, plan
from lessee.ops.backup.secrets import each, secret
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.transport import RequestFailedError

_PATIENCE = 30.0
_PAUSE = 0.05
_VERSIONED = 2


class Writer:
    """Compares an archive with a server, once; with `act` it also writes what differs.

    `only`: the secrets whose path begins so, with their mount where it is gone, and nothing else.
    """

    def __init__(
        self,
        client: AdminClient,
        archive: Archive,
        *,
        act: bool,
        only: str = "",
        trial: bool = False,
        may_lose: bool = True,
        untried: Iterable[str] = (),
    ) -> None:
        """`trial`: nothing is written that makes the server ask another system, or that it has no engine for.

        `untried`: where it is known to have none. `may_lose` False: a secret that is newer on the server ends it.
        """
        self._client = client
        self._archive = archive
        self._act = act
        self._only = only.removeprefix("/")
        self._trial = trial
        self._may_lose = may_lose
        self._mounts = server.mounts(client, "mount")
        self._methods = server.mounts(client, "auth")
        self._types: dict[str, str] = {}
        self.kv: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._absent: set[str] = set()
        self.untried = list(untried)
        self.courses: Counter[Course] = Counter()
        self.writes = 0

    def things(self) -> Iterator[Change | Lost | Conflict]:
        """What differs beside the secrets; with `act` the changes are made. Raises RefusedError or ArchiveError."""
        for thing in self._archive.things():
            self._note(thing)
            if not is_known(thing, self._types):
                raise ArchiveError(f"{thing.path} is not where a {thing.kind} stands")
            if self._is_left_out(thing):
                continue
            found = change(thing, self._present(thing))
            if found is None or (self._only and isinstance(found, Change) and not found.new):
                continue
            if isinstance(found, Change):
                self._make(found)
            yield found

    def secrets(self) -> Iterator[tuple[Secret, Plan]]:
        """Each secret and what is to be done, or with `act` was done, for it. Raises RefusedError or ArchiveError."""
        chosen = (saved for saved in self._archive.secrets() if saved.where.startswith(self._only))
        for saved, way in each(self._bring_back, chosen):
            self.courses[way.course] += 1
            self.writes += len(way.steps)
            yield saved, way

    def _note(self, thing: Thing) -> None:
        if thing.kind in {"mount", "auth"}:
            place = thing.path if thing.kind == "mount" else f"auth/{thing.path}"
            self._types[place] = thing.data.get("type", "")
            if thing.path not in (self._mounts if thing.kind == "mount" else self._methods):
                self._absent.add(place)
            if thing.data.get("type") in {"kv", "generic"}:
                self.kv[thing.path] = 2 if server.is_versioned(thing.data) else 1
        if thing.kind == "config" and (mount := thing.path.removesuffix("config")) in self.kv:
            # With a part alone no settings of a mount are brought back: those that the server has count.
            data = self._present(thing) or {} if self._only else thing.data
            self._most[mount] = data.get("max_versions") or KEPT_VERSIONS

    def _is_left_out(self, thing: Thing) -> bool:
        if self._only:
            above, below = self._only.startswith(thing.path), thing.path.startswith(self._only)
            return thing.kind != "mount" or thing.path not in self.kv or not (above or below)
        place = f"auth/{thing.path}" if thing.kind == "auth" else thing.path
        return self._trial and (reaches_out(thing) or place.startswith(tuple(self.untried)))

    def _present(self, thing: Thing) -> Data | None:
        if thing.kind == "mount":
            return self._mounts.get(thing.path)
        if thing.kind == "auth":
            return self._methods.get(thing.path)
        if any(thing.path.startswith(place) for place in self._absent):
            return None
        return self._client.read(thing.path)

    def _make(self, found: Change) -> None:
        self.writes += 1
        if not self._act:
            return
        thing = found.thing
        place = f"auth/{thing.path}" if thing.kind == "auth" else thing.path
        try:
            self._client.write(found.path, found.body)
        except RefusedError:
            if not self._trial or thing.kind not in {"mount", "auth"}:
                raise
            self.untried.append(place)  # Of an engine that this server has not.
            return
        if thing.kind in {"mount", "auth"}:
            self._absent.discard(place)
            if self.kv.get(place) == _VERSIONED:
                _wait_for(self._client, place)

    def _bring_back(self, saved: Secret) -> tuple[Secret, Plan]:
        if self.kv.get(saved.mount) != saved.engine:
            raise ArchiveError("it names a secret outside its mounts", where=saved.where)
        present = None
        if saved.mount not in self._absent:
            key = bytes.fromhex(self._archive.manifest.key)
            present = secret(self._client, saved.mount, saved.path, saved.engine, key)
        way = plan(saved, present, most=self._most.get(saved.mount, KEPT_VERSIONS))
        if self._act:
            if way.loses and not self._may_lose:
                what = "somebody has changed it since it was looked at"
                raise RefusedError(what, where=saved.where, todo="run it again, and see what differs")
            _apply(self._client, saved, way.steps)
        return saved, way


def _apply(client: AdminClient, saved: Secret, steps: Iterable[Step]) -> None:
    mount, path = saved.mount, saved.path
    for step in steps:
        match step:
            case Settle(settings=settings):
                client.write(
                    f"{mount}metadata/{path}", {**settings, "custom_metadata": settings.get("custom_metadata") or {}}
                )
            case Put(data=data) if saved.engine == 1:
                client.write(saved.where, data)
            case Put(data=data, cas=cas):
                _put(client, f"{mount}data/{path}", {"data": data, "options": {"cas": cas}})
            case Delete(versions=versions):
                client.write(f"{mount}delete/{path}", {"versions": versions})
            case Destroy(versions=versions):
                client.write(f"{mount}destroy/{path}", {"versions": versions}, method="PUT")


def _put(client: AdminClient, path: str, body: dict[str, object]) -> None:
    try:
        client.transport.ask("POST", path, token=client.token, body=body)
    except RequestFailedError as exc:
        if exc.failure.kind is not Kind.INVALID:
            raise request_error(exc.failure, path) from None
        raise RefusedError(
            "somebody changed it meanwhile, or it is too large", where=path, todo="run it again"
        ) from None


def _wait_for(client: AdminClient, mount: str) -> None:
    """A new mount of KV version 2 is made ready for a moment, and refuses meanwhile."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            client.transport.ask("GET", f"{mount}config", token=client.token)
        except RequestFailedError:
            if time.monotonic() > deadline:
                raise VaultUnreachableError("the new mount does not become ready", where=mount) from None
            time.sleep(_PAUSE)
        else:
            return
