"""Expands `${…}` in the strings of lessee.yaml like Docker Compose."""

import re
from collections.abc import Mapping

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct

_HEAD = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?]|(?=\}))")
_SPECIAL = re.compile(r"\$\$\{|\$\{|[{}]")
_MAX_DEPTH = 20


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace the variables in a text. Raises ConfigError, whose problem has no place.

    `${NAME}` must be set. `${NAME:-default}` and `${NAME:?message}` treat an empty variable as unset;
    `${NAME-default}` and `${NAME?message}` do not. `$${` becomes `${`; any other `$` is literal. A default may contain
    variables, and braces in pairs; its variables are looked up only if it is used. Values are not expanded again.
    https://docs.docker.com/reference/compose-file/interpolation/
    """
    return "".join(_value(part, environ) for part in _parse(text))


def check(text: str) -> None:
    """Check the syntax. Raises ConfigError like `expand`, but reads no variable."""
    _parse(text)


class _Variable(ImmutableStruct, frozen=True):
    name: str
    operator: str
    argument: "tuple[str | _Variable, ...]"
    message: str


def _value(part: str | _Variable, environ: Mapping[str, str]) -> str:
    if isinstance(part, str):
        return part
    value = environ.get(part.name)
    if value or (value is not None and not part.operator.startswith(":")):
        return value
    if part.operator.endswith("-"):
        return "".join(_value(inner, environ) for inner in part.argument)
    state = "not set" if value is None else "empty"
    raise _error(f"${{{part.name}}} is {state}", part.message or f"set it, or write ${{{part.name}:-default}}")


def _parse(text: str) -> tuple[str | _Variable, ...]:
    parts, _ = _parts(text, 0, depth=0)
    return parts


def _parts(text: str, start: int, *, depth: int) -> tuple[tuple[str | _Variable, ...], int]:
    """Parse `text` from `start` to its end, or inside a variable (`depth` > 0) to its closing brace."""
    parts: list[str | _Variable] = []
    opened = 0
    while found := _SPECIAL.search(text, start):
        parts.append(text[start : found.start()])
        start = found.end()
        match found[0]:
            case "${":
                variable, start = _variable(text, found.start(), depth + 1)
                parts.append(variable)
            case "}" if depth and not opened:
                return tuple(parts), found.start()
            case special:
                opened += {"}": -1}.get(special, 1)
                parts.append(special.removeprefix("$"))
    if depth:
        raise _error("unclosed ${", "close it with }, or write $${ for a literal ${")
    return (*parts, text[start:]), len(text)


def _variable(text: str, start: int, depth: int) -> tuple[_Variable, int]:
    """The variable that begins at `start`, and the position after it."""
    if depth > _MAX_DEPTH:
        raise _error(f"variables are nested more than {_MAX_DEPTH} deep", "simplify the defaults")
    head = _HEAD.match(text, start)
    if head is None:
        raise _error(
            "invalid variable after ${",
            "write ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?text}, ${NAME?text}, or $${ for a literal ${",
        )
    argument, end = _parts(text, head.end(), depth=depth)
    return _Variable(head[1], head[2], argument, message=text[head.end() : end]), end + 1


def _error(what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, todo=todo)])
