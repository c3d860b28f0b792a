"""Gets the initial values of secrets: generated, or from variables, files and the terminal."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.sensitive.weakness import Weakness, weakness
from lessee.ops.setup.policy.initial_values import (
    Constant,
    FromFile,
    FromVariable,
    Generate,
    Json,
    Prompt,
    Source,
    TextSource,
    parsed,
)
from lessee.ops.setup.policy.plan import Action, Add, Change, Fill

Ask = Callable[[str], str]
"""Asks for a value at the terminal, with this text. Raises LesseeError without a terminal."""
Values = Mapping[tuple[str, str], object]
"""Values by the name of the object or secret, and the key."""


def fetch(steps: Iterable[Action], environ: Mapping[str, str], folder: Path, ask: Ask) -> Values:
    """The values that these steps write. Raises ConfigError with all missing values, before anything is written.

    Relative file paths start in `folder`.
    """
    values: dict[tuple[str, str], object] = {}
    problems: list[LesseeError] = []
    for name, key, source in _wanted(steps):
        where = f"{name}: {key}"
        try:
            text = _value(source.source if isinstance(source, Json) else source, where, environ, folder, ask)
            text.encode()
            values[name, key] = parsed(text, where=where) if isinstance(source, Json) else text
        except LesseeError as exc:
            problems.append(exc)
        except UnicodeEncodeError:
            problems.append(LesseeError("the value is not UTF-8 text", where=where))
    if problems:
        raise ConfigError(problems)
    return values


def weak_values(values: Values) -> Iterator[tuple[str, Weakness]]:
    """The values that are placeholders or easy to guess, by name and key. A short one may be the right one."""
    for (name, key), value in values.items():
        found = weakness(key, value) if isinstance(value, str) else None
        if found is not None and found is not Weakness.SHORT:
            yield f"{name}: {key}", found


def _wanted(steps: Iterable[Action]) -> Iterator[tuple[str, str, Source]]:
    for step in steps:
        match step:
            case Fill():
                yield from ((step.secret.name, key, source) for key, source in step.missing.items())
            case Add(target) if target.password is not None:
                yield target.name, "password", target.password
            case Change(target) if step.password and target.password is not None:
                yield target.name, "password", target.password
            case _:
                pass


def _value(source: TextSource, where: str, environ: Mapping[str, str], folder: Path, ask: Ask) -> str:
    match source:
        case Generate(count, alphabet):
            return "".join(secrets.choice(alphabet) for _ in range(count))
        case Constant(value):
            return value
        case FromVariable(name):
            if not environ.get(name):
                raise LesseeError(f"${name} is not set or empty", where=where, todo="set it for this command")
            return environ[name]
        case FromFile(path):
            return _content(folder / path, where)
        case Prompt():
            return ask(where)


def _content(path: Path, where: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise LesseeError(f"{path} cannot be read: {exc.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise LesseeError(f"{path} is not UTF-8 text", where=where) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise LesseeError(f"{path} is empty", where=where)
    return text
