"""Reads a block of settings, and reports each key that the import does not use."""

import re
from collections.abc import Mapping

from lessee.config import durations
from lessee.config.grammar.scalars import SIGNALS
from lessee.core.hcl import Block, Value
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.findings import Report


class UnusedKey(ImmutableStruct, frozen=True):
    """What to report of a key that lessee has no counterpart of. `is_loss`: the user may miss it."""

    what: str
    todo: str = ""
    is_loss: bool = True


class Settings:
    """A block of settings. `name`: prefixes its keys in messages. Losses are also added to `comments`."""

    def __init__(self, block: Block, name: str, source: str, report: Report, comments: list[str]) -> None:
        self.line = block.line
        self.comments = comments
        self.items = block.items
        self._name = name
        self.source = source
        self._report = report
        self._used: set[str] = set()
        self._lines = {item.keys[0]: item.line for item in reversed(self.items)}
        self._values = {item.keys[0]: item.value for item in self.items if len(item.keys) == 1}

    def line_of(self, key: str) -> int:
        """The line of a key; that of the block if the key is missing."""
        return self._lines.get(key, self.line)

    def where(self, key: str = "") -> str:
        """The location of a key, or of the block."""
        return f"{self.source}:{self.line_of(key)}"

    def value(self, key: str) -> Value:
        """The value of a key, or None. The last one counts if the key is repeated."""
        self._used.add(key)
        return self._values.get(key)

    def text(self, key: str) -> Text | None:
        """A string that is not empty, or a number as a string."""
        match self.value(key):
            case Text(value="") | None:
                return None
            case Text() as text:
                return text
            case bool() | int() | float() as scalar:
                return Text(str(scalar).lower(), self.source, self.line, is_multiline=False)
            case _:
                self.add_loss(key, "expected a string", "write it in quotes")
                return None

    def string(self, key: str) -> str:
        """The value of `text`, or an empty string."""
        text = self.text(key)
        return text.value if text is not None else ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean, which may be written as a string or number."""
        value = self.value(key)
        word = value.value.lower() if isinstance(value, Text) else value
        return default if word is None else word in {True, "true", "1", "t", "force"}

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings, or a single string."""
        value = self.value(key)
        items = value if isinstance(value, tuple) else (value,)
        if any(isinstance(item, Block | tuple) for item in items):
            self.add_loss(key, "expected a list of strings", "write each in quotes")
            return ()
        return tuple(item.value if isinstance(item, Text) else str(item) for item in items if item is not None)

    def duration(self, key: str) -> str:
        """A Go duration as one of lessee.yaml; empty if the key is missing."""
        text = self.string(key)
        seconds = _seconds(text)
        if text and seconds is None:
            self.add_loss(key, f"{text!r} is not a duration", "write, for example, 30s")
        return durations.spell(seconds) if seconds is not None else ""

    def signal(self, key: str) -> str:
        """A signal, such as SIGHUP; empty if the key is missing, or has none of Linux."""
        text = self.string(key)
        name = f"SIG{text.removeprefix('SIG')}" if text else ""
        if name and name not in SIGNALS:
            self.add_loss(key, f"unknown signal {text}", "write a Linux signal, such as SIGHUP")
            return ""
        return name

    def blocks(self, key: str) -> list[tuple[tuple[str, ...], "Settings"]]:
        """All blocks of a key, with their labels."""
        self._used.add(key)
        blocks: list[tuple[tuple[str, ...], Settings]] = []
        for item in self.items:
            if item.keys[0] != key:
                continue
            for value in item.value if isinstance(item.value, tuple) else (item.value,):
                if isinstance(value, Block):
                    inner = Settings(value, f"{self._name}{key}.", self.source, self._report, self.comments)
                    blocks.append((item.keys[1:], inner))
                else:
                    self.add_loss(key, "expected a block", f"write {key} {{ … }}")
        return blocks

    def labeled(self, key: str) -> "list[tuple[str, Settings]]":
        """All blocks of a key with their label, which in JSON is a nested key; empty without one."""
        labeled: list[tuple[str, Settings]] = []
        for labels, block in self.blocks(key):
            inner_keys = [item.keys[0] for item in block.items if isinstance(item.value, Block)]
            is_label = len(inner_keys) == len(block.items) and inner_keys != ["config"]
            if inner_keys and not labels and is_label:
                labeled += [(name, inner) for name in inner_keys for _, inner in block.blocks(name)]
            else:
                labeled.append((labels[0] if labels else "", block))
        return labeled

    def block(self, key: str) -> "Settings | None":
        """The last block of a key."""
        blocks = self.blocks(key)
        return blocks[-1][1] if blocks else None

    def names(self) -> tuple[str, ...]:
        """All keys, in order."""
        return tuple(dict.fromkeys(item.keys[0] for item in self.items))

    def with_comments(self, comments: list[str]) -> "Settings":
        """Add the losses of this block to another list from now on."""
        self.comments = comments
        return self

    def add_loss(self, key: str, what: str, todo: str = "") -> None:
        """Report that a key is not carried over."""
        self._used.add(key)
        self._report.add_loss(self.where(key), f"{self._name}{key}: {what}", todo, comments=self.comments)

    def add_note(self, key: str, what: str, todo: str = "") -> None:
        """Report that a key is different in lessee."""
        self._report.add_note(self.where(key), f"{self._name}{key}: {what}", todo)

    def report_unused(self, known: Mapping[str, UnusedKey]) -> None:
        """Report each key that was not read, unless it is false, or a block that is not enabled."""
        for key in self.names():
            if key in self._used or self._is_disabled(self.value(key)):
                continue
            unused = known.get(key, _UNKNOWN)
            report = self.add_loss if unused.is_loss else self.add_note
            report(key, unused.what, unused.todo)

    def _is_disabled(self, value: Value) -> bool:
        if isinstance(value, Block):
            return any(item.keys == ("enabled",) and self._is_disabled(item.value) for item in value.items)
        return value is False or (isinstance(value, Text) and value.value.lower() == "false")


_UNKNOWN = UnusedKey("unknown key", "check whether you need it")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns|d)")


def _seconds(text: str) -> float | None:
    """The seconds of a Go duration, or of a number."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
