"""The sources of a secret's initial values."""

import json
from math import isfinite
from typing import assert_never

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ENVIRONMENT = "{environment}"


class Generate(ImmutableStruct, frozen=True):
    """Random characters from an alphabet."""

    count: int
    alphabet: str


class Constant(ImmutableStruct, frozen=True):
    """The value in the configuration."""

    hidden = ("value",)

    value: str


class FromVariable(ImmutableStruct, frozen=True):
    """The value of an environment variable of the operator."""

    name: str


class FromFile(ImmutableStruct, frozen=True):
    """The content of a file, without a final newline."""

    path: str


class Prompt(ImmutableStruct, frozen=True):
    """A value that the operator types."""


TextSource = Generate | Constant | FromVariable | FromFile | Prompt


class Json(ImmutableStruct, frozen=True):
    """The JSON text that another source has."""

    source: TextSource


Source = TextSource | Json


def source_of(spec: NewValue | GivenValue, environment: str) -> Source:
    """The configured source for one environment."""
    source = _text_source_of(spec, environment)
    return Json(source) if isinstance(spec, NewValue) and spec.json else source


def _text_source_of(spec: NewValue | GivenValue, environment: str) -> TextSource:
    if isinstance(spec, NewValue) and spec.generate is not None:
        return Generate(spec.generate, spec.charset or ALPHABET)
    if isinstance(spec, NewValue) and spec.value is not None:
        return Constant(spec.value)
    if spec.env is not None:
        return FromVariable(spec.env.replace(_ENVIRONMENT, environment))
    if spec.file is not None:
        return FromFile(spec.file.replace(_ENVIRONMENT, environment))
    return Prompt()


def describe(source: Source) -> str:
    """The source in words, without the value."""
    match source:
        case Generate(count):
            return f"generated, {count} character{'s' * (count != 1)}"
        case Constant():
            return "from the configuration"
        case FromVariable(name):
            return f"from ${name}"
        case FromFile(path):
            return f"from {path}"
        case Prompt():
            return "typed at a prompt"
        case Json(text):
            return f"{describe(text)}, JSON"
        case _:
            assert_never(source)


def parsed(text: str, *, where: str) -> object:
    """The value of a JSON text: a number, boolean, list or object. Raises UsageError, which does not show the text."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_exact, parse_float=_finite)
    except RecursionError:
        raise UsageError("the JSON is nested too deeply", where=where) from None
    except OverflowError:
        raise UsageError(
            "the number is larger than Vault stores exactly", where=where, todo="write it as text, not as JSON"
        ) from None
    except ValueError as exc:
        place = f", line {exc.lineno} column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else ""
        raise UsageError(f"the value is not JSON{place}", where=where, todo="correct it, or write it as text") from None
    if value is None:
        raise UsageError("the value is null, which no format can write", where=where, todo="write another value")
    return value


def _exact(text: str) -> int:
    """Vault stores a number as a double, which has each integer only up to 2**53."""
    if abs(number := int(text)) > 2**53:
        raise OverflowError
    return number


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise OverflowError
    return number


def _refuse_constant(name: str) -> object:
    raise ValueError(name)
