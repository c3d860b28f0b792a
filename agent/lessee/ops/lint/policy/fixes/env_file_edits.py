"""Removes variables from env files, and keeps every other line."""

import re

from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=:#]+)[ \t]*[=:][ \t]*(['\"]?)")


def without_variable(text: str, name: str) -> str:
    """The text without the lines that set a variable. Raises NotEditableError."""
    kept, rest = [], text
    while rest:
        line, rest = _first_line(rest)
        found = _LINE.match(line)
        whole = line
        if found is not None and found[2]:  # A quoted value may have several lines.
            while not _is_closed(whole[found.end() :], found[2]):
                if not rest:
                    raise NotEditableError("a quote is not closed")
                line, rest = _first_line(rest)
                whole += line
        if found is None or found[1] != name:
            kept.append(whole)
    return "".join(kept)


def _first_line(text: str) -> tuple[str, str]:
    end = text.find("\n") + 1 or len(text)
    return text[:end], text[end:]


def _is_closed(value: str, quote: str) -> bool:
    escaped = r"(?:[^\\\"]|\\.)*\"" if quote == '"' else r"[^']*'"
    return re.match(escaped, value, re.DOTALL) is not None
