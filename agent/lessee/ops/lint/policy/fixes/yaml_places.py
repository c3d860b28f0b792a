"""Finds where the values of a YAML text begin and end, so that an edit keeps every other character."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.grammar.nodes import NULL, entries_of, kind_of, line_of
from lessee.ops.lint.policy.fixes.model import Path

_ALIAS = re.compile(r"[ \t]*\*([^\s,\[\]{}]+)")
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)*")
_COMMENT = re.compile(r"[ \t]*(?:#[^\r\n]*)?")
_NEWLINE = re.compile(r"\r\n|\n|\r")


class Span(NamedTuple):
    """The characters from `start` up to `end`."""

    start: int
    end: int


class Slot(NamedTuple):
    """A value in a collection: its key, if it has one, and the node, which an alias may share with other slots."""

    key: Node | None
    node: Node
    alias: str
    """The name of the alias that the text has here; empty without one."""
    span: Span
    """The value in the text, without trailing comments."""


def slots(text: str, parent: CollectionNode) -> list[Slot]:
    """The values that the collection's own text has, in their order. Merged keys are no part of it."""
    found: list[Slot] = []
    if isinstance(parent, MappingNode):
        for key, node in parent.value:
            after = text.index(":", key.end_mark.index) + 1 if _has_colon(text, key) else key.end_mark.index
            found.append(_slot(text, key, node, after))
        return found
    after = _after_properties(text, parent)
    for node in parent.value:
        found.append(_slot(text, None, node, _item_start(text, after, is_flow=bool(parent.flow_style))))
        after = found[-1].span.end
    return found


def slot_at(text: str, root: MappingNode, path: Path) -> Slot | None:
    """The slot of a path, through the texts of its parents: a merged value has none."""
    slot = Slot(None, root, "", Span(0, len(text)))
    for step in path:
        if slot.alias or not isinstance(slot.node, CollectionNode):
            return None
        below = slots(text, slot.node)
        if isinstance(step, int):
            named = below[step : step + 1] if isinstance(slot.node, SequenceNode) else []
        else:
            named = [each for each in below if _name_of(each) == step]
        if not named:
            return None
        slot = named[0]
    return slot


def _name_of(slot: Slot) -> str | None:
    """The key of a value, or the variable that an item sets."""
    if slot.key is None:
        return str(slot.node.value).partition("=")[0] if isinstance(slot.node, ScalarNode) else None
    return str(slot.key.value) if isinstance(slot.key, ScalarNode) else None


def node_at(root: MappingNode, path: Path) -> Node | None:
    """The node of a path, also behind an alias; a merged value has none."""
    node: Node | None = root
    for step in path:
        node = {at: value for at, _, value in _children(node)}.get(step) if node is not None else None
    return node


def paths_at(root: MappingNode, line: int, word: str) -> Iterator[Path]:
    """The paths of the values of the key `word`, and of what they contain, that begin in this line."""
    seen: set[int] = set()
    waiting: list[tuple[Path, Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        for step, key, value in _children(node):
            at = (*path, step)
            if word in at[-2:] and line in {line_of(key or value), line_of(value)}:
                yield at
            waiting.append((at, value))


def end_of_line(text: str, index: int) -> int:
    """The end of the line, if only a comment follows; otherwise the index itself."""
    comment = _COMMENT.match(text, index)
    end = comment.end() if comment is not None else index
    return end if end == len(text) or _NEWLINE.match(text, end) else index


def newline_of(text: str) -> str:
    """The line break of the text."""
    found = _NEWLINE.search(text)
    return found[0] if found is not None else "\n"


def next_line(text: str, index: int) -> int:
    """The start of the next line; the end of the text without one."""
    found = _NEWLINE.search(text, index)
    return found.end() if found is not None else len(text)


def is_null(node: Node) -> bool:
    """Whether it has no value."""
    return kind_of(node) == NULL


def inherits(node: MappingNode, key: str) -> Node | None:
    """The value that a mapping merges by `<<`, if it has no own one."""
    own = {each.value for each, _ in node.value if isinstance(each, ScalarNode)}
    entry = entries_of(node).nodes.get(key)
    return entry[1] if entry is not None and key not in own else None


def _children(node: Node) -> Iterator[tuple[str | int, Node | None, Node]]:
    if isinstance(node, MappingNode):
        yield from ((key.value, key, value) for key, value in node.value if isinstance(key, ScalarNode))
    elif isinstance(node, SequenceNode):
        yield from ((index, None, value) for index, value in enumerate(node.value))


def _has_colon(text: str, key: Node) -> bool:
    return re.compile(r"[ \t]*:").match(text, key.end_mark.index) is not None


def _item_start(text: str, after: int, *, is_flow: bool) -> int:
    """Where an item of a list begins: after its dash, or after the bracket or comma before it."""
    marker = re.compile(r"[\[,]" if is_flow else r"-")
    while True:
        found = marker.search(text, after)
        assert found is not None
        line = text.rfind("\n", 0, found.start()) + 1
        if "#" not in text[max(line, after) : found.start()]:
            return found.end()
        after = next_line(text, found.start())


def _slot(text: str, key: Node | None, node: Node, after: int) -> Slot:
    alias = _ALIAS.match(text, after)
    if alias is not None:
        return Slot(key, node, alias[1], Span(alias.start(1) - 1, alias.end()))
    if is_null(node) and node.start_mark.index == node.end_mark.index:
        return Slot(key, node, "", Span(after, after))
    return Slot(key, node, "", Span(_after_properties(text, node), _content_end(text, node)))


def _after_properties(text: str, node: Node) -> int:
    """Where its text begins, after an anchor and a tag."""
    found = _PROPERTIES.match(text, node.start_mark.index)
    return found.end() if found is not None else int(node.start_mark.index)


def _content_end(text: str, node: Node) -> int:
    """Where the last of its characters ends: libyaml ends a block only at the next token."""
    if isinstance(node, CollectionNode) and not node.flow_style:
        return slots(text, node)[-1].span.end
    if isinstance(node, ScalarNode) and node.style in {"|", ">"}:
        return len(text[: node.end_mark.index].rstrip())
    return int(node.end_mark.index)
