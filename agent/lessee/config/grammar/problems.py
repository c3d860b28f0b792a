"""Collects the problems of a file, each with its line and its full key."""

from typing import Protocol

from lessee.core.errors import ConfigError, LesseeError

Path = tuple[str | int, ...]
"""A key with its parents: ("apps", "simba", "files", 0) is `apps.simba.files[0]`."""


class Origin(Protocol):
    """Another file, which contains an app."""

    @property
    def source(self) -> str:
        """The name of the file."""

    def spell(self, path: Path) -> str:
        """Format a key of the app as that file has it."""


_LONGEST_KEY = 60


class Problems:
    """The problems of one file. `lines` has the line of each key."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self.origins: dict[str, Origin] = {}
        """The other files of apps, by app."""
        self.source = source
        self._reported: set[Path] = set()
        self._found: list[tuple[int, Path, LesseeError]] = []

    def add(self, path: Path, what: str, *, todo: str = "", line: int = 0) -> None:
        """Add a problem of a key. Without `line`, it gets the line of the key, or of the nearest parent in the file."""
        self.mute(path)
        line = line or self.line_of(path)
        origin = self.origins.get(str(path[1])) if len(path) > 1 and path[0] == "apps" else None
        source, key = (origin.source, origin.spell(path)) if origin is not None else (self.source, spell(path))
        text = f"{key}: {what}" if path else what
        self._found.append((line, path, LesseeError(text, where=f"{source}:{line}", todo=todo)))

    def line_of(self, path: Path) -> int:
        """The line of a key, or of the nearest parent in the file."""
        return next(self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines)

    def add_dependent(self, path: Path, what: str, *, todo: str = "") -> None:
        """Add a problem unless its key or a parent already has one, which may be its cause."""
        if not any(path[:length] in self._reported for length in range(len(path) + 1)):
            self.add(path, what, todo=todo)

    def mute(self, path: Path) -> None:
        """Suppress dependent problems of a key, because another problem explains them."""
        self._reported.add(path)

    def take_apps(self) -> dict[str, ConfigError]:
        """Take the problems of single apps, by name. If a problem concerns more than one app, all stay."""
        by_app: dict[str, list[tuple[int, Path, LesseeError]]] = {}
        for problem in self._found:
            match problem[1]:
                case ("apps", str(name), *_):
                    by_app.setdefault(name, []).append(problem)
                case _:
                    return {}
        self._found = []
        return {name: _error(found) for name, found in by_app.items()}

    def raise_all(self) -> None:
        """Raise ConfigError with all problems in the order of their lines, if there are any."""
        if self._found:
            raise _error(self._found)


def _error(found: list[tuple[int, Path, LesseeError]]) -> ConfigError:
    # A block that a YAML alias repeats has the same problem at each place; one text is enough.
    ordered = {str(error): error for _, _, error in sorted(found, key=lambda problem: problem[0])}
    return ConfigError(ordered.values())


def spell(path: Path) -> str:
    """Format a key as `apps.simba.files[0]`. Unprintable characters become `?`, and long names are cut."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in path)
    return text.removeprefix(".")


def _name(key: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in key[: _LONGEST_KEY + 1])
    return printable if len(printable) <= _LONGEST_KEY else f"{printable[:_LONGEST_KEY]}…"
