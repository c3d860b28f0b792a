"""Workflow commands of GitHub Actions: lines in a step's output, and in the files that the runner names.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from lessee.core.errors import UsageError
from lessee.core.redaction import SHORTEST, forms, texts

_NEVER_MASKED = {"false", "False", "FALSE", "localhost", "127.0.0.1"}
"""Masking them would hide half the log."""
_RESERVED_PREFIXES = ("GITHUB_", "RUNNER_", "ACTIONS_")


def command(name: str, text: str, properties: Mapping[str, str] = {}) -> str:
    """A workflow command; it is always one line."""
    pairs = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{' ' if pairs else ''}{pairs}::{_data(text)}"


def masks(values: Iterable[object]) -> tuple[tuple[str, ...], int]:
    """The one-line texts that the runner must mask to hide these values, and how many values are too short to mask.

    The runner masks a text wherever it occurs, and each line of a multi-line text: a JSON value would make it mask
    every `{`. So each line is masked on its own, if it is at least SHORTEST long. The parts of JSON and base64 values
    are masked too, because templates extract them.
    """
    found: dict[str, None] = {}
    short = 0
    for text in (text for value in values for text in _texts(value)):
        lines = [line.strip() for line in text.splitlines()]
        short += len(lines) == 1 and 0 < len(lines[0]) < SHORTEST
        for line in lines:
            if len(lines) == 1 or len(set(line)) > 1:
                found.update(dict.fromkeys(forms(line)))
        found.update(dict.fromkeys(form for form in forms(text) if "\n" not in form and "\r" not in form))
    for word in _NEVER_MASKED:
        found.pop(word, None)
    return tuple(found), short


def assignment(name: str, value: str, mark: str) -> str:
    """The lines of $GITHUB_ENV that set a variable; `mark` is an unpredictable delimiter. Raises UsageError."""
    if name.startswith(_RESERVED_PREFIXES) or name in {"CI", "NODE_OPTIONS"}:
        todo = "rename it in the template of `env_template`"
        raise UsageError("the runner does not let a step set this variable", where=name, todo=todo)
    assert mark not in value
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def _texts(value: object) -> Iterable[str]:
    for text in texts(value):
        yield text
        yield from _inner(text)


def _inner(text: str) -> Iterable[str]:
    with suppress(ValueError, RecursionError):
        decoded = json.loads(text)
        if isinstance(decoded, dict | list):
            yield from _texts(decoded)
    with suppress(binascii.Error, ValueError):
        plain = base64.b64decode("".join(text.split()), validate=True).decode()
        if all(char.isprintable() or char.isspace() for char in plain):
            yield plain


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
