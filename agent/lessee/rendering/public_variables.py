"""Finds values in variables that a frontend build makes public, such as VITE_…, in every visitor's download."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice

from lessee.config.grammar.validate import PUBLIC_PREFIXES
from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document, Placeholder

RULE = "public-variable"
"""The rule's name in `lessee check`."""

FORMATS = frozenset({"dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker", "sh", "systemd"})
"""The formats that set variables."""

DOCUMENTS = frozenset({"json", "yaml", "toml", "text"})
"""The formats of files that a browser loads, such as `env.js` and `config.json`: names followed by values."""


class PublicVariable(ImmutableStruct, frozen=True):
    """A variable with a public prefix, its line, and the origin of a value that it takes."""

    variable: str
    line: int
    origin: str
    display_name: str = ""
    """What errors call the variable if its name must not be printed: keys of a value may be part of a secret."""


def public_variables_in(document: Document, format: str) -> Iterator[PublicVariable]:  # noqa: A002  # The configuration's word.
    """Each value that each public variable takes, from the template or by reference to another variable.

    To be safe, text that only looks like a variable counts as one.
    """
    text, placeholders = _text_and_values(document)
    if format in DOCUMENTS:
        yield from _given_in_document(text, placeholders)
    # Most files have no public variable.
    if format not in FORMATS or not _has_prefix(text):
        return
    variables = list(_variables(text, placeholders, format))
    taken: dict[str, list[str]] = {}
    for one in variables:
        taken.setdefault(one.name, []).extend(one.origins)
    referred = {name: frozenset[str]() for name in taken}
    for one in variables:
        referred[one.name] |= frozenset(_REFERENCE.findall(one.text)) & taken.keys()
    line, counted, steps = 1, 0, _FEWEST_STEPS + 2 * len(text)
    # Without steps any value may be among them, and the first one is enough to refuse the variable.
    anything = [placeholder.origin for _, placeholder in placeholders[:1]]
    for one in variables:
        if one.name.startswith(PUBLIC_PREFIXES):
            line, counted = line + text.count("\n", counted, one.at), one.at
            reached, steps = _reached(one.name, referred, steps)
            steps -= sum(len(taken[name]) for name in reached)
            others = [origin for name in sorted(reached) for origin in taken[name]] if steps >= 0 else anything
            yield from (PublicVariable(one.name, line, origin) for origin in dict.fromkeys((*one.origins, *others)))


def refuse_public(document: Document, format: str, listed: Collection[str]) -> None:  # noqa: A002  # As above.
    """Raises FormatError if a public variable that is not among those `listed` takes a value."""
    found = [one for one in public_variables_in(document, format) if one.variable not in listed]
    if not found:
        return
    by_variable = _by_variable(found)
    several = _listed(f"{name} takes {' and '.join(origins[:_SHOWN])}" for name, origins in by_variable.items())
    names = _listed(by_variable)
    raise FormatError(
        f"{several}: a build makes variables with this prefix public",
        where=f"{document.name}:{found[0].line}",
        todo=f"remove it; if the value is not secret, add `public_variables: [{names}]` to the app",
        rule=RULE,
    )


def _listed(names: Iterable[str]) -> str:
    first = list(islice(names, _SHOWN + 1))
    return ", ".join([*first[:_SHOWN], *(["…"] if first[_SHOWN:] else [])])


def public_names(text: str) -> Iterator[tuple[str, int, int]]:
    """Each public name in the text of a format of DOCUMENTS, and where its value begins and ends."""
    if not _has_prefix(text):
        return
    steps = _FEWEST_STEPS + 2 * len(text)
    for match in _NAMED.finditer(text):
        if match[1].startswith(PUBLIC_PREFIXES):
            begin = match.end()
            end = _end_in_document(text, begin, begin + steps)
            steps -= min(steps, end - begin)
            yield match[1], begin, end


class _Variable(ImmutableStruct, frozen=True):
    name: str
    at: int
    text: str
    """The author's text of its value."""
    origins: tuple[str, ...]


_FEWEST_STEPS = 1 << 18
"""Characters that the values of public names may have together, beyond twice the text.

Objects within objects are read for each of their names: thousands of unclosed ones would take hours. So would variables
in the quotes of others, and references to references.
"""
_SHOWN = 20
"""Variables that an error names, and origins of each: thousands would make it longer than the file."""
_OPAQUE = "\ufffc"
_NAME = re.compile(r"[A-Za-z0-9_.-]*")
# In a script, an assignment may follow another one, or precede a command.
_SET = re.compile(r"(?:^|(?<=[\s;&|(\"']))(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=", re.MULTILINE)
_NAMED = re.compile(r"""(?<![A-Za-z0-9_-])([A-Z][A-Za-z0-9_]*)(?:["'`]\]?)?[ \t]*(?:[:=])(?![=:])\s*""")
_QUOTES = frozenset("'\"`")
_QUOTED_ANYWHERE = frozenset({"sh", "systemd"})
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


def _text_and_values(document: Document) -> tuple[str, list[tuple[int, Placeholder]]]:
    """The text, and the index of each value in it. A value that may be part of a name is in the text itself."""
    text, placeholders = "", []
    for part in document.parts:
        if isinstance(part, str):
            text += part
            continue
        placeholders.append((len(text), part))
        value = part.value
        text += value if isinstance(value, str) and _NAME.fullmatch(value) else _OPAQUE
    return text, placeholders


def _has_prefix(text: str) -> bool:
    return any(prefix in text for prefix in PUBLIC_PREFIXES)


def _given_in_document(text: str, placeholders: list[tuple[int, Placeholder]]) -> Iterator[PublicVariable]:
    places, line, counted = [at for at, _ in placeholders], 1, 0
    for name, begin, end in public_names(text):
        inside = placeholders[bisect_left(places, begin) : bisect_left(places, end)]
        line, counted = line + text.count("\n", counted, begin), begin
        yield from (
            PublicVariable(name, line, origin)
            for origin in dict.fromkeys(placeholder.origin for _, placeholder in inside)
        )
    for at, placeholder in placeholders:
        value = placeholder.value
        if isinstance(value, str):
            written = placeholder.yaml if placeholder.yaml is not None else value if placeholder.structure else ""
            value = json.loads(written) if _has_prefix(written) else None
        names = dict.fromkeys(_names(value))
        line = text.count("\n", 0, at) + 1 if names else 0
        for name, prefix in names:
            yield PublicVariable(name, line, placeholder.origin, f"{prefix}…")


def _names(value: object) -> Iterator[tuple[str, str]]:
    """The public names among the keys at any depth, each with its prefix."""
    if isinstance(value, dict):
        yield from ((name, prefix) for name in value for prefix in PUBLIC_PREFIXES if name.startswith(prefix))
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


def _end_in_document(text: str, begin: int, limit: int) -> int:
    """The end of a value that may be an object: the end of the line, or the start of the next value.

    A value that is not at its end at `limit` counts as the whole rest of the text, which refuses more rather than less.
    """
    quote, depth, at = "", 0, begin
    while at < len(text):
        if at >= limit:
            return len(text)
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
            quote = ""  # At the end of a line: in a text it may have been an apostrophe.
        at += 1
    return min(at, len(text))


def _variables(text: str, placeholders: list[tuple[int, Placeholder]], format: str) -> Iterator[_Variable]:  # noqa: A002  # As above.
    places = [at for at, _ in placeholders]
    steps = _FEWEST_STEPS + 2 * len(text)
    for match in _SET.finditer(text):
        begin = match.end()
        if steps == 0:  # Any value may be in it: the first one is enough to refuse the variable.
            yield _Variable(
                match[1], match.start(1), "", tuple(placeholder.origin for _, placeholder in placeholders[:1])
            )
            continue
        end = _end(text, begin, begin + steps, anywhere=format in _QUOTED_ANYWHERE)
        steps -= min(steps, end - begin)
        inside = placeholders[bisect_left(places, begin) : bisect_right(places, end)]
        yield _Variable(
            match[1], match.start(1), text[begin:end], tuple(placeholder.origin for _, placeholder in inside)
        )


def _end(text: str, begin: int, limit: int, *, anywhere: bool) -> int:
    """The end of a value's last line; `limit` as in `_end_in_document`. `anywhere`: quotes may begin inside a value."""
    quote, at, is_blank = "", begin, True
    while at < len(text):
        if at >= limit:
            return len(text)
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
        elif char in _QUOTES and (anywhere or is_blank):
            quote = char
        is_blank = is_blank and char.isspace()
        at += 1
    return min(at, len(text))


def _reached(name: str, referred: Mapping[str, frozenset[str]], steps: int) -> tuple[set[str], int]:
    """The variables that this one refers to, directly or indirectly, and how many of these steps are left."""
    reached, waiting = set[str](), set(referred[name])
    while waiting and steps >= 0:
        one = waiting.pop()
        reached.add(one)
        steps -= 1 + len(referred[one])
        waiting |= referred[one] - reached
    return reached - {name}, steps


def _by_variable(found: list[PublicVariable]) -> Mapping[str, list[str]]:
    public_names: dict[str, list[str]] = {}
    for one in found:
        public_names.setdefault(one.display_name or one.variable, []).append(one.origin)
    return public_names
