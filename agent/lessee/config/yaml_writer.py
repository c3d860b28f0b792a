"""Writes YAML with comments, for the commands that generate a lessee.yaml."""

import re
import textwrap
from collections.abc import Iterator, Sequence

from lessee.core.immutable import ImmutableStruct


class Expandable(ImmutableStruct, frozen=True):
    """A string whose `${…}` the agent expands. In a plain string, `${` is escaped."""

    text: str


class Commented(ImmutableStruct, frozen=True):
    """A value with a comment after it."""

    value: "Scalar"
    comment: str


class Keys(ImmutableStruct, frozen=True):
    """A mapping. A string between its entries is a comment line. `flow`: on one line, in braces."""

    entries: tuple["Entry", ...]
    flow: bool = False


Scalar = str | int | bool | Expandable
Node = Scalar | Commented | Keys | Sequence[str] | Sequence[Keys]
Entry = tuple[str, Node] | str


def write(keys: Keys) -> str:
    """Format the root mapping as the text of a file."""
    return "".join(f"{line}\n" for line in _block(keys, ""))


_WIDTH = 112
_WORDS = frozenset("y n yes no true false on off null none ~".split())  # noqa: SIM905
_PLAIN = re.compile(r"[A-Za-z_/.][\w/.@%+=-]*(?::[\w/.@%+=-]+)*|[a-z]+://[\w/.@%+=:-]+|[0-9]+(?:ms|s|m|h|d)", re.ASCII)


def _block(keys: Keys, indent: str) -> Iterator[str]:
    for entry in keys.entries:
        if isinstance(entry, str):
            yield from _comment(entry, indent)
            continue
        key, value = _scalar(entry[0]), entry[1]
        match value:
            case Keys(flow=False):
                yield f"{indent}{key}:"
                yield from _block(value, f"{indent}  ")
            case [Keys(), *_]:
                yield f"{indent}{key}:"
                for item in value:
                    assert isinstance(item, Keys)
                    yield from _item(item, f"{indent}  ")
            case Commented(comment=comment):
                yield f"{indent}{key}: {_inline(value)}  # {comment}"
            case _:
                yield f"{indent}{key}: {_inline(value)}"


def _item(keys: Keys, indent: str) -> Iterator[str]:
    """A mapping in a list. Comments before its first key are written before the dash."""
    first = next(at for at, entry in enumerate(keys.entries) if not isinstance(entry, str))
    yield from _block(Keys(keys.entries[:first]), indent)
    for at, line in enumerate(_block(Keys(keys.entries[first:]), f"{indent}  ")):
        yield line if at else f"{indent}- {line.lstrip()}"


def _comment(text: str, indent: str) -> list[str]:
    """Wrap a comment. A newline in it becomes a space, because it would end the comment."""
    words = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return textwrap.wrap(
        words,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}#   ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [f"{indent}#"]


def _inline(value: Node) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _scalar(value.replace("${", "$${"))
        case Expandable(text):
            return _scalar(text)
        case Keys(entries):
            inside = ", ".join(
                f"{_scalar(entry[0])}: {_inline(entry[1])}" for entry in entries if not isinstance(entry, str)
            )
            return f"{{{inside}}}"
        case Commented(inner):
            return _inline(inner)
        case _:
            return f"[{', '.join(_inline(item) for item in value)}]"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else _escaped(char) for char in escaped) + '"'


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
