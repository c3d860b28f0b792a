"""Reading a block of settings so that none is dropped: what nobody asks for is told."""

import re
from collections.abc import Callable, Mapping

from lessee.config import durations
from lessee.core.hcl import Block, Value
from lessee.core.immutable import Record
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.findings import Report


class Aside(Record, frozen=True):
    """What is to be said of a key that lessee has no counterpart of; `lost` where somebody may miss it."""

    what: str
    todo: str = ""
    lost: bool = True


class Settings:
    """A block, and the name that errors call it by. `notes` gets what is lost, for comments at the place."""

    def __init__(self, block: Block, name: str, source: str, report: Report, notes: list[str]) -> None:
        self.line = block.line
        self.notes = notes
        self.items = block.items
        self._name = name
        self.source = source
        self._report = report
        self._asked: set[str] = set()

    def line_of(self, key: str) -> int:
        """A key's line; the block's where it is not there."""
        return next((item.line for item in self.items if item.keys[0] == key), self.line)

    def where(self, key: str = "") -> str:
        """The place of a key, or of the block."""
        return f"{self.source}:{self.line_of(key)}"

    def value(self, key: str) -> Value:
        """The key's value, the last where it stands more than once; None where it does not stand there."""
        self._asked.add(key)
        found = [item.value for item in self.items if item.keys == (key,)]
        return found[-1] if found else None

    def text(self, key: str) -> Text | None:
        """A string that is not empty, or a number as it would be written."""
        match self.value(key):
            case Text(value="") | None:
                return None
            case Text() as text:
                return text
            case bool() | int() | float() as scalar:
                return Text(str(scalar).lower(), self.source, self.line, several=False)
            case _:
                self.lose(key, "it is no text", "write it in quotes")
                return None

    def string(self, key: str) -> str:
        """The same, "" where there is none."""
        text = self.text(key)
        return text.value if text is not None else ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean, as a text or number too."""
        value = self.value(key)
        word = value.value.lower() if isinstance(value, Text) else value
        return default if word is None else word in {True, "true", "1", "t", "force"}

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings, or one."""
        value = self.value(key)
        items = value if isinstance(value, tuple) else (value,)
        if any(isinstance(item, Block | tuple) for item in items):
            self.lose(key, "it is no list of texts", "write each in quotes")
            return ()
        return tuple(item.value if isinstance(item, Text) else str(item) for item in items if item is not None)

    def duration(self, key: str) -> str:
        """A duration of Go's in lessee's words; "" where there is none."""
        text = self.string(key)
        seconds = _seconds(text)
        if text and seconds is None:
            self.lose(key, f"{text!r} is no duration", "write it as 30s")
        return durations.spell(seconds) if seconds is not None else ""

    def blocks(self, key: str) -> list[tuple[tuple[str, ...], "Settings"]]:
        """All blocks of a name, with their labels."""
        self._asked.add(key)
        found: list[tuple[tuple[str, ...], Settings]] = []
        for item in self.items:
            if item.keys[0] != key:
                continue
            for value in item.value if isinstance(item.value, tuple) else (item.value,):
                if isinstance(value, Block):
                    inner = Settings(value, f"{self._name}{key}.", self.source, self._report, self.notes)
                    found.append((item.keys[1:], inner))
                else:
                    self.lose(key, "it is no block", f"write {key} {{ … }}")
        return found

    def labelled(self, key: str) -> "list[tuple[str, Settings]]":
        """All blocks of a name with the label of each, which in JSON is a key around it; "" where it has none."""
        found: list[tuple[str, Settings]] = []
        for labels, block in self.blocks(key):
            inside = [item.keys[0] for item in block.items if isinstance(item.value, Block)]
            if inside and not labels and len(inside) == len(block.items) and inside != ["config"]:
                found += [(name, inner) for name in inside for _, inner in block.blocks(name)]
            else:
                found.append((labels[0] if labels else "", block))
        return found

    def block(self, key: str) -> "Settings | None":
        """The last block of a name."""
        found = self.blocks(key)
        return found[-1][1] if found else None

    def names(self) -> tuple[str, ...]:
        """All keys, in order."""
        return tuple(dict.fromkeys(item.keys[0] for item in self.items))

    def keep_notes(self, notes: list[str]) -> "Settings":
        """From now on what is lost here is noted there."""
        self.notes = notes
        return self

    def lose(self, key: str, what: str, todo: str = "") -> None:
        """Tell that a key is not carried over."""
        self._asked.add(key)
        self._report.lose(self.where(key), f"{self._name}{key}: {what}", todo, notes=self.notes)

    def remark(self, key: str, what: str, todo: str = "") -> None:
        """Tell what is otherwise now."""
        self._report.remark(self.where(key), f"{self._name}{key}: {what}", todo)

    def close(self, asides: Mapping[str, Aside]) -> None:
        """Tell of every key that nobody asked for, unless it is false, or a block that is not enabled."""
        for key in self.names():
            if key in self._asked or self._is_off(self.value(key)):
                continue
            aside = asides.get(key, _UNKNOWN)
            tell: Callable[[str, str, str], None] = self.lose if aside.lost else self.remark
            tell(key, aside.what, aside.todo)

    def _is_off(self, value: Value) -> bool:
        if isinstance(value, Block):
            return any(item.keys == ("enabled",) and self._is_off(item.value) for item in value.items)
        return value is False or (isinstance(value, Text) and value.value.lower() == "false")


_UNKNOWN = Aside("the import does not know this key", "look whether it matters")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns|d)")


def _seconds(text: str) -> float | None:
    """A duration of Go's, or a number of seconds."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
