"""What all steps share that turn the blocks of lessee.yaml into a Config."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from lessee.config.grammar import Lessee, scalars
from lessee.config.grammar.problems import Path, Problems

_T = TypeVar("_T")


class Resolution:
    """The file that is resolved: its blocks, the values of its keys, its problems until now, and its environment."""

    def __init__(
        self, file: Lessee, values: dict[Path, object], problems: Problems, environ: Mapping[str, str]
    ) -> None:
        self.file = file
        self.values = values
        self.problems = problems
        self.environ = environ
        self.environment = self.or_variable(file.environment, "LESSEE_ENVIRONMENT", scalars.Name, ("environment",))
        self.foreign = frozenset(file.setup.environments) - {self.environment}
        """The other environments."""

    def or_variable(self, value: str | None, variable: str, kind: Any, path: Path) -> str | None:
        text = self.environ.get(variable)
        if value is not None or not text:
            return value
        scalar = scalars.scalar_of(kind)
        try:
            return str(scalar.read(text))
        except ValueError:
            what = f"the file does not set it, and ${variable} is not {scalar.expected}"
            self.problems.add_dependent(path, what, todo=f"set it in the file, or correct ${variable}")
            return None

    def items(self, path: Path, kind: type[_T]) -> Iterator[tuple[Path, _T]]:
        """The valid items of a list with their keys, without those that have a problem."""
        index = 0
        while (at := (*path, index)) in self.problems.lines:
            if isinstance(item := self.values.get(at), kind):
                yield at, item
            index += 1


def contains(outer: str, inner: str) -> bool:
    """Whether a directory has this path in it, at any depth."""
    return inner.startswith(outer.removesuffix("/") + "/")
