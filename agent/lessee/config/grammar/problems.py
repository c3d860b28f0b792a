"""All that is wrong with a file, each with its line and its full key."""

from lessee.core.errors import ConfigError, LesseeError

Path = tuple[str | int, ...]
"""A key with those above it: ("apps", "simba", "files", 0) is `apps.simba.files[0]`."""

_LONGEST_KEY = 60


class Problems:
    """Collects the problems of one file. `lines` tells where a key stands."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._source = source
        self._told: set[Path] = set()
        self._found: list[tuple[int, LesseeError]] = []

    def tell(self, path: Path, what: str, *, todo: str = "", line: int = 0) -> None:
        """Adds a problem; without a `line` it stands where its key does, or the nearest key above."""
        self.hush(path)
        line = line or next(self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines)
        text = f"{spell(path)}: {what}" if path else what
        self._found.append((line, LesseeError(text, where=f"{self._source}:{line}", todo=todo)))

    def follow(self, path: Path, what: str, *, todo: str = "") -> None:
        """Adds a problem unless its key, or one above, has been told of: it may well come of that."""
        if not any(path[:length] in self._told for length in range(len(path) + 1)):
            self.tell(path, what, todo=todo)

    def hush(self, path: Path) -> None:
        """Takes a key for told of, where another problem says what is wrong with it."""
        self._told.add(path)

    def raise_all(self) -> None:
        """Raises ConfigError with all of them in the order of their lines, if there are any."""
        if self._found:
            # Blocks that YAML's aliases repeat have the same problem at each place; one text is enough.
            ordered = {str(error): error for _, error in sorted(self._found, key=lambda found: found[0])}
            raise ConfigError(ordered.values())


def spell(path: Path) -> str:
    """The key as people write it. A name that would not print, or not end, is cut."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in path)
    return text.removeprefix(".")


def _name(key: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in key[: _LONGEST_KEY + 1])
    return shown if len(shown) <= _LONGEST_KEY else f"{shown[:_LONGEST_KEY]}…"
