"""TOML 1.0: a value that stands alone is one typed value or key, a string with values in it one basic string."""

import re
import tomllib
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document
from lessee.rendering.formats import typed_trees
from lessee.rendering.formats.typed_trees import Bare, quoted, whole
from lessee.rendering.formats.value_markers import Marked, Slot, dumps, mark

# A comment, a string, closed or not, or a run of what is neither: a bare key, a number, tokens of ours.
_RUN = re.compile(
    r"#[^\n]*"
    r'|"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|[^\s=,.\[\]{}#\"']+",
    re.DOTALL,
)
_NOT_IN_COMMENTS = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")
# TOML wants quotes, backslashes and the controls of ASCII escaped; the others end a line or vanish for some reader.
_ESCAPED = re.compile(r'["\\\0-\x1f\x7f-\x9f\u2028\u2029\ufeff]')
_INTEGERS = range(-(2**63), 2**63)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_TODO = "let values stand alone or inside a string, in a template that is TOML without them"


def write(document: Document) -> str:
    """The document as TOML. Raises FormatError where a value or the author's text has no place in it."""
    marked = _united(mark(document))
    bare = frozenset(_bare(marked))
    # A quoted token is a key and a value, so that the author's text has to be TOML as it stands.
    strings = _RUN.sub(lambda run: f'"{run[0]}"' if marked.alone(run[0]) else run[0], marked.text)
    try:
        expected = _expected(_parse(strings, marked), marked, bare)
        text = _RUN.sub(lambda run: _spell(run[0], marked), marked.text)
        _prove(text, expected, marked)
    except RecursionError:
        raise FormatError("the text is nested too deep", where=document.name, todo="make it flatter") from None
    return text


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, as in `servers[0].port: integer`."""
    try:
        return tuple(typed_trees.paths(found, _kind) if (found := tomllib.loads(text)) else ())
    except tomllib.TOMLDecodeError:
        raise FormatError("the text is no TOML", todo="write the file anew") from None
    except RecursionError:
        raise FormatError("the text is nested too deep", todo="make it flatter") from None


def _united(marked: Marked) -> Marked:
    """The same token wherever the same string of the same origin stands.

    `[servers.{{ name }}]` and `[servers.{{ name }}.tls]` speak of one table.
    """
    tokens: dict[object, str] = {}
    numbers = {slot: number for number, slot in enumerate(marked.slots)}

    def token(slot: Slot) -> str:
        hole, own = slot.hole, f"{marked.word}{numbers[slot]}x"
        alike = isinstance(hole.value, str) and not hole.structure
        return tokens.setdefault((hole.origin, hole.value), own) if alike else own

    return replace(marked, text=marked.fill(marked.text, token))


def _bare(marked: Marked) -> Iterator[Slot]:
    for run in _RUN.findall(marked.text):
        slots = [] if run.startswith(("#", '"', "'")) else marked.slots_in(run)
        if slots and not marked.alone(run):
            raise slots[0].refused("is glued to other text outside a string", "put quotes around the whole")
        yield from slots


def _parse(text: str, marked: Marked) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        message = str(exc)
        place = _PLACE.search(message)
        line = place[1] if place else None
        problem = marked.fill(_PLACE.sub("", message), lambda _slot: "…")
        where = f"{marked.name}:{line}" if line else marked.name
        raise FormatError(f"the text is no TOML: {problem}", where=where, todo=_TODO) from None


def _expected(node: object, marked: Marked, bare: Bare) -> object:
    """What the file has to mean: the author's structure with the values in it."""
    match node:
        case str():
            slot = whole(node, marked, bare)
            return slot.data() if slot else marked.fill(node)
        case dict():
            tokens: dict[str, str] = {}
            for token in node:
                name = typed_trees.name(token, marked, bare)
                if name in tokens:
                    slot = marked.slots_in(tokens[name] + token)[0]
                    raise slot.refused("makes a key that its table has already", "make the keys differ")
                tokens[name] = token
            return {name: _expected(node[token], marked, bare) for name, token in tokens.items()}
        case list():
            return [_expected(item, marked, bare) for item in node]
        case _:
            return node


def _spell(run: str, marked: Marked) -> str:
    if run.startswith("#"):
        return marked.fill(run, _comment)
    slot = marked.alone(run)
    if slot:
        return _literal(slot.data(), slot)
    return _string(marked.fill(tomllib.loads(f"x={run}")["x"])) if marked.slots_in(run) else run


def _comment(slot: Slot) -> str:
    text = slot.comment()
    if _NOT_IN_COMMENTS.search(text):
        raise slot.refused("holds a character that a comment in TOML cannot", "take it out of the comment")
    return text


def _literal(data: object, slot: Slot) -> str:
    match data:
        case str():
            return _string(data)
        case None:
            raise slot.refused("is or holds null, for which TOML has no word", "leave it out with {% if %}")
        case int() if data not in _INTEGERS:
            raise slot.refused("is or holds an integer of more than 64 bits", "store it as a string")
        case list():
            return f"[{', '.join(_literal(item, slot) for item in data)}]"
        case dict():
            pairs = (f"{_string(name)} = {_literal(item, slot)}" for name, item in data.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return dumps(data)


def _string(text: str) -> str:
    return quoted(text, _ESCAPED)


def _prove(text: str, expected: object, marked: Marked) -> None:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        found = None
    # repr tells true from 1 and 1 from 1.0, which == does not.
    if repr(found) != repr(expected):
        raise FormatError("the text does not read back as it was written", where=marked.name, todo=_TODO)


def _kind(data: object) -> str:
    kinds = {dict: "table", list: "array", str: "string", bool: "boolean", int: "integer", float: "float"}
    return kinds.get(type(data), type(data).__name__)
