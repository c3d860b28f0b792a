"""What GitHub's runner reads of a step: commands in its output, and lines in files that the runner names.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from lessee.core.errors import UsageError
from lessee.core.redaction import SHORTEST, forms, texts

_NO_SECRETS = {"false", "False", "FALSE", "localhost", "127.0.0.1"}
"""Hidden, they would take half the log along."""
_RUNNERS_OWN = ("GITHUB_", "RUNNER_", "ACTIONS_")


def command(name: str, text: str, properties: Mapping[str, str] = {}) -> str:
    """One command, which is one line."""
    said = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{' ' if said else ''}{said}::{_data(text)}"


def masks(values: Iterable[object]) -> tuple[tuple[str, ...], int]:
    """The texts that a log is not to show, so that none of these values is to be read in it; each is one line.

    And how many values are not among them, being shorter than SHORTEST. The runner hides a text wherever it stands,
    and of a text of several lines each line, so that a value of JSON would have it hide every `{`: it gets each line
    by itself, where that is long enough. What is JSON or base64 is told by its parts too, since templates take those
    out of it.
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
    for word in _NO_SECRETS:
        found.pop(word, None)
    return tuple(found), short


def assignment(name: str, value: str, mark: str) -> str:
    """The lines of $GITHUB_ENV that set a variable; `mark` is a word that nobody can foresee. Raises UsageError."""
    if name.startswith(_RUNNERS_OWN) or name in {"CI", "NODE_OPTIONS"}:
        todo = "give it another name in the template of `environ`"
        raise UsageError("the runner takes this variable from nobody", where=name, todo=todo)
    assert mark not in value
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def _texts(value: object) -> Iterable[str]:
    for text in texts(value):
        yield text
        yield from _inner(text)


def _inner(text: str) -> Iterable[str]:
    with suppress(ValueError, RecursionError):
        held = json.loads(text)
        if isinstance(held, dict | list):
            yield from _texts(held)
    with suppress(binascii.Error, ValueError):
        plain = base64.b64decode("".join(text.split()), validate=True).decode()
        if all(char.isprintable() or char.isspace() for char in plain):
            yield plain


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
