"""The credentials of a system, out of Vault, as its check wants them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from lessee.core.errors import LesseeError, Refused
from lessee.validation.checks import NotLooked
from lessee.validation.subject import Subject

_T = TypeVar("_T")


def credentials(
    subject: Subject, path: str, login: Callable[[str, Mapping[str, object]], _T], *, configured: bool
) -> _T:
    """What `login` makes of the secret. Where it is not `configured`, nothing need be there.

    Raises NotLooked where there is nothing to look at, and LesseeError where what must be there is not, or no use.
    """
    where = str(subject.space.secret(path))
    try:
        fields = subject.secret(path)
    except Refused as exc:
        if configured:
            raise
        raise NotLooked(f"not configured, and {where} may not be read: {exc.what}") from None
    if fields is None:
        if not configured:
            raise NotLooked(f"not configured: there is no secret at {where}")
        raise LesseeError("there is no such secret", where=where, todo="write it, or name another in `validate:`")
    return login(where, fields)


def library(name: str) -> ModuleType:
    """A client that only this command needs. Raises LesseeError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        todo = "install it: pip install 'lessee[validate]'"
        raise LesseeError(f"the library {name.partition('.')[0]} is missing", todo=todo) from None
