"""YAML: a value alone becomes one typed literal, and a scalar that contains values one quoted string."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import yaml
from yaml.constructor import SafeConstructor

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.typed_trees import below, quoted
from lessee.rendering.formats.value_markers import MarkedText, Marker, dumps, mark_values

# libyaml is ten times as fast, and its marks count characters as the Python scanner does.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# libyaml's composer recurses in C, without a limit before the end of the stack.
_MAX_DEPTH = 200
_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
# YAML 1.2, section 5.1, without the line breaks of YAML 1.1 and without byte order marks.
_UNPRINTABLE = "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_NOT_IN_COMMENTS = re.compile(_UNPRINTABLE)
_ESCAPED = re.compile(_UNPRINTABLE + r'|["\\]')
_BYTE_ORDER_MARK = "\ufeff"
_LINE_ENDS = ("\n", "\r", "\x85", "\u2028", "\u2029")
_STRING = "tag:yaml.org,2002:str"
# What every version of YAML, and every parser, reads alike: no octal, sexagesimal or grouped digits, no `yes`.
_TAGGED = {
    "int": ("an integer", r"[-+]?(?:0|[1-9][0-9]{0,18})"),
    "float": ("a number", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?"),
    "bool": ("true or false", "true|True|TRUE|false|False|FALSE"),
    "null": ("null", "null|Null|NULL|~|"),
    "timestamp": ("a date", r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z)?"),
    "binary": ("base64", r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"),
}
"""What a value must be that an explicit tag such as `!!int` types, by the end of the tag."""
_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "map": "object",
    "seq": "array",
}


def write(document: Document) -> str:
    """The document as YAML. Raises FormatError if the text is not YAML, or YAML cannot represent a value."""
    marked = mark_values(replace(document, parts=tuple(map(_unindented, document.parts))))
    # libyaml's marks do not count a byte order mark, and UTF-8 needs none.
    marked = replace(marked, text=marked.text.removeprefix(_BYTE_ORDER_MARK))
    if _BYTE_ORDER_MARK in marked.text:  # libyaml reads it as white space, the Python scanner as a letter.
        what, where = "the text contains a byte order mark", marked.where(marked.text.index(_BYTE_ORDER_MARK))
        raise FormatError(what, where=where, todo="remove it")
    try:
        text, typed = _splice(_scan(marked.text), marked)
        _verify(text, marked, typed)
    except yaml.YAMLError as exc:
        raise _parse_error(exc, marked) from None
    except RecursionError:
        raise FormatError("the text is nested too deeply", where=document.name, todo="flatten it") from None
    return text


def _unindented(part: str | Placeholder) -> str | Placeholder:
    # The first line of a block sets the indentation of all lines.
    if isinstance(part, Placeholder) and part.unindented is not None:
        return replace(part, value=part.unindented)
    return part


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, such as `hosts[0].port: integer`. With several documents, each path begins with its number."""
    try:
        _scan(text)
        nodes = _compose(text)
    except yaml.YAMLError:
        raise FormatError("the text is not YAML", todo="render the file again") from None
    except RecursionError:
        raise FormatError("the text is nested too deeply", todo="flatten it") from None
    several = len(nodes) > 1
    seen: set[int] = set()
    return collected(
        line for index, node in enumerate(nodes) for line in _paths(node, f"document[{index}]" if several else "", seen)
    )


def _scan(text: str) -> list[yaml.Token]:
    tokens: list[yaml.Token] = []
    depth = 0
    for token in yaml.scan(text, Loader=_LOADER):  # Not to the end first: libyaml compares all levels at each token.
        depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
        if depth > _MAX_DEPTH:
            raise RecursionError
        tokens.append(token)
    return tokens


def _compose(text: str) -> list[yaml.Node]:
    """Compose a scanned text, or one with values in it, which is not much deeper."""
    return list(yaml.compose_all(text, Loader=_LOADER))


def _parse_error(exc: yaml.YAMLError, marked: MarkedText) -> FormatError:
    what, where = "the text contains a character that YAML does not allow", marked.name
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        problem = marked.fill(str(exc.problem), lambda _slot: "…")
        what, where = f"the text is not YAML: {problem}", marked.where(exc.problem_mark.index)
    return FormatError(what, where=where, todo="write a template that is YAML without its values")


def _splice(tokens: Iterable[yaml.Token], marked: MarkedText) -> tuple[str, frozenset[Marker]]:
    """The text with its values, and the markers of those with a type."""
    parts: list[str] = []
    typed: set[Marker] = set()
    at, tagged, is_key = 0, False, False
    for token in tokens:
        start, end = token.start_mark.index, token.end_mark.index
        source = marked.text[start:end]
        markers = marked.markers_in(source)
        if markers and not isinstance(token, yaml.ScalarToken):
            raise markers[0].error("is in a tag, an anchor, an alias or a directive", "write that part out")
        if markers and isinstance(token, yaml.ScalarToken):
            marker = marked.alone(source) if token.plain and not tagged else None
            literal = _literal(marker, is_key=is_key) if marker else _string(token.value, source, marked)
            parts += [marked.fill(marked.text[at:start], _comment), literal]
            typed |= {marker} if marker else set()
            at = end
        if isinstance(token, yaml.TagToken):
            tagged = True
        elif not isinstance(token, yaml.AnchorToken):
            tagged, is_key = False, isinstance(token, yaml.KeyToken)
    parts.append(marked.fill(marked.text[at:], _comment))
    return "".join(parts), frozenset(typed)


def _comment(marker: Marker) -> str:
    # Text between tokens is white space without markers, or a comment.
    text = marker.comment()
    if _NOT_IN_COMMENTS.search(text.replace("\t", " ")):
        raise marker.error("contains a character that YAML does not allow in comments", "remove it from the comment")
    return text


def _literal(marker: Marker, *, is_key: bool) -> str:
    data = _data(marker)
    if is_key and not isinstance(data, str):
        raise marker.error("is not a string but is used as a key", "put quotes around it")
    return _flow(data)


def _data(marker: Marker) -> object:
    placeholder = marker.placeholder
    if placeholder.yaml is None:
        return marker.data()
    return replace(marker, placeholder=replace(placeholder, value=placeholder.yaml, structure=True)).data()


def _string(value: str, source: str, marked: MarkedText) -> str:
    inside = set(marked.markers_in(value))
    for marker in marked.markers_in(source):
        if marker not in inside:
            raise marker.error("is in a comment after | or >", "remove it from the comment")
    # A block ends with a newline, and the text after it needs its own line.
    return quoted(marked.fill(value), _ESCAPED) + ("\n" if source.endswith(_LINE_ENDS) else "")


def _flow(data: object) -> str:
    match data:
        case str():
            return quoted(data, _ESCAPED)
        case float():  # YAML 1.1 requires a point: 1e-07 would be a string.
            mantissa, e, exponent = repr(data).partition("e")
            return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
        case list():
            return f"[{', '.join(map(_flow, data))}]"
        case dict():
            return f"{{{', '.join(f'{_flow(key)}: {_flow(value)}' for key, value in data.items())}}}"
        case _:
            return dumps(data)


def _verify(text: str, marked: MarkedText, typed: frozenset[Marker]) -> None:
    expected = _compose(marked.text)
    seen: set[tuple[int, int]] = set()
    try:
        actual = _compose(text)
        verified = len(expected) == len(actual) and all(
            _same(*pair, marked, typed, seen) for pair in zip(expected, actual, strict=True)
        )
    except (yaml.YAMLError, ValueError):  # ValueError: a plain literal is not a number.
        verified = False
    if not verified:
        todo = "put each value into its own scalar, and limit keys to 1000 characters"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)


def _same(
    expected: yaml.Node, actual: yaml.Node, marked: MarkedText, typed: frozenset[Marker], seen: set[tuple[int, int]]
) -> bool:
    """Whether the file's nodes are the author's nodes with the values in them."""
    if isinstance(expected, yaml.ScalarNode):
        marker = marked.alone(expected.value)
        if marker and marker in typed:
            return _holds(actual, _data(marker))
        if markers := marked.markers_in(expected.value):
            _check_tag(expected.tag, marked.fill(expected.value), markers[0])
        alike = isinstance(actual, yaml.ScalarNode) and expected.tag == actual.tag
        return alike and bool(actual.value == marked.fill(expected.value))
    if (id(expected), id(actual)) in seen:  # An alias is the same node as its anchor.
        return True
    seen.add((id(expected), id(actual)))
    if (type(expected), expected.tag, len(expected.value)) != (type(actual), actual.tag, len(actual.value)):
        return False
    if isinstance(expected, yaml.MappingNode):
        _refuse_duplicates(expected, marked)
    return all(map(_same, _children(expected), _children(actual), repeat(marked), repeat(typed), repeat(seen)))


def _check_tag(tag: str, text: str, marker: Marker) -> None:
    """Raises FormatError for a value that readers would refuse under its tag."""
    before, _, name = tag.rpartition(":")
    if before == "tag:yaml.org,2002" and name in _TAGGED:
        what, pattern = _TAGGED[name]
        if not re.fullmatch(pattern, text):
            raise marker.error(
                f"is not {what}, which its tag !!{name} requires", "store another value, or remove the tag"
            )


def _holds(node: yaml.Node, data: object) -> bool:
    if isinstance(data, str):
        return node.tag == _STRING and bool(node.value == data)
    # repr distinguishes true from 1 and 1 from 1.0; == does not.
    return repr(SafeConstructor().construct_document(node)) == repr(data)


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    return chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value


def _refuse_duplicates(mapping: yaml.MappingNode, marked: MarkedText) -> None:
    known: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        twin = known.setdefault((key.tag, marked.fill(key.value)), key)
        if twin is key:
            continue
        if markers := marked.markers_in(twin.value + key.value):
            raise markers[0].error("duplicates a key of its mapping", "rename one")
        what = f"the key {key.value!r} is duplicated in a mapping"
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
