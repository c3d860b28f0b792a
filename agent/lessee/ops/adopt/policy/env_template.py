"""Writes the template of an env file: the user's text, with what reads a secret in place of each secret."""

import re
from collections.abc import Iterable, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.model import Part
from lessee.rendering.formats.literals import Literal

_QUOTES = frozenset("'\"`")
_BEGINS_CODE = re.compile(r"\{(?=[{%#])")
_LITERAL_BRACE = "{%+ raw %}{{% endraw %}"
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+,-]*")
_PLAIN_OUTSIDE_SH = re.compile(r"[A-Za-z0-9_./:@=+,?&%-]*")
_ATTRIBUTE = re.compile(r"(?!(?:keys|items|values|get)$)[a-z_][a-z0-9_]*")


class Replacement(ImmutableStruct, frozen=True):
    """The bytes of the file from `begin` to `end`, and what the template has there, which may be code."""

    begin: int
    end: int
    code: str


def template_of(text: str, replacements: Iterable[Replacement]) -> str:
    """The template of the text. All that is not replaced is rendered as it is."""
    parts, at = [], 0
    for one in sorted(replacements, key=lambda one: one.begin):
        parts += [plain(text[at : one.begin]), one.code]
        at = one.end
    return "".join(parts) + plain(text[at:])


def plain(text: str) -> str:
    """Text of the user as a template writes it."""
    return _BEGINS_CODE.sub(_LITERAL_BRACE, text)


def whole_value(text: str, literal: Literal, parts: Sequence[Part], format: str) -> Replacement:  # noqa: A002
    """The literal with these parts, in the quotes that it has."""
    old = text[literal.begin : literal.end]
    quote = old[:1] if format != "dotenv-docker" and _is_quoted(old) else ""
    code = "".join(_code(part, format) for part in parts)
    return Replacement(literal.begin, literal.end, f"{quote}{code}{quote}")


def _is_quoted(literal: str) -> bool:
    """Whether one pair of quotes surrounds it all."""
    return len(literal) > 1 and literal[0] in _QUOTES and literal[-1] == literal[0] and literal[0] not in literal[1:-1]


def _code(part: Part, format: str) -> str:  # noqa: A002  # As above.
    if not part.path:
        is_plain = (_PLAIN if format == "sh" else _PLAIN_OUTSIDE_SH).fullmatch(part.text)
        return part.text if is_plain else f"{{{{ {_constant(part.text)} }}}}"
    return field_code(part)


def field_code(part: Part) -> str:
    """What reads a field of a secret."""
    key = f".{part.field}" if _ATTRIBUTE.fullmatch(part.field) else f"[{_constant(part.field)}]"
    encoded = " | urlencode" if part.is_url_part else ""
    return f"{{{{ secret({_constant(part.path)}){key}{encoded} }}}}"


def _constant(text: str) -> str:
    """A string of Jinja, on one line and without a brace that may begin code in another place."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() and char not in "{}" else _escaped(char) for char in escaped) + '"'


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004
