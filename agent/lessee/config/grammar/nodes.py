"""Parses YAML text into nodes that know their line."""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import yaml
from msgspec import Struct, field
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.core.errors import ConfigError, LesseeError

_T = TypeVar("_T")

MAPPING, LIST = "a mapping", "a list"
NULL, STRING, NUMBER, BOOLEAN = "no value", "a string", "a number", "a boolean"

LABEL = "!label"
"""The tag of a node with the text of a label, whose kind depends on the key."""
_PREFIX = "tag:yaml.org,2002:"
_KINDS = {
    (MappingNode, f"{_PREFIX}map"): MAPPING,
    (SequenceNode, f"{_PREFIX}seq"): LIST,
    (ScalarNode, f"{_PREFIX}null"): NULL,
    (ScalarNode, f"{_PREFIX}str"): STRING,
    (ScalarNode, f"{_PREFIX}int"): NUMBER,
    (ScalarNode, f"{_PREFIX}float"): NUMBER,
    (ScalarNode, f"{_PREFIX}bool"): BOOLEAN,
    (ScalarNode, f"{_PREFIX}timestamp"): "a date",
}
_MERGE = f"{_PREFIX}merge"
_MAX_CHARACTERS = 1 << 20
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
# libyaml is faster and limits the depth itself. PyYAML's wheels include it; a build from source may not.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(text: str, source: str) -> MappingNode:
    """The root mapping of the file. Raises ConfigError, which never contains text of the file."""
    root = _composed(text, source, lambda: yaml.compose(text, Loader=_LOADER))
    if root is None:
        raise _error(source, 1, "the file is empty", "write at least `apps:`")
    return _mapping(root, source)


def documents(text: str, source: str) -> list[MappingNode]:
    """The root mapping of each document of a file. Raises ConfigError, which never contains text of the file."""
    roots = _composed(text, source, lambda: list(yaml.compose_all(text, Loader=_LOADER)))
    if not roots:
        raise _error(source, 1, "the file is empty", "write a document, or remove the file")
    return [_mapping(root, source) for root in roots]


def compose_value(text: str, source: str) -> Node | None:
    """The node of any value; None for no value. Raises ConfigError, which never contains the text."""
    return _composed(text, source, lambda: yaml.compose(text, Loader=_LOADER))


def _composed(text: str, source: str, composed: Callable[[], _T]) -> _T:
    if text.startswith("\ufeff"):
        raise _error(source, 1, "the file begins with a byte order mark", "save it as UTF-8 without BOM")
    if len(text) > _MAX_CHARACTERS:
        raise _error(source, 1, f"the file is longer than {_MAX_CHARACTERS} characters", "split it")
    if unprintable := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        raise _error(
            source,
            line,
            f"YAML does not allow the character U+{ord(unprintable[0]):04X}",
            "remove it, or escape it in double quotes",
        )
    try:
        return composed()
    except yaml.MarkedYAMLError as exc:
        raise _syntax_error(text, source, exc) from None
    except RecursionError:
        raise _error(source, 1, "the file is nested too deeply", "reduce its nesting") from None


def _mapping(root: Node, source: str) -> MappingNode:
    if isinstance(root, MappingNode):
        return root
    raise _error(source, line_of(root), f"expected a mapping, found {kind_of(root)}", "write `key: value`")


def kind_of(node: Node) -> str:
    """The kind of the node in an error, such as `a mapping`."""
    return _KINDS.get((type(node), node.tag), "a value with a custom tag")


def is_label(node: Node) -> bool:
    """Whether it is the text of a label."""
    return node.tag == LABEL and isinstance(node, ScalarNode)


def line_of(node: Node) -> int:
    """The line of the node, counted from 1."""
    return int(node.start_mark.line) + 1


class Entries(Struct):
    """The entries of a mapping, including those that `<<` merges."""

    nodes: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    """The nodes of each key and of its value."""
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    """The key, line and problem of each invalid entry."""


def entries_of(mapping: MappingNode) -> Entries:
    """The entries of the mapping. Its own keys override merged ones, and earlier merges override later ones.

    https://yaml.org/type/merge.html
    """
    entries = Entries()
    waiting = [mapping]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        # Its entries were taken with a higher precedence. This also ends cycles and keeps alias bombs small.
        if id(node) not in seen:
            seen.add(id(node))
            waiting.extend(reversed(list(_take(node, entries))))
    return entries


def line_of_key(root: Node, path: tuple[str | int, ...]) -> int:
    """The line of a key or list item, or of its nearest existing parent."""
    line = 1
    for key in path:
        entry = _item(root, key) if isinstance(key, int) else _entry(root, key)
        if entry is None:
            break
        line, root = line_of(entry[0]), entry[1]
    return line


def _item(root: Node, index: int) -> tuple[Node, Node] | None:
    items = root.value if isinstance(root, SequenceNode) else []
    return (items[index], items[index]) if index < len(items) else None


def _entry(root: Node, key: str) -> tuple[Node, Node] | None:
    return entries_of(root).nodes.get(key) if isinstance(root, MappingNode) else None


def _take(mapping: MappingNode, entries: Entries) -> Iterator[MappingNode]:
    """Add the mapping's own entries. Yields the mappings that it merges."""
    own: dict[str, int] = {}
    for key, value in mapping.value:
        if key.tag == _MERGE:
            yield from _merged(value, entries)
        elif not isinstance(key, ScalarNode):
            entries.faults.append(("?", line_of(key), f"expected a string as key, found {kind_of(key)}"))
        elif key.value in own:
            what = f"duplicate key; the first is in line {own[key.value]}"
            entries.faults.append((key.value, line_of(key), what))
        else:
            own[key.value] = line_of(key)
            entries.nodes.setdefault(key.value, (key, value))


def _merged(value: Node, entries: Entries) -> Iterator[MappingNode]:
    for node in value.value if isinstance(value, SequenceNode) else [value]:
        if isinstance(node, MappingNode):
            yield node
        else:
            entries.faults.append(("<<", line_of(node), f"expected mappings to merge, found {kind_of(node)}"))


def _syntax_error(text: str, source: str, exc: yaml.MarkedYAMLError) -> ConfigError:
    # The pure Python loader quotes the file, and takes a password that begins with `*` for an alias.
    what = ", ".join(re.sub(r"""["'].*["']""", "…", part) for part in (exc.context, exc.problem) if part is not None)
    assert exc.problem_mark is not None
    line, column = exc.problem_mark.line, exc.problem_mark.column
    nearby = text.splitlines()[max(line - 1, 0) : line + 1]
    tabbed = any("\t" in row[: len(row) - len(row.lstrip())] for row in nearby)
    todo = "indent with spaces; YAML does not allow tabs" if tabbed else "correct it, or quote the value"
    return _error(source, line + 1, f"column {column + 1}: invalid YAML: {what}", todo)


def _error(source: str, line: int, what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=f"{source}:{line}", todo=todo)])
