"""Writes data as YAML in the style of the examples: short collections on one line."""

import json
import re
from collections.abc import Iterator, Mapping

from lessee.ops.lint.policy.fixes.model import Data, Verbatim, is_list

_WIDTH = 110
_WORDS = frozenset("y n yes no true false on off null ~".split())  # noqa: SIM905
_PLAIN = re.compile(r"-{0,2}[A-Za-z_/.][\w/.@+=-]*(?:[:%][\w/.@+=-]+)*|[0-9]+(?:s|m|h)", re.ASCII)


def block(document: Mapping[str, Data], indent: str = "") -> str:
    """The lines of a mapping in block style, without the last newline."""
    return "\n".join(_lines(document, indent))


def flow(value: Data) -> str:
    """A value on one line."""
    match value:
        case Verbatim(text):
            return text
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return scalar(value)
        case Mapping():
            return f"{{{', '.join(f'{scalar(key)}: {flow(item)}' for key, item in value.items())}}}"
        case _:
            return f"[{', '.join(map(flow, value))}]"


def scalar(text: str) -> str:
    """A string, in double quotes where a plain one could be something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)


def _lines(document: Mapping[str, Data], indent: str) -> Iterator[str]:
    for key, value in document.items():
        line = f"{indent}{scalar(key)}:"
        if value is None:
            yield line
        elif isinstance(value, Mapping) and (_holds_more(value) or len(line) + len(flow(value)) > _WIDTH):
            yield line
            yield from _lines(value, f"{indent}  ")
        elif is_list(value) and len(line) + len(flow(value)) > _WIDTH:
            yield line
            yield from (f"{indent}  - {flow(item)}" for item in value)
        else:
            yield f"{line} {flow(value)}"


def _holds_more(value: Mapping[str, Data]) -> bool:
    """Whether it is a block for readers: one that contains collections."""
    return any(isinstance(item, Mapping) or is_list(item) for item in value.values())
