"""YAML text as nodes that know their line."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.core.errors import ConfigError, LesseeError

_T = TypeVar("_T")

MAPPING, LIST = "a mapping", "a list"
NOTHING, TEXT, NUMBER, YES_OR_NO = "nothing", "a text", "a number", "a yes or no"

_PREFIX = "tag:yaml.org,2002:"
_KINDS = {
    (MappingNode, f"{_PREFIX}map"): MAPPING,
    (SequenceNode, f"{_PREFIX}seq"): LIST,
    (ScalarNode, f"{_PREFIX}null"): NOTHING,
    (ScalarNode, f"{_PREFIX}str"): TEXT,
    (ScalarNode, f"{_PREFIX}int"): NUMBER,
    (ScalarNode, f"{_PREFIX}float"): NUMBER,
    (ScalarNode, f"{_PREFIX}bool"): YES_OR_NO,
    (ScalarNode, f"{_PREFIX}timestamp"): "a date",
}
_MERGE = f"{_PREFIX}merge"
_MOST = 1 << 20
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
# libyaml is faster and bounds the depth itself; the wheels have it, a build from source may not.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(text: str, source: str) -> MappingNode:
    """The mapping that the file is. Raises ConfigError; no text of the file is in it."""
    root = _composed(text, source, lambda: yaml.compose(text, Loader=_LOADER))
    if root is None:
        raise _error(source, 1, "the file is empty", "it needs at least `apps:`")
    return _mapping(root, source)


def documents(text: str, source: str) -> list[MappingNode]:
    """The mappings that the documents of a file are. Raises ConfigError as above."""
    roots = _composed(text, source, lambda: list(yaml.compose_all(text, Loader=_LOADER)))
    if not roots:
        raise _error(source, 1, "the file is empty", "")
    return [_mapping(root, source) for root in roots]


def _composed(text: str, source: str, composed: Callable[[], _T]) -> _T:
    if text.startswith("\ufeff"):
        raise _error(source, 1, "the file begins with a byte order mark", "save it as UTF-8 without one")
    if len(text) > _MOST:
        raise _error(source, 1, f"the file is longer than {_MOST} characters", "")
    if unprintable := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        raise _error(source, line, f"YAML has no place for the character U+{ord(unprintable[0]):04X}", "")
    try:
        return composed()
    except yaml.MarkedYAMLError as exc:
        raise _syntax_error(text, source, exc) from None
    except RecursionError:
        raise _error(source, 1, "the file is nested too deeply", "") from None


def _mapping(root: Node, source: str) -> MappingNode:
    if isinstance(root, MappingNode):
        return root
    raise _error(source, line_of(root), f"expected a mapping, found {kind_of(root)}", "write `key: value`")


def kind_of(node: Node) -> str:
    """What a reader of the file would call the node."""
    return _KINDS.get((type(node), node.tag), "a value with a tag of its own")


def line_of(node: Node) -> int:
    """The node's line, from 1."""
    return int(node.start_mark.line) + 1


@dataclass(slots=True)
class Entries:
    """What a mapping holds once its `<<` are merged in."""

    nodes: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    """The nodes of a key and of its value."""
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    """Key, line, and what is wrong."""


def entries_of(mapping: MappingNode) -> Entries:
    """The mapping's own keys win over merged ones, and earlier merges over later ones.

    https://yaml.org/type/merge.html
    """
    entries = Entries()
    waiting = [mapping]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        # Whatever it holds has been taken with a higher rank; so cycles end, and bombs stay small.
        if id(node) not in seen:
            seen.add(id(node))
            waiting.extend(reversed(list(_take(node, entries))))
    return entries


def _take(mapping: MappingNode, entries: Entries) -> Iterator[MappingNode]:
    """Adds the mapping's own keys, and gives the mappings that it merges."""
    own: dict[str, int] = {}
    for key, value in mapping.value:
        if key.tag == _MERGE:
            yield from _merged(value, entries)
        elif not isinstance(key, ScalarNode):
            entries.faults.append(("?", line_of(key), f"a key is a text, found {kind_of(key)}"))
        elif key.value in own:
            what = f"the key stands in line {own[key.value]} already"
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
    # The pure Python loader quotes the file, and a password that begins with `*` is an alias to it.
    what = ", ".join(re.sub(r"""["'].*["']""", "…", part) for part in (exc.context, exc.problem) if part is not None)
    assert exc.problem_mark is not None
    line, column = exc.problem_mark.line, exc.problem_mark.column
    nearby = text.splitlines()[max(line - 1, 0) : line + 1]
    tabbed = any("\t" in row[: len(row) - len(row.lstrip())] for row in nearby)
    todo = "indent with spaces: YAML forbids tabs there" if tabbed else ""
    return _error(source, line + 1, f"column {column + 1}: this is not YAML: {what}", todo)


def _error(source: str, line: int, what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=f"{source}:{line}", todo=todo)])
