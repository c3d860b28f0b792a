"""How KV paths are named in lessee: one mount, and a prefix with the environment's name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from lessee.config.grammar.setup import Setup
from lessee.core.immutable import Record
from lessee.ops.migrate.policy.jinja.expressions import LostError
from lessee.ops.migrate.policy.jinja.vault_paths import Kv

_T = TypeVar("_T")

ENVIRONMENTS = frozenset(Setup().environments)
"""A path that begins with one of these names is that environment's alone."""


class Survey:
    """Takes every path as it is and remembers it: what a layout is chosen from."""

    def __init__(self) -> None:
        self.seen: list[Kv] = []

    def path(self, kv: Kv, *, folder: bool = False) -> str:
        """The path below the mount."""
        del folder
        self.seen.append(kv)
        return "/".join(kv.elements)

    def refuse_issued(self, path: str) -> None:
        """Nothing is foreign yet."""


class Layout(Record, frozen=True):
    """The mount and prefix of a configuration."""

    mount: str = "secret"
    lead: tuple[str, ...] = ()
    """Elements before the environment's name."""
    environment: str = ""
    """A name, or a variable as `${NAME}`; empty where no path has one."""
    prefixed: bool = False
    """Whether `{environment}` stands in the prefix, else paths are written in full."""
    shared: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """As `secrets.prefix` has it."""
        return "".join(f"{element}/" for element in (*self.lead, "{environment}")) if self.prefixed else ""

    def path(self, kv: Kv, *, folder: bool = False) -> str:
        """What `secret("…")` is to be given. Raises LostError for a path that this configuration cannot name."""
        if kv.mount != self.mount:
            what = f"{'/'.join((kv.mount, *kv.elements))!r} lies in another KV mount than {self.mount!r}"
            raise LostError(what, "a lessee.yaml reads one KV mount: give the other one a lessee.yaml of its own")
        elements = kv.elements
        start = (*self.lead, self.environment)
        if self.prefixed and elements[: len(start)] == start:
            elements = elements[len(start) :]
        elif self.prefixed and f"{elements[0]}/" not in self.shared:
            raise LostError(f"{'/'.join(elements)!r} lies outside the prefix {self.prefix!r}", "move it into a folder")
        if any("${" in element for element in elements):
            todo = "write the path out; a variable may stand for the environment's name alone, in the same place always"
            raise LostError(f"the path {'/'.join(elements)!r} is computed", todo)
        if not elements and not folder:
            raise LostError(
                f"the secret {self.environment!r} bears the environment's own name", "move it into a folder"
            )
        self.refuse_foreign("/".join(elements))
        return "/".join(elements)

    def refuse_issued(self, path: str) -> None:
        """Raises LostError where what Vault makes lies in the KV mount, or belongs to another environment."""
        if f"{path}/".startswith(f"{self.mount}/"):
            what = f"{path!r} lies in {self.mount!r}, where the KV secrets are"
            raise LostError(what, "give it a lessee.yaml of its own")
        self.refuse_foreign(path)

    def refuse_foreign(self, path: str) -> None:
        """Raises LostError where the path begins with the name of another environment."""
        first = path.split("/", maxsplit=1)[0]
        if first in ENVIRONMENTS and first != self.environment:
            raise LostError(
                f"{path!r} belongs to another environment",
                "an agent reads one environment: give each a lessee.yaml of its own",
            )


def choose(seen: Sequence[Kv]) -> Layout:
    """The layout that can name most of these paths."""
    if not seen:
        return Layout()
    mount = _most(kv.mount for kv in seen)
    paths = [kv.elements for kv in seen if kv.mount == mount]
    named = [found for elements in paths if (found := _environment(elements)) is not None]
    if not named:
        return Layout(mount)
    lead, environment = _most(named)
    start = (*lead, environment)
    others = [elements for elements in paths if elements[: len(start)] != start]
    if "${" not in environment and (others or start in paths):
        return Layout(mount, environment=environment)
    shared = {f"{elements[0]}/": None for elements in others if len(elements) > 1 and "${" not in elements[0]}
    return Layout(mount, lead, environment, prefixed=True, shared=tuple(shared))


def _most(things: Iterable[_T]) -> _T:
    return Counter(things).most_common(1)[0][0]


def _environment(elements: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Where the environment's name stands, and which it is."""
    for at, element in enumerate(elements):
        if element.startswith("${") and element.endswith("}") and element.count("${") == 1:
            return tuple(elements[:at]), element
    return ((), elements[0]) if elements and elements[0] in ENVIRONMENTS else None
