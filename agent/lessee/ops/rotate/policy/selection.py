"""Which targets are meant, and what is to be done with each now."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from lessee.config.grammar.rotation import Rotation
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import due_at, opening, refusal, schedule


class Wish(Enum):
    """What is to be done with a target when nobody has named it."""

    ROTATE = "rotate"
    FINISH = "finish"
    """What has begun is brought to its end, or what was kept long enough is removed."""
    NOTHING = "nothing"


def kind(said: Rotation) -> str:
    """As `kind:` has it."""
    return str(said.__struct_config__.tag)


def group(said: Rotation) -> str:
    """The first folder of its secret's path, such as `database`."""
    return said.secret.split("/")[0]


def meant(words: Iterable[str], rotation: Mapping[str, Rotation]) -> tuple[str, ...]:
    """The names of the targets, each once, in the order of the configuration.

    A word is a target's name, else a group, else a kind. Raises UsageError, which tells all words that are none.
    """
    words = tuple(words)
    found = {word: tuple(_named(word, rotation)) for word in words}
    unknown = [word for word in words if not found[word]]
    if unknown:
        groups, kinds = ({of(said): None for said in rotation.values()} for of in (group, kind))
        todo = f"targets: {_listed(rotation)}; groups: {_listed(groups)}; kinds: {_listed(kinds)}"
        raise UsageError(f"there is nothing to rotate called {_listed(map(repr, unknown))}", todo=todo)
    names = {name for some in found.values() for name in some}
    return tuple(name for name in rotation if name in names)


def wish(said: Rotation, journal: Journal, now: float) -> Wish:
    """`now`: seconds since 1970."""
    due = next_at(said, journal, now)
    if due is not None and due <= now:
        return Wish.ROTATE
    is_over = journal.step is Step.KEEPING and journal.keep_until <= now
    return Wish.FINISH if journal.is_open or is_over else Wish.NOTHING


def next_at(said: Rotation, journal: Journal, now: float) -> float | None:
    """When it may be rotated next, as soon as can be, in seconds since 1970; None: when somebody asks for it."""
    if said.every is None:
        return None
    planned = schedule(said)
    due = due_at(planned, journal.rotated_at, 0.0) if journal.rotated_at else now
    return opening(planned, max(due, now))


def refuse_too_often(name: str, said: Rotation, journal: Journal) -> None:
    """Raises ConfigError where it is to be rotated before the rotation before it has reached everybody."""
    if why := refusal(schedule(said), journal):
        raise ConfigError([LesseeError(why, where=f"rotation.{name}", todo="or rotate it all the same with --force")])


def _named(word: str, rotation: Mapping[str, Rotation]) -> Iterator[str]:
    if word in rotation:
        yield word
        return
    for of in (group, kind):
        some = [name for name, said in rotation.items() if of(said) == word]
        if some:
            yield from some
            return


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
