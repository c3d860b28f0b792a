"""YAML: a value that stands alone is one typed literal; a scalar with a value in it is one quoted string."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import yaml
from yaml.constructor import SafeConstructor

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document, Hole
from lessee.rendering.formats.typed_trees import below, quoted
from lessee.rendering.formats.value_markers import Marked, Slot, dumps, mark

# libyaml is ten times as fast, and its marks count characters as those of the scanner in Python do.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# libyaml's composer recurses in C, where nothing stops it before the stack's end.
_DEEPEST = 200
_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
# YAML 1.2, 5.1, without what YAML 1.1 takes for a line's end, and without byte order marks.
_UNPRINTABLE = "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_NOT_IN_COMMENTS = re.compile(_UNPRINTABLE)
_ESCAPED = re.compile(_UNPRINTABLE + r'|["\\]')
_BYTE_ORDER_MARK = "\ufeff"
_LINE_ENDS = ("\n", "\r", "\x85", "\u2028", "\u2029")
_STRING = "tag:yaml.org,2002:str"
_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "map": "object",
    "seq": "array",
}


def write(document: Document) -> str:
    """The document as YAML. Raises FormatError where a value or the author's text has no place in it."""
    marked = mark(replace(document, parts=tuple(map(_not_laid_out, document.parts))))
    # libyaml's marks pass over a byte order mark, and UTF-8 needs none.
    marked = replace(marked, text=marked.text.removeprefix(_BYTE_ORDER_MARK))
    if _BYTE_ORDER_MARK in marked.text:  # For libyaml it is white space, for the scanner in Python a letter.
        what, where = "the text holds a byte order mark", marked.where(marked.text.index(_BYTE_ORDER_MARK))
        raise FormatError(what, where=where, todo="remove it")
    try:
        text, typed = _splice(_scan(marked.text), marked)
        _prove(text, marked, typed)
    except yaml.YAMLError as exc:
        raise _no_yaml(exc, marked) from None
    except RecursionError:
        raise FormatError("the text is nested too deep", where=document.name, todo="make it flatter") from None
    return text


def _not_laid_out(part: str | Hole) -> str | Hole:
    # A block's lines stand where its first one does, be they indented or not.
    if isinstance(part, Hole) and part.unindented is not None:
        return replace(part, value=part.unindented)
    return part


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, as in `hosts[0].port: integer`; of several documents each begins with its number."""
    try:
        _scan(text)
        nodes = _compose(text)
    except yaml.YAMLError:
        raise FormatError("the text is no YAML", todo="write the file anew") from None
    except RecursionError:
        raise FormatError("the text is nested too deep", todo="make it flatter") from None
    several = len(nodes) > 1
    seen: set[int] = set()
    return tuple(
        line for index, node in enumerate(nodes) for line in _paths(node, f"document[{index}]" if several else "", seen)
    )


def _scan(text: str) -> list[yaml.Token]:
    tokens = list(yaml.scan(text, Loader=_LOADER))
    depth = 0
    for token in tokens:
        depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
        if depth > _DEEPEST:
            raise RecursionError
    return tokens


def _compose(text: str) -> list[yaml.Node]:
    """Of what was scanned, or of what that and its values came to, which is not much deeper."""
    return list(yaml.compose_all(text, Loader=_LOADER))


def _no_yaml(exc: yaml.YAMLError, marked: Marked) -> FormatError:
    what, where = "the text holds a character that YAML cannot", marked.name
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        problem = marked.fill(str(exc.problem), lambda _slot: "…")
        what, where = f"the text is no YAML: {problem}", marked.where(exc.problem_mark.index)
    return FormatError(what, where=where, todo="make the template YAML without its values")


def _splice(tokens: Iterable[yaml.Token], marked: Marked) -> tuple[str, frozenset[Slot]]:
    """The text with its values, and the slots of those that keep their type."""
    parts: list[str] = []
    typed: set[Slot] = set()
    at, tagged, is_key = 0, False, False
    for token in tokens:
        start, end = token.start_mark.index, token.end_mark.index
        source = marked.text[start:end]
        slots = marked.slots_in(source)
        if slots and not isinstance(token, yaml.ScalarToken):
            raise slots[0].refused("stands in a tag, an anchor, an alias or a directive", "write that part out")
        if slots and isinstance(token, yaml.ScalarToken):
            slot = marked.alone(source) if token.plain and not tagged else None
            literal = _literal(slot, is_key=is_key) if slot else _string(token.value, source, marked)
            parts += [marked.fill(marked.text[at:start], _comment), literal]
            typed |= {slot} if slot else set()
            at = end
        if isinstance(token, yaml.TagToken):
            tagged = True
        elif not isinstance(token, yaml.AnchorToken):
            tagged, is_key = False, isinstance(token, yaml.KeyToken)
    parts.append(marked.fill(marked.text[at:], _comment))
    return "".join(parts), frozenset(typed)


def _comment(slot: Slot) -> str:
    # What no token covers is white space, which holds no slot, or a comment.
    text = slot.comment()
    if _NOT_IN_COMMENTS.search(text.replace("\t", " ")):
        raise slot.refused("holds a character that a comment in YAML cannot", "take it out of the comment")
    return text


def _literal(slot: Slot, *, is_key: bool) -> str:
    data = _data(slot)
    if is_key and not isinstance(data, str):
        raise slot.refused("is no string and stands as a key", "put quotes around it")
    return _flow(data)


def _data(slot: Slot) -> object:
    hole = slot.hole
    if hole.yaml is None:
        return slot.data()
    return replace(slot, hole=replace(hole, value=hole.yaml, structure=True)).data()


def _string(value: str, source: str, marked: Marked) -> str:
    inside = set(marked.slots_in(value))
    for slot in marked.slots_in(source):
        if slot not in inside:
            raise slot.refused("stands in a comment after | or >", "take it out of the comment")
    # A block ends with its last line's end, and what follows needs a line of its own.
    return quoted(marked.fill(value), _ESCAPED) + ("\n" if source.endswith(_LINE_ENDS) else "")


def _flow(data: object) -> str:
    match data:
        case str():
            return quoted(data, _ESCAPED)
        case float():  # YAML 1.1 wants a point: 1e-07 would be a string.
            mantissa, e, exponent = repr(data).partition("e")
            return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
        case list():
            return f"[{', '.join(map(_flow, data))}]"
        case dict():
            return f"{{{', '.join(f'{_flow(key)}: {_flow(value)}' for key, value in data.items())}}}"
        case _:
            return dumps(data)


def _prove(text: str, marked: Marked, typed: frozenset[Slot]) -> None:
    wanted = _compose(marked.text)
    seen: set[tuple[int, int]] = set()
    try:
        had = _compose(text)
        proved = len(wanted) == len(had) and all(
            _same(*pair, marked, typed, seen) for pair in zip(wanted, had, strict=True)
        )
    except (yaml.YAMLError, ValueError):  # ValueError: a plain literal that is no number after all.
        proved = False
    if not proved:
        todo = "give each value a scalar of its own, and no key more than 1000 characters"
        raise FormatError("the text would not read back as it is written", where=marked.name, todo=todo)


def _same(
    wanted: yaml.Node, had: yaml.Node, marked: Marked, typed: frozenset[Slot], seen: set[tuple[int, int]]
) -> bool:
    """Whether the file's nodes are the author's with the values in them."""
    if isinstance(wanted, yaml.ScalarNode):
        slot = marked.alone(wanted.value)
        if slot and slot in typed:
            return _holds(had, _data(slot))
        alike = isinstance(had, yaml.ScalarNode) and wanted.tag == had.tag
        return alike and bool(had.value == marked.fill(wanted.value))
    if (id(wanted), id(had)) in seen:  # An alias gives the node of its anchor again.
        return True
    seen.add((id(wanted), id(had)))
    if (type(wanted), wanted.tag, len(wanted.value)) != (type(had), had.tag, len(had.value)):
        return False
    if isinstance(wanted, yaml.MappingNode):
        _refuse_twins(wanted, marked)
    return all(map(_same, _children(wanted), _children(had), repeat(marked), repeat(typed), repeat(seen)))


def _holds(node: yaml.Node, data: object) -> bool:
    if isinstance(data, str):
        return node.tag == _STRING and bool(node.value == data)
    # repr tells true from 1 and 1 from 1.0, which == does not.
    return repr(SafeConstructor().construct_document(node)) == repr(data)


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    return chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value


def _refuse_twins(mapping: yaml.MappingNode, marked: Marked) -> None:
    known: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        twin = known.setdefault((key.tag, marked.fill(key.value)), key)
        if twin is key:
            continue
        if slots := marked.slots_in(twin.value + key.value):
            raise slots[0].refused("makes a key that its mapping has already", "make the keys differ")
        what = f"the key {key.value!r} stands twice in a mapping"
        raise FormatError(what, where=marked.where(key.start_mark.index), todo="remove one")


def _paths(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    kind = node.tag.rpartition(":")[2]
    if isinstance(node, yaml.ScalarNode) or not node.value or id(node) in seen:
        kind = "alias" if id(node) in seen else _TYPES.get(kind, kind)
        yield f"{path}: {kind}" if path else kind
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            yield from _paths(value, below(path, name), seen)
    else:
        for index, item in enumerate(node.value):
            yield from _paths(item, f"{path}[{index}]", seen)
