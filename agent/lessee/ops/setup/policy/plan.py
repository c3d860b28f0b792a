"""Plans the steps from a server's actual state to the desired one. Manual changes stay, unless forced."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.policy.desired_state import Desired, InitialSecret
from lessee.ops.setup.policy.initial_values import Source
from lessee.ops.setup.policy.objects import Fields, Group, Kind, Object
from lessee.ops.setup.policy.server_state import (
    RecordEntry,
    ServerState,
    SetupRecord,
    entry_of,
    fingerprint,
    is_written_by_setup,
)


class Add(ImmutableStruct, frozen=True):
    """Create an object that does not exist."""

    object: Object


class Change(ImmutableStruct, frozen=True):
    """Change the fields of an object. `password`: also write the password of a connection."""

    object: Object
    was: Fields
    password: bool = False


class Remove(ImmutableStruct, frozen=True):
    """Remove an object that setup created and the configuration no longer has."""

    kind: Kind
    environment: str
    path: str
    was: Fields


class Fill(ImmutableStruct, frozen=True):
    """Write the missing keys of a secret. `version`: its newest version, 0 for none."""

    secret: InitialSecret
    missing: Mapping[str, Source]
    version: int
    deleted: bool = False


class ServerConfigRequired(ImmutableStruct, frozen=True):
    """An audit device that the server takes only from its own configuration, not from its API."""

    object: Object


Overwrite = Change | Remove | Fill
Action = Add | Overwrite


class Conflict(ImmutableStruct, frozen=True):
    """A step that is not taken, because it would overwrite a manual change."""

    step: Overwrite


class Unconfirmed(ImmutableStruct, frozen=True):
    """A removal that is not done without a confirmation: another configuration may have created the object."""

    step: Remove


Step = Action | Conflict | Unconfirmed | ServerConfigRequired


class Selection(ImmutableStruct, frozen=True):
    """What `--only` selects. An empty set selects all."""

    environments: frozenset[str] = frozenset()
    groups: frozenset[Group] = frozenset()

    def includes(self, environment: str, group: Group) -> bool:
        """Whether it is selected. The shared mounts always are, because everything else needs them."""
        if not environment and group is Group.MOUNTS:
            return True
        if self.groups and group not in self.groups:
            return False
        return environment in self.environments or not self.environments or (not environment and bool(self.groups))


def plan(desired: Collection[Desired], state: ServerState, only: Selection, *, force: bool) -> tuple[Step, ...]:
    """All steps in order. Raises DeniedError where a mount of another type is in the way."""
    steps = [*_additions(desired, state, only, force=force), *_removals(desired, state, only)]
    return tuple(
        step.step if force and isinstance(step, Conflict) and _can_force(step.step) else step for step in steps
    )


def actions(steps: Iterable[Step]) -> Iterator[Action]:
    """The steps that change the server."""
    return (step for step in steps if isinstance(step, Action))


def removals(steps: Iterable[Step]) -> tuple[Remove, ...]:
    """The steps that remove what this configuration does not have."""
    return tuple(step for step in steps if isinstance(step, Remove))


def without_removals(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps where no removal was confirmed."""
    return tuple(Unconfirmed(step) if isinstance(step, Remove) else step for step in steps)


def environment_of(step: Step) -> str:
    """The step's environment; empty: all environments."""
    match step:
        case Conflict(inner) | Unconfirmed(inner):
            return environment_of(inner)
        case Remove():
            return step.environment
        case Fill():
            return step.secret.environment
        case _:
            return step.object.environment


_GROUPS = {
    Kind.POLICY: Group.POLICIES,
    Kind.ROLE: Group.ROLES,
    Kind.CONNECTION: Group.DATABASE,
    Kind.DATABASE_ROLE: Group.DATABASE,
    Kind.PKI_ROLE: Group.PKI,
}
"""The kinds that setup removes once they are no longer configured. It never removes what holds data."""
_DEFAULTS = {Kind.SETTINGS: {"cas_required": False}}
"""The server's own defaults."""


def _additions(desired: Iterable[Desired], state: ServerState, only: Selection, *, force: bool) -> Iterator[Step]:
    filled: set[str] = set()
    for item in desired:
        if isinstance(item, InitialSecret):
            if only.includes(item.environment, Group.SECRETS):
                for fill in _fill(item, state):
                    filled.add(f"{item.mount}/metadata/{item.path}")
                    yield fill
        elif only.includes(item.environment, item.group):
            step = _step(item, state, force=force)
            # Writing settings would create the metadata of a secret that does not exist.
            exists = item.path in filled or item.path in state.objects or "/lessee/rotation/" in item.path
            if step is not None and (item.kind is not Kind.SETTINGS or exists):
                yield step


def _fill(desired: InitialSecret, state: ServerState) -> Iterator[Fill | Conflict]:
    secret_state = state.secrets.get(desired.name)
    if secret_state is None:
        yield Fill(desired, desired.keys, 0)
    elif secret_state.deleted:
        yield Conflict(Fill(desired, desired.keys, secret_state.version, deleted=True))
    elif missing := {key: source for key, source in desired.keys.items() if key not in secret_state.keys}:
        yield Fill(desired, missing, secret_state.version)


def _default(kind: Kind) -> RecordEntry | None:
    """The entry of an object that exists with the server's defaults before setup writes it."""
    fields = _DEFAULTS.get(kind)
    return None if fields is None else RecordEntry(kind, {key: (fingerprint(value),) for key, value in fields.items()})


def _step(desired: Object, state: ServerState, *, force: bool) -> Step | None:
    entry = state.recorded.get(desired.environment, {}).get(desired.path)
    found = state.objects.get(desired.path)
    if found is None:
        refused = desired.kind is Kind.AUDIT and entry is not None and entry.refused and not force
        return ServerConfigRequired(desired) if refused else Add(desired)
    _refuse_other(desired, found)
    if desired.kind is Kind.CONNECTION and force:
        return Change(desired, found, password=True)
    if found == desired.fields or desired.kind is Kind.CA:
        return None
    password = desired.kind is Kind.CONNECTION and any(
        found.get(key) != desired.fields[key] for key in ("username", "connection_url")
    )
    change = Change(desired, found, password=password)
    own = is_written_by_setup(entry or _default(desired.kind), found)
    return change if own and desired.kind is not Kind.AUDIT else Conflict(change)


def _refuse_other(desired: Object, found: Fields) -> None:
    if desired.kind is Kind.KV and found == {"type": "kv", "version": "1"}:
        what = "the mount is KV version 1, which has no versions and no check-and-set"
        todo = f"upgrade it with `bao kv enable-versioning {desired.name}`, or name another mount in `secrets.mount`"
        raise DeniedError(what, where=desired.name, todo=todo)
    if desired.kind in {Kind.KV, Kind.AUTH, Kind.ENGINE} and found["type"] != desired.fields["type"]:
        what = f"the mount has type {found['type']}, and the configuration needs {desired.fields['type']}"
        raise DeniedError(what, where=desired.name, todo="use another path in the configuration")


def _removals(desired: Iterable[Desired], state: ServerState, only: Selection) -> Iterator[Step]:
    paths = {item.path for item in desired if isinstance(item, Object)}
    for environment, recorded in state.recorded.items():
        for path, entry in recorded.items():
            found = state.objects.get(path)
            group = _GROUPS.get(entry.kind)
            if group is None or path in paths or found is None or not only.includes(environment, group):
                continue
            step = Remove(entry.kind, environment, path, found)
            yield step if is_written_by_setup(entry, found) else Conflict(step)


def _can_force(step: Overwrite) -> bool:
    """Whether --force applies: setup never redirects an audit log."""
    return not (isinstance(step, Change) and step.object.kind is Kind.AUDIT)


def record_before(recorded: SetupRecord, steps: Iterable[Action]) -> SetupRecord:
    """The record while these steps run: the old and the new fields of each object count as written by setup."""
    entries = dict(recorded)
    for step in steps:
        if isinstance(step, Add | Change):
            target = step.object
            entries[target.path] = entry_of(target, recorded.get(target.path) or _default(target.kind))
    return entries


def record_after(
    recorded: SetupRecord, desired: Iterable[Desired], state: ServerState, steps: Collection[Step]
) -> SetupRecord:
    """The record after these steps: every object in its desired state counts as written by setup."""
    entries = dict(recorded)
    as_wanted = dict(state.objects)
    for step in steps:
        match step:
            case Add(target) | Change(target):
                as_wanted[target.path] = target.fields
            case Remove():
                entries.pop(step.path, None)
            case ServerConfigRequired(target):
                entries[target.path] = RecordEntry(target.kind, {})
            case _:
                pass
    for item in desired:
        if isinstance(item, Object) and as_wanted.get(item.path) == item.fields:
            entries[item.path] = entry_of(item)
    return entries
