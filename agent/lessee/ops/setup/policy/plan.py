"""The steps from what is there to what is wanted; what somebody changed by hand is left, unless told otherwise."""

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
    """It is not there."""

    object: Object


class Change(ImmutableStruct, frozen=True):
    """It is there, and was other. `password`: whether that of a connection is written too."""

    object: Object
    was: Fields
    password: bool = False


class Remove(ImmutableStruct, frozen=True):
    """Setup made it once, and it is not wanted any more."""

    kind: Kind
    environment: str
    path: str
    was: Fields


class Fill(ImmutableStruct, frozen=True):
    """A secret, or some of its keys, is not there. `version`: the newest there is, 0 for none."""

    secret: InitialSecret
    missing: Mapping[str, Source]
    version: int
    deleted: bool = False


class ServerConfigRequired(ImmutableStruct, frozen=True):
    """The server would not have an audit device by its API: its own configuration must name it."""

    object: Object


Overwrite = Change | Remove | Fill
Action = Add | Overwrite


class Conflict(ImmutableStruct, frozen=True):
    """A step that would undo what somebody did by hand."""

    step: Overwrite


Step = Action | Conflict | ServerConfigRequired


class Selection(ImmutableStruct, frozen=True):
    """What one wants set up alone; empty: all."""

    environments: frozenset[str] = frozenset()
    groups: frozenset[Group] = frozenset()

    def includes(self, environment: str, group: Group) -> bool:
        """Whether it is wanted. The mounts of all environments always are: nothing goes without them."""
        if not environment and group is Group.MOUNTS:
            return True
        if self.groups and group not in self.groups:
            return False
        return environment in self.environments or not self.environments or (not environment and bool(self.groups))


def plan(wanted: Collection[Desired], state: ServerState, only: Selection, *, force: bool) -> tuple[Step, ...]:
    """All steps in order. Raises DeniedError where something else stands in the way."""
    steps = [*_additions(wanted, state, only, force=force), *_removals(wanted, state, only)]
    return tuple(
        step.step if force and isinstance(step, Conflict) and _can_force(step.step) else step for step in steps
    )


def actions(steps: Iterable[Step]) -> Iterator[Action]:
    """Those that change something."""
    return (step for step in steps if isinstance(step, Action))


def environment_of(step: Step) -> str:
    """Whose it is; empty: of all."""
    match step:
        case Conflict(inner):
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
"""What is removed when it is not wanted any more; what holds data is not."""
_DEFAULTS = {Kind.SETTINGS: {"cas_required": False}}
"""What a server has where nobody has said anything."""


def _additions(wanted: Iterable[Desired], state: ServerState, only: Selection, *, force: bool) -> Iterator[Step]:
    filled: set[str] = set()
    for one in wanted:
        if isinstance(one, InitialSecret):
            if only.includes(one.environment, Group.SECRETS):
                for fill in _fill(one, state):
                    filled.add(f"{one.mount}/metadata/{one.path}")
                    yield fill
        elif only.includes(one.environment, one.group):
            step = _step(one, state, force=force)
            # The settings of a secret that is not there would make it look as if it were.
            there = one.path in filled or one.path in state.objects or "/lessee/rotation/" in one.path
            if step is not None and (one.kind is not Kind.SETTINGS or there):
                yield step


def _fill(wanted: InitialSecret, state: ServerState) -> Iterator[Fill | Conflict]:
    secret_state = state.secrets.get(wanted.name)
    if secret_state is None:
        yield Fill(wanted, wanted.keys, 0)
    elif secret_state.deleted:
        yield Conflict(Fill(wanted, wanted.keys, secret_state.version, deleted=True))
    elif missing := {key: source for key, source in wanted.keys.items() if key not in secret_state.keys}:
        yield Fill(wanted, missing, secret_state.version)


def _default(kind: Kind) -> RecordEntry | None:
    """Of what comes to be by itself, and is then set: in between it is as the server has it."""
    fields = _DEFAULTS.get(kind)
    return None if fields is None else RecordEntry(kind, {key: (fingerprint(value),) for key, value in fields.items()})


def _step(wanted: Object, state: ServerState, *, force: bool) -> Step | None:
    entry = state.recorded.get(wanted.environment, {}).get(wanted.path)
    found = state.objects.get(wanted.path)
    if found is None:
        refused = wanted.kind is Kind.AUDIT and entry is not None and entry.refused and not force
        return ServerConfigRequired(wanted) if refused else Add(wanted)
    _refuse_other(wanted, found)
    if wanted.kind is Kind.CONNECTION and force:
        return Change(wanted, found, password=True)
    if found == wanted.fields or wanted.kind is Kind.CA:
        return None
    password = wanted.kind is Kind.CONNECTION and any(
        found.get(key) != wanted.fields[key] for key in ("username", "connection_url")
    )
    change = Change(wanted, found, password=password)
    own = is_written_by_setup(entry or _default(wanted.kind), found)
    return change if own and wanted.kind is not Kind.AUDIT else Conflict(change)


def _refuse_other(wanted: Object, found: Fields) -> None:
    if wanted.kind is Kind.KV and found == {"type": "kv", "version": "1"}:
        what = "it is KV version 1, which keeps no versions and has no cas"
        todo = f"`bao kv enable-versioning {wanted.name}` makes it version 2; or name another in `secrets.mount`"
        raise DeniedError(what, where=wanted.name, todo=todo)
    if wanted.kind in {Kind.KV, Kind.AUTH, Kind.ENGINE} and found["type"] != wanted.fields["type"]:
        what = f"a mount of type {found['type']} is there, and {wanted.fields['type']} is wanted"
        raise DeniedError(what, where=wanted.name, todo="name another path in the configuration")


def _removals(wanted: Iterable[Desired], state: ServerState, only: Selection) -> Iterator[Step]:
    paths = {one.path for one in wanted if isinstance(one, Object)}
    for environment, recorded in state.recorded.items():
        for path, entry in recorded.items():
            found = state.objects.get(path)
            group = _GROUPS.get(entry.kind)
            if group is None or path in paths or found is None or not only.includes(environment, group):
                continue
            step = Remove(entry.kind, environment, path, found)
            yield step if is_written_by_setup(entry, found) else Conflict(step)


def _can_force(step: Overwrite) -> bool:
    """Whether --force may do it: no audit log is exchanged for another."""
    return not (isinstance(step, Change) and step.object.kind is Kind.AUDIT)


def record_before(recorded: SetupRecord, steps: Iterable[Action]) -> SetupRecord:
    """The record while these steps are under way: what each object was and what it will be are both setup's own."""
    entries = dict(recorded)
    for step in steps:
        if isinstance(step, Add | Change):
            made = step.object
            entries[made.path] = entry_of(made, recorded.get(made.path) or _default(made.kind))
    return entries


def record_after(
    recorded: SetupRecord, wanted: Iterable[Desired], state: ServerState, steps: Collection[Step]
) -> SetupRecord:
    """The record once these steps are done: all that is as wanted is setup's own from then on."""
    entries = dict(recorded)
    as_wanted = dict(state.objects)
    for step in steps:
        match step:
            case Add(made) | Change(made):
                as_wanted[made.path] = made.fields
            case Remove():
                entries.pop(step.path, None)
            case ServerConfigRequired(made):
                entries[made.path] = RecordEntry(made.kind, {})
            case _:
                pass
    for one in wanted:
        if isinstance(one, Object) and as_wanted.get(one.path) == one.fields:
            entries[one.path] = entry_of(one)
    return entries
