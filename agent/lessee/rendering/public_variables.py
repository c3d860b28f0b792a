"""Which values a file gives away: those under names that a frontend's build writes into what every visitor gets."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping

from lessee.config.grammar.validate import PUBLIC_PREFIXES
from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document, Hole

RULE = "public-variable"
"""The name under which `lessee check` tells of it."""

FORMATS = frozenset({"dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker", "sh", "systemd"})
"""Those that set variables."""

DOCUMENTS = frozenset({"json", "yaml", "toml", "text"})
"""Those in which a name stands before its value, such as `env.js` and `config.json`, which a browser loads."""


class Given(Record, frozen=True):
    """A variable with a public prefix, the line where it is set, and the origin of a value that it takes."""

    variable: str
    line: int
    origin: str
    told: str = ""
    """What an error may call it, where that is not its name: the keys of a value may be part of a secret."""


def given(document: Document, format: str) -> Iterator[Given]:  # noqa: A002  # The word that users write.
    """By each public variable each value that it takes, from the template or by a reference to another variable.

    It errs on the careful side: what only looks like a variable counts as one.
    """
    text, holes = _laid_out(document)
    if format in DOCUMENTS:
        yield from _given_in_document(text, holes)
    # Most files have none of them.
    if format not in FORMATS or not _has_prefix(text):
        return
    variables = list(_variables(text, holes, format))
    taken: dict[str, list[str]] = {}
    for one in variables:
        taken.setdefault(one.name, []).extend(one.origins)
    referred = {name: frozenset[str]() for name in taken}
    for one in variables:
        referred[one.name] |= frozenset(_REFERENCE.findall(one.text)) & taken.keys()
    for one in variables:
        if one.name.startswith(PUBLIC_PREFIXES):
            line = text.count("\n", 0, one.at) + 1
            others = (origin for name in sorted(_reached(one.name, referred)) for origin in taken[name])
            yield from (Given(one.name, line, origin) for origin in dict.fromkeys((*one.origins, *others)))


def refuse_public(document: Document, format: str, listed: Collection[str]) -> None:  # noqa: A002  # As above.
    """Raises FormatError where a public variable that is not among those `listed` takes a value."""
    found = [one for one in given(document, format) if one.variable not in listed]
    if not found:
        return
    several = ", ".join(f"{name} takes {' and '.join(origins)}" for name, origins in _by_variable(found).items())
    names = ", ".join(_by_variable(found))
    raise FormatError(
        f"{several}: a build writes what begins so into what every visitor gets",
        where=f"{document.name}:{found[0].line}",
        todo=f"take it out; or, where all the world may know it, write `public: [{names}]` in the app",
        rule=RULE,
    )


def named(text: str) -> Iterator[tuple[str, int, int]]:
    """In the text of one of DOCUMENTS each public name, and where its value begins and ends."""
    if _has_prefix(text):
        for match in _NAMED.finditer(text):
            if match[1].startswith(PUBLIC_PREFIXES):
                yield match[1], match.end(), _end_in_document(text, match.end())


class _Variable(Record, frozen=True):
    name: str
    at: int
    text: str
    """The author's, of its value."""
    origins: tuple[str, ...]


_PLACE = "\ufffc"
_NAME = re.compile(r"[A-Za-z0-9_.-]*")
# In a script one may stand behind another, or before a command.
_SET = re.compile(r"(?:^|(?<=[\s;&|(\"']))(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=", re.MULTILINE)
_NAMED = re.compile(r"""(?<![A-Za-z0-9_-])([A-Z][A-Za-z0-9_]*)(?:["'`]\]?)?[ \t]*(?:[:=])(?![=:])\s*""")
_QUOTES = frozenset("'\"`")
_QUOTED_ANYWHERE = frozenset({"sh", "systemd"})
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


def _laid_out(document: Document) -> tuple[str, list[tuple[int, Hole]]]:
    """The text, and at which of its characters values stand: a value that may be part of a name is itself there."""
    text, holes = "", []
    for part in document.parts:
        if isinstance(part, str):
            text += part
            continue
        holes.append((len(text), part))
        value = part.value
        text += value if isinstance(value, str) and _NAME.fullmatch(value) else _PLACE
    return text, holes


def _has_prefix(text: str) -> bool:
    return any(prefix in text for prefix in PUBLIC_PREFIXES)


def _given_in_document(text: str, holes: list[tuple[int, Hole]]) -> Iterator[Given]:
    places = [at for at, _ in holes]
    for name, begin, end in named(text):
        inside = holes[bisect_left(places, begin) : bisect_left(places, end)]
        line = text.count("\n", 0, begin) + 1
        yield from (Given(name, line, origin) for origin in dict.fromkeys(hole.origin for _, hole in inside))
    for at, hole in holes:
        value = hole.value
        if isinstance(value, str):
            written = hole.yaml if hole.yaml is not None else value if hole.structure else ""
            value = json.loads(written) if _has_prefix(written) else None
        line = text.count("\n", 0, at) + 1
        for name, prefix in dict.fromkeys(_names(value)):
            yield Given(name, line, hole.origin, f"{prefix}…")


def _names(value: object) -> Iterator[tuple[str, str]]:
    """The public ones among the keys in it, at any depth, each with its prefix."""
    if isinstance(value, dict):
        yield from ((name, prefix) for name in value for prefix in PUBLIC_PREFIXES if name.startswith(prefix))
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


def _end_in_document(text: str, begin: int) -> int:
    """Of a value that may be an object: of the line, or where the next begins."""
    quote, depth, at = "", 0, begin
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif quote and (char != "\n" or quote == "`"):
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}" and depth:
            depth -= 1
        elif not depth and char in ",;)]}\n":
            break
        else:
            quote = ""  # at the end of a line: in a text it may have been an apostrophe
        at += 1
    return min(at, len(text))


def _variables(text: str, holes: list[tuple[int, Hole]], format: str) -> Iterator[_Variable]:  # noqa: A002  # As above.
    places = [at for at, _ in holes]
    for match in _SET.finditer(text):
        begin, end = match.end(), _end(text, match.end(), anywhere=format in _QUOTED_ANYWHERE)
        inside = holes[bisect_left(places, begin) : bisect_right(places, end)]
        yield _Variable(match[1], match.start(1), text[begin:end], tuple(hole.origin for _, hole in inside))


def _end(text: str, begin: int, *, anywhere: bool) -> int:
    """Of the last line of a value; `anywhere`: quotes may begin within it."""
    quote, at = "", begin
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char == "\n":
            break
        elif char == "#" and text[at - 1] in " \t":
            line = text.find("\n", at)
            return line if line >= 0 else len(text)
        elif char in _QUOTES and (anywhere or not text[begin:at].strip()):
            quote = char
        at += 1
    return min(at, len(text))


def _reached(name: str, referred: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The variables whose values come into this one's, by however many steps."""
    reached, waiting = frozenset[str](), set(referred[name])
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached |= {one}
            waiting |= referred[one]
    return reached - {name}


def _by_variable(found: list[Given]) -> Mapping[str, list[str]]:
    named: dict[str, list[str]] = {}
    for one in found:
        named.setdefault(one.told or one.variable, []).append(one.origin)
    return named
