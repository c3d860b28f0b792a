"""Edits a YAML text by splices: everything outside of them stays as it is, with comments, layout and anchors."""

import re
from collections.abc import Mapping, Sequence

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.grammar.nodes import STRING, kind_of
from lessee.ops.lint.policy.fixes.model import Data, Path, Verbatim, is_list
from lessee.ops.lint.policy.fixes.yaml_places import (
    Slot,
    end_of_line,
    inherits,
    is_null,
    newline_of,
    next_line,
    slot_at,
    slots,
)
from lessee.ops.lint.policy.fixes.yaml_text import block, flow
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError, root_of

_PLAIN = re.compile(r"[A-Za-z/.-]+[A-Za-z]\w*[\w./@+=%: -]*\w", re.ASCII)
"""What stays plain if it was plain, besides what is always written so."""


def add(text: str, document: Mapping[str, Data], path: Path = ()) -> str:
    """The text with the document added at the path of a mapping."""
    for key, value in document.items():
        text = _added(text, (*path, key), value)
    return text


def set_scalar(text: str, path: Path, new: str) -> str:
    """The text with another string at a path, in the same quotes."""
    slot = _own_slot(text, path)
    if not isinstance(slot.node, ScalarNode) or slot.node.style in {"|", ">"}:
        raise NotEditableError("it is no plain text")
    return _spliced(text, slot.span.start, slot.span.end, _like(slot.node, new))


def remove(text: str, path: Path) -> str:
    """The text without a key or an item, and without its collection if that would be empty."""
    slot = _own_slot(text, path)
    parent = _own_slot(text, path[:-1])
    assert isinstance(parent.node, CollectionNode)
    siblings = slots(text, parent.node)
    if len(siblings) == 1 and len(path) > 1:
        return remove(text, path[:-1])
    start = slot.span.start if slot.key is None else slot.key.start_mark.index
    if parent.node.flow_style:
        index = [each.span for each in siblings].index(slot.span)
        if index + 1 < len(siblings):
            after = siblings[index + 1]
            return _spliced(text, start, after.span.start if after.key is None else after.key.start_mark.index, "")
        return _spliced(text, siblings[index - 1].span.end, slot.span.end, "")
    begin = text.rfind("\n", 0, start) + 1
    if text[begin:start].strip(" ") not in {"", "-"} or (slot.key is not None and "-" in text[begin:start]):
        raise NotEditableError("it shares its line with other keys")
    return _spliced(text, begin, next_line(text, end_of_line(text, slot.span.end)), "")


def _added(text: str, path: Path, value: Data) -> str:
    slot = slot_at(text, root_of(text), path)
    if slot is None:
        return _with_key(text, path, value)
    if slot.alias:
        return _with_alias_replaced(text, slot, value)
    if is_null(slot.node):
        return _with_value(text, path, slot, value)
    if isinstance(value, Mapping):
        return _with_entries(text, path, slot, value)
    if is_list(value):
        return _with_items(text, path, slot, value)
    if not isinstance(slot.node, ScalarNode):
        raise NotEditableError("it is no single value")
    if flow(value) == flow(_data(slot.node)):
        return text
    return _spliced(text, *slot.span, _like(slot.node, value) if isinstance(value, str) else flow(value))


def _with_key(text: str, path: Path, value: Data) -> str:
    """The text with a key that its mapping does not have."""
    parent, key = _own_slot(text, path[:-1]), str(path[-1])
    if not isinstance(parent.node, MappingNode):
        raise NotEditableError("its parent is no mapping")
    inherited = inherits(parent.node, key)
    if inherited is not None:  # An own key would replace what `<<` merges.
        value = _combined(inherited, value)
    return _with_entry(text, path, parent, {key: value})


def _with_entry(text: str, path: Path, parent: Slot, entry: Mapping[str, Data]) -> str:
    assert isinstance(parent.node, CollectionNode)
    own = slots(text, parent.node)
    if parent.node.flow_style:
        written = flow(entry)[1:-1]
        if not own:
            return _spliced(text, parent.span.start + 1, parent.span.start + 1, written)
        gap = " " if own[-1].span.start == own[-1].span.end else ""
        return _spliced(text, own[-1].span.end, own[-1].span.end, f"{gap}, {written}")
    first = own[0].key
    assert first is not None
    newline = newline_of(text)
    at = end_of_line(text, own[-1].span.end)
    # Services and the parts of a file are apart from each other.
    gap = newline if path[:-1] in {(), ("services",)} and isinstance(next(iter(entry.values())), Mapping) else ""
    lines = block(entry, " " * first.start_mark.column).replace("\n", newline)
    return _spliced(text, at, at, f"{newline}{gap}{lines}{'' if at < len(text) else newline}")


def _with_value(text: str, path: Path, slot: Slot, value: Data) -> str:
    """The text with a value for a key that has none."""
    parent = _own_slot(text, path[:-1])
    assert isinstance(parent.node, MappingNode)
    assert slot.key is not None
    is_empty = slot.span.start == slot.span.end
    if is_empty and isinstance(value, Mapping) and not parent.node.flow_style:
        at, newline = end_of_line(text, slot.span.end), newline_of(text)
        lines = block(value, " " * (slot.key.start_mark.column + 2)).replace("\n", newline)
        return _spliced(text, at, at, f"{newline}{lines}{'' if at < len(text) else newline}")
    has_colon = ":" in text[slot.key.end_mark.index : slot.span.start]
    return _spliced(text, *slot.span, f"{'' if has_colon else ':'}{' ' * is_empty}{flow(value)}")


def _with_alias_replaced(text: str, slot: Slot, value: Data) -> str:
    """The text with a copy of what an alias names: an edit of that itself would change other parts too."""
    combined = _combined(slot.node, value)
    if flow(combined) == flow(_data(slot.node)):
        return text
    if isinstance(value, Mapping) and isinstance(slot.node, MappingNode):
        changed = {key: item for key, item in value.items() if combined[key] != _data(slot.node).get(key)}  # type: ignore[index,union-attr,call-overload]
        entries = flow({key: combined[key] for key in changed})[1:-1]  # type: ignore[index,call-overload]
        return _spliced(text, *slot.span, f"{{<<: *{slot.alias}, {entries}}}")
    return _spliced(text, *slot.span, flow(combined))


def _with_entries(text: str, path: Path, slot: Slot, value: Mapping[str, Data]) -> str:
    if isinstance(slot.node, MappingNode):
        return add(text, value, path)
    if not isinstance(slot.node, SequenceNode):
        raise NotEditableError("it is no mapping")
    if path[-1] == "depends_on":
        return add(_with_conditions(text, slot), value, path)
    if path[-1] == "environment" and all(item is None or isinstance(item, str) for item in value.values()):
        written = [key if item is None else f"{key}={item}" for key, item in value.items()]
        return _with_items(text, path, slot, written)
    raise NotEditableError("it is a list")


def _with_conditions(text: str, slot: Slot) -> str:
    """A list of services as a mapping, whose conditions mean the same."""
    assert isinstance(slot.node, SequenceNode)
    own = slots(text, slot.node)
    is_flow = bool(slot.node.flow_style)
    for each in reversed(own):
        text = _spliced(text, each.span.end, each.span.end, ": {condition: service_started}")
        if not is_flow:
            dash = text.rindex("-", 0, each.span.start)
            text = _spliced(text, dash, dash + 1, " ")
    if not is_flow:
        return text
    end = text.index("]", slot.span.end - 1 + len(own) * len(": {condition: service_started}"))
    return _spliced(_spliced(text, end, end + 1, "}"), slot.span.start, slot.span.start + 1, "{")


def _with_items(text: str, path: Path, slot: Slot, value: Sequence[Data]) -> str:
    if isinstance(slot.node, MappingNode):
        return add(text, {str(item): None for item in value}, path)
    if not isinstance(slot.node, SequenceNode):
        raise NotEditableError("it is no list")
    present = [_data(node) for node in slot.node.value]
    missing = [flow(item) for item in value if item not in present]
    own = slots(text, slot.node)
    if not missing:
        return text
    if not slot.node.flow_style:
        at, newline = end_of_line(text, own[-1].span.end), newline_of(text)
        column = text.rindex("-", 0, own[0].span.start + 1) - (text.rfind("\n", 0, own[0].span.start) + 1)
        lines = "".join(f"{newline}{' ' * column}- {item}" for item in missing)
        return _spliced(text, at, at, lines)
    at = own[-1].span.end if own else slot.span.start + 1
    return _spliced(text, at, at, (", " if own else "") + ", ".join(missing))


def _own_slot(text: str, path: Path) -> Slot:
    slot = slot_at(text, root_of(text), path)
    if slot is None or slot.alias:
        raise NotEditableError("it is not written there, but inherited")
    return slot


def _combined(node: Node, value: Data) -> Data:
    """What a node has and the value adds."""
    known = _data(node)
    if isinstance(known, Mapping) and isinstance(value, Mapping):
        return {**known, **value}
    if is_list(known) and is_list(value):
        return [*known, *(item for item in value if item not in known)]
    if isinstance(known, Mapping) or is_list(known):
        raise NotEditableError("what it inherits has another form")
    return value


def _data(node: Node) -> Data:
    if isinstance(node, MappingNode):
        return {str(key.value): _data(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [_data(item) for item in node.value]
    if kind_of(node) == STRING:
        return str(node.value)
    tag = f"{node.tag} " if node.tag.startswith("!") else ""
    return None if is_null(node) else Verbatim(f"{tag}{node.value}")


def _like(node: ScalarNode, new: str) -> str:
    if node.style == "'":
        return f"'{new.replace(chr(39), chr(39) * 2)}'"
    written = flow(new)
    if node.style == '"' and written == new:
        return f'"{new}"'
    is_plain = not node.style and _PLAIN.fullmatch(new) and ": " not in new and not new.isalnum()
    return new if is_plain else written


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]
