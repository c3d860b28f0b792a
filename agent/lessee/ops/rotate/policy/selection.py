"""Selects the targets that the command line names, and what is due for each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

from lessee.config.grammar.rotation import Manual, Mysql, Postgres, Rabbitmq, Redis, Rotation, VaultValues
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import due_at, next_window, period_error, schedule_of


class DueOperation(Enum):
    """What is due for a target that the command line does not name."""

    ROTATE = "rotate"
    FINISH = "finish"
    """Finish an open rotation, or delete an old credential after its delay."""
    NOTHING = "nothing"


def kind(config: Rotation) -> str:
    """The value of `kind`."""
    return str(config.__struct_config__.tag)


def group(config: Rotation) -> str:
    """The first folder of the secret's path, such as `database`."""
    return config.secret.split("/")[0]


def select(words: Iterable[str], rotation: Mapping[str, Rotation]) -> tuple[str, ...]:
    """The names of the targets, each once, in the order of the configuration.

    A word is a target's name, a group or a kind, in this order. Raises UsageError with all unknown words.
    """
    words = tuple(words)
    found = {word: tuple(_named(word, rotation)) for word in words}
    unknown = [word for word in words if not found[word]]
    if unknown:
        groups, kinds = ({of(config): None for config in rotation.values()} for of in (group, kind))
        todo = f"targets: {_listed(rotation)}; groups: {_listed(groups)}; kinds: {_listed(kinds)}"
        raise UsageError(f"no rotation target, group or kind is called {_listed(map(repr, unknown))}", todo=todo)
    names = {name for some in found.values() for name in some}
    return tuple(name for name in rotation if name in names)


def due_operation(config: Rotation, journal: Journal, now: float) -> DueOperation:
    """What is due for a target. `now`: seconds since 1970."""
    due = next_rotation_at(config, journal, now)
    if due is not None and due <= now:
        return DueOperation.ROTATE
    is_deletable = journal.step is Step.RETAINING and journal.delete_at <= now
    return DueOperation.FINISH if journal.is_open or is_deletable else DueOperation.NOTHING


def next_rotation_at(config: Rotation, journal: Journal, now: float) -> float | None:
    """The earliest time of the next rotation, in seconds since 1970; None: only on request."""
    if config.rotation_period is None:
        return None
    schedule = schedule_of(config)
    due = due_at(schedule, journal.rotated_at, 0.0) if journal.rotated_at else now
    return next_window(schedule, max(due, now))


def check_period(name: str, config: Rotation, journal: Journal) -> None:
    """Raises ConfigError where the period is shorter than the last propagation times."""
    if error := period_error(schedule_of(config), journal):
        todo = "or rotate it anyway with --force"
        raise ConfigError([LesseeError(error, where=f"rotation.{name}", todo=todo)])


def check_enterable(names: Iterable[str], rotation: Mapping[str, Rotation]) -> None:
    """Raises UsageError where lessee itself creates the credential of one of these targets."""
    if others := [name for name in names if not isinstance(rotation[name], Manual)]:
        what = f"--enter is for targets of the kind manual, and lessee creates the credentials of {_listed(others)}"
        raise UsageError(what, todo="remove --enter, or name another target")


def check_restorable(names: Sequence[str], rotation: Mapping[str, Rotation]) -> None:
    """Raises UsageError where the earlier credential of these targets cannot be set again."""
    if len(names) != 1:
        raise UsageError("--to-version is for one target", todo="lessee rotate NAME --to-version N")
    target = rotation[names[0]]
    is_random = isinstance(target, VaultValues) and not target.approle
    has_previous = isinstance(target, VaultValues) and any(key.previous_key for key in target.keys.values())
    if not (isinstance(target, Postgres | Mysql | Redis | Rabbitmq) or (is_random and not has_previous)):
        what = f"the earlier credential of {names[0]} cannot be set again"
        raise UsageError(what, todo="rotate it to a new one: omit --to-version")


def _named(word: str, rotation: Mapping[str, Rotation]) -> Iterator[str]:
    if word in rotation:
        yield word
        return
    for of in (group, kind):
        names = [name for name, config in rotation.items() if of(config) == word]
        if names:
            yield from names
            return


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
