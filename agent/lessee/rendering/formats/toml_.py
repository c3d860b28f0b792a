"""TOML 1.0: a value alone becomes one typed value or key, and a string that contains values one basic string."""

import re
import tomllib
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document
from lessee.rendering.formats import typed_trees
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.typed_trees import Bare, quoted, whole
from lessee.rendering.formats.value_markers import MarkedText, Marker, dumps, mark_values

# A comment, a string, closed or not, or a run without both: a bare key, a number, our markers.
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
# TOML requires escapes for quotes, backslashes and ASCII control characters; some parsers mishandle the others.
_ESCAPED = re.compile(r'["\\\0-\x1f\x7f-\x9f\u2028\u2029\ufeff]')
_MOST_BITS = 14_285  # Python writes integers of up to 4300 digits, and reads longer ones only in hexadecimal.
_INTEGERS = range(-(2**63), 2**63)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_MAX_DEPTH = 100
_TODO = "write a value alone or inside a string, in a template that is otherwise TOML"


def write(document: Document) -> str:
    """The document as TOML. Raises FormatError if the text is not TOML, or TOML cannot represent a value."""
    marked = _with_shared_markers(mark_values(document))
    bare = frozenset(_bare(marked))
    # A quoted marker is a valid key and value, so the author's text must be valid TOML.
    strings = _RUN.sub(lambda run: f'"{run[0]}"' if marked.alone(run[0]) else run[0], marked.text)
    try:
        _refuse_deep_keys(marked.text)
        expected = _expected(_parse(strings, marked), marked, bare)
        text = _RUN.sub(lambda run: _spell(run[0], marked), marked.text)
        _verify(text, expected, marked)
    except RecursionError:
        raise FormatError("the text is nested too deeply", where=document.name, todo="flatten it") from None
    return text


def outline(text: str) -> tuple[str, ...]:
    """Paths and types, such as `servers[0].port: integer`."""
    try:
        return collected(typed_trees.paths(found, _kind) if (found := tomllib.loads(text)) else ())
    except ValueError:  # Also of an integer of thousands of digits.
        raise FormatError("the text is not TOML", todo="render the file again") from None
    except RecursionError:
        raise FormatError("the text is nested too deeply", todo="flatten it") from None


def _refuse_deep_keys(text: str) -> None:
    """Raises RecursionError for a dotted key of many parts: tomllib takes the square of their number."""
    depth = end = 0
    for run in _RUN.finditer(text):
        depth = depth + 1 if text[end : run.start()].strip(" \t") == "." else 0
        if depth > _MAX_DEPTH:
            raise RecursionError
        end = run.end()


def _with_shared_markers(marked: MarkedText) -> MarkedText:
    """Use the same marker for each placeholder with the same string and origin.

    `[servers.{{ name }}]` and `[servers.{{ name }}.tls]` refer to one table.
    """
    tokens: dict[object, str] = {}
    numbers = {marker: number for number, marker in enumerate(marked.markers)}

    def token(marker: Marker) -> str:
        placeholder, own = marker.placeholder, f"{marked.word}{numbers[marker]}x"
        alike = isinstance(placeholder.value, str) and not placeholder.structure
        return tokens.setdefault((placeholder.origin, placeholder.value), own) if alike else own

    return replace(marked, text=marked.fill(marked.text, token))


def _bare(marked: MarkedText) -> Iterator[Marker]:
    for run in _RUN.findall(marked.text):
        markers = [] if run.startswith(("#", '"', "'")) else marked.markers_in(run)
        if markers and not marked.alone(run):
            raise markers[0].error("is next to other text outside a string", "quote the whole string")
        yield from markers


def _parse(text: str, marked: MarkedText) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        message = str(exc)
        place = _PLACE.search(message)
        line = place[1] if place else None
        problem = marked.fill(_PLACE.sub("", message), lambda _slot: "…")
        where = f"{marked.name}:{line}" if line else marked.name
        raise FormatError(f"the text is not TOML: {problem}", where=where, todo=_TODO) from None
    except ValueError:
        raise _too_long(marked) from None


def _expected(node: object, marked: MarkedText, bare: Bare) -> object:
    """The expected content: the author's structure with the values in it."""
    match node:
        case str():
            marker = whole(node, marked, bare)
            return marker.data() if marker else marked.fill(node)
        case dict():
            tokens: dict[str, str] = {}
            for token in node:
                name = typed_trees.name(token, marked, bare)
                if name in tokens:
                    marker = marked.markers_in(tokens[name] + token)[0]
                    raise marker.error("duplicates a key of its table", "rename one")
                tokens[name] = token
            return {name: _expected(node[token], marked, bare) for name, token in tokens.items()}
        case list():
            return [_expected(item, marked, bare) for item in node]
        case int() if node.bit_length() > _MOST_BITS:
            raise _too_long(marked)
        case _:
            return node


def _too_long(marked: MarkedText) -> FormatError:
    what = "the text is not TOML: an integer has thousands of digits"
    return FormatError(what, where=marked.name, todo=_TODO)


def _spell(run: str, marked: MarkedText) -> str:
    if run.startswith("#"):
        return marked.fill(run, _comment)
    marker = marked.alone(run)
    if marker:
        return _literal(marker.data(), marker)
    return _string(marked.fill(tomllib.loads(f"x={run}")["x"])) if marked.markers_in(run) else run


def _comment(marker: Marker) -> str:
    text = marker.comment()
    if _NOT_IN_COMMENTS.search(text):
        raise marker.error("contains a character that TOML does not allow in comments", "remove it from the comment")
    return text


def _literal(data: object, marker: Marker) -> str:
    match data:
        case str():
            return _string(data)
        case None:
            raise marker.error("is or contains null, which TOML does not support", "omit it with {% if %}")
        case int() if data not in _INTEGERS:
            raise marker.error("is or contains an integer of more than 64 bits", "store it as a string")
        case list():
            return f"[{', '.join(_literal(item, marker) for item in data)}]"
        case dict():
            pairs = (f"{_string(name)} = {_literal(item, marker)}" for name, item in data.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return dumps(data)


def _string(text: str) -> str:
    return quoted(text, _ESCAPED)


def _verify(text: str, expected: object, marked: MarkedText) -> None:
    try:
        # repr distinguishes true from 1 and 1 from 1.0; == does not.
        is_same = repr(tomllib.loads(text)) == repr(expected)
    except ValueError:  # As above.
        is_same = False
    if not is_same:
        raise FormatError("the file would parse back to different content", where=marked.name, todo=_TODO)


def _kind(data: object) -> str:
    kinds = {dict: "table", list: "array", str: "string", bool: "boolean", int: "integer", float: "float"}
    return kinds.get(type(data), type(data).__name__)
