"""JSON (RFC 8259): a value is one JSON value, or escaped text within a string of the author's."""

import json
import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats import typed_trees
from lessee.rendering.formats.typed_trees import Bare, whole
from lessee.rendering.formats.value_markers import Marked, Slot, dumps, loads, mark, refuse_constant

# A string, closed or not, or a run of what is no string and no punctuation: a number, a word, tokens of ours.
_RUN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[^\s,:\[\]{}"]+', re.DOTALL)
_TODO = "let values stand alone or inside a string, in a template that is JSON without them"


def write(document: Document) -> str:
    """The document as JSON. Raises FormatError where a value or the author's text has no place in it."""
    marked = mark(document)
    bare = frozenset(_bare(marked))
    # With every token inside a string, the author's text has to be JSON as it stands.
    quoted = _RUN.sub(lambda run: f'"{run[0]}"' if whole(run[0], marked, bare) else run[0], marked.text)
    try:
        expected = _expected(_parse(quoted, marked, bare), marked, bare)
        text = _RUN.sub(lambda run: _spell(run[0], marked, bare), quoted)
        _prove(text, expected, marked)
    except RecursionError:
        raise FormatError("the text is nested too deep", where=document.name, todo="make it flatter") from None
    return text


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, as in `hosts[0].port: integer`."""
    try:
        return tuple(typed_trees.paths(loads(text), _kind))
    except ValueError:
        raise FormatError("the text is no JSON", todo="write the file anew") from None
    except RecursionError:
        raise FormatError("the text is nested too deep", todo="make it flatter") from None


class _Object(list[tuple[str, object]]):
    """An object with its names as they stand, so that one that stands twice is seen."""


def _bare(marked: Marked) -> Iterator[Slot]:
    for run in _RUN.findall(marked.text):
        slots = [] if run.startswith('"') else marked.slots_in(run)
        if slots and not marked.alone(run):
            raise slots[0].refused("is glued to other text outside a string", "put quotes around the whole")
        yield from slots


def _parse(quoted: str, marked: Marked, bare: Bare) -> object:
    try:
        return json.loads(quoted, object_pairs_hook=_Object, parse_constant=refuse_constant)
    except json.JSONDecodeError as exc:
        before = quoted[: exc.pos].rpartition("\n")[2]
        # Only what the author wrote counts: neither tokens nor the quotes around them.
        added = 2 * sum(slot in bare for slot in marked.slots_in(before))
        column = len(marked.fill(before, lambda _slot: "")) - added + 1
        what = f"the text is no JSON at column {column}, values not counted: {exc.msg}"
        raise FormatError(what, where=f"{marked.name}:{exc.lineno}", todo=_TODO) from None
    except ValueError:
        what, todo = "the text holds NaN, Infinity or a number without end", "write a number, or a string"
        raise FormatError(what, where=marked.name, todo=todo) from None


def _expected(node: object, marked: Marked, bare: Bare) -> object:
    """What the file has to mean: the author's structure with the values in it."""
    match node:
        case str():
            slot = whole(node, marked, bare)
            return slot.data() if slot else marked.fill(node)
        case _Object():
            tokens: dict[str, str] = {}
            for token, _ in node:
                name = typed_trees.name(token, marked, bare)
                if name in tokens:
                    raise _twice(tokens[name], token, marked)
                tokens[name] = token
            values = (_expected(value, marked, bare) for _, value in node)
            return dict(zip(tokens, values, strict=True))
        case list():
            return [_expected(item, marked, bare) for item in node]
        case _:
            return node


def _twice(first: str, second: str, marked: Marked) -> FormatError:
    if slots := marked.slots_in(first + second):
        return slots[0].refused("makes a name that its object has already", "make the names differ")
    return FormatError(f"the name {second!r} stands twice in an object", where=marked.name, todo="remove one")


def _spell(run: str, marked: Marked, bare: Bare) -> str:
    slot = whole(run[1:-1], marked, bare)
    return slot.json() if slot else marked.fill(run, lambda slot: dumps(slot.text())[1:-1])


def _prove(text: str, expected: object, marked: Marked) -> None:
    # repr tells true from 1 and 1 from 1.0, which == does not.
    if repr(loads(text)) != repr(expected):
        raise FormatError("the text does not read back as it was written", where=marked.name, todo=_TODO)


def _kind(data: object) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(data), "null")
