"""JSON (RFC 8259): a value becomes one JSON value, or escaped text within a string of the author."""

import json
import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats import typed_trees
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.typed_trees import Bare, whole
from lessee.rendering.formats.value_markers import MarkedText, Marker, dumps, loads, mark_values, refuse_constant

# A string, closed or not, or a run without strings and punctuation: a number, a word, our markers.
_RUN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[^\s,:\[\]{}"]+', re.DOTALL)
_TODO = "write a value alone or inside a string, in a template that is otherwise JSON"


def write(document: Document) -> str:
    """The document as JSON. Raises FormatError if the text is not JSON, or JSON cannot represent a value."""
    marked = mark_values(document)
    bare = frozenset(_bare(marked))
    # With every marker inside a string, the author's text must be valid JSON.
    quoted = _RUN.sub(lambda run: f'"{run[0]}"' if whole(run[0], marked, bare) else run[0], marked.text)
    try:
        expected = _expected(_parse(quoted, marked, bare), marked, bare)
        text = _RUN.sub(lambda run: _spell(run[0], marked, bare), quoted)
        _verify(text, expected, marked)
    except RecursionError:
        raise FormatError("the text is nested too deeply", where=document.name, todo="flatten it") from None
    return text


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, such as `hosts[0].port: integer`."""
    try:
        return collected(typed_trees.paths(loads(text), _kind))
    except ValueError:
        raise FormatError("the text is not JSON", todo="render the file again") from None
    except RecursionError:
        raise FormatError("the text is nested too deeply", todo="flatten it") from None


class _Object(list[tuple[str, object]]):
    """An object as a list of pairs, so that duplicate names can be detected."""


def _bare(marked: MarkedText) -> Iterator[Marker]:
    for run in _RUN.findall(marked.text):
        markers = [] if run.startswith('"') else marked.markers_in(run)
        if markers and not marked.alone(run):
            raise markers[0].error("is next to other text outside a string", "quote the whole string")
        yield from markers


def _parse(quoted: str, marked: MarkedText, bare: Bare) -> object:
    try:
        return json.loads(quoted, object_pairs_hook=_Object, parse_constant=refuse_constant)
    except json.JSONDecodeError as exc:
        before = quoted[: exc.pos].rpartition("\n")[2]
        # The column counts only the author's text: neither markers nor the quotes around them.
        added = 2 * sum(marker in bare for marker in marked.markers_in(before))
        column = len(marked.fill(before, lambda _slot: "")) - added + 1
        what = f"the text is not JSON at column {column}, not counting values: {exc.msg}"
        raise FormatError(what, where=f"{marked.name}:{exc.lineno}", todo=_TODO) from None
    except ValueError:
        what, todo = "the text contains NaN, Infinity or a number that is too long", "write a number, or a string"
        raise FormatError(what, where=marked.name, todo=todo) from None


def _expected(node: object, marked: MarkedText, bare: Bare) -> object:
    """The expected content: the author's structure with the values in it."""
    match node:
        case str():
            marker = whole(node, marked, bare)
            return marker.data() if marker else marked.fill(node)
        case _Object():
            tokens: dict[str, str] = {}
            for token, _ in node:
                name = typed_trees.name(token, marked, bare)
                if name in tokens:
                    raise _duplicate(tokens[name], token, marked)
                tokens[name] = token
            values = (_expected(value, marked, bare) for _, value in node)
            return dict(zip(tokens, values, strict=True))
        case list():
            return [_expected(item, marked, bare) for item in node]
        case _:
            return node


def _duplicate(first: str, second: str, marked: MarkedText) -> FormatError:
    if markers := marked.markers_in(first + second):
        return markers[0].error("duplicates a name of its object", "rename one")
    return FormatError(f"the name {second!r} is duplicated in an object", where=marked.name, todo="remove one")


def _spell(run: str, marked: MarkedText, bare: Bare) -> str:
    marker = whole(run[1:-1], marked, bare)
    return marker.json() if marker else marked.fill(run, lambda marker: dumps(marker.text())[1:-1])


def _verify(text: str, expected: object, marked: MarkedText) -> None:
    # repr distinguishes true from 1 and 1 from 1.0; == does not.
    if repr(loads(text)) != repr(expected):
        raise FormatError("the file would parse back to different content", where=marked.name, todo=_TODO)


def _kind(data: object) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(data), "null")
