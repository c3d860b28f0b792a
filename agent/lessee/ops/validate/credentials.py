"""The credentials of a system, out of Vault, as its check wants them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from lessee.core.errors import LesseeError, RefusedError
from lessee.host import optional_dependencies
from lessee.ops.validate.checks import NotLookedError
from lessee.ops.validate.context import Subject

_T = TypeVar("_T")


def credentials(
    subject: Subject, path: str, login: Callable[[str, Mapping[str, object]], _T], *, configured: bool
) -> _T:
    """What `login` makes of the secret. Where it is not `configured`, nothing need be there.

    Raises NotLookedError where there is nothing to look at, and LesseeError where what must be there is not, or no use.
    """
    where = str(subject.space.secret(path))
    try:
        fields = subject.secret(path)
    except RefusedError as exc:
        if configured:
            raise
        raise NotLookedError(f"not configured, and {where} may not be read: {exc.what}") from None
    if fields is None:
        if not configured:
            raise NotLookedError(f"not configured: there is no secret at {where}")
        raise LesseeError("there is no such secret", where=where, todo="write it, or name another in `validate:`")
    return login(where, fields)


library = partial(optional_dependencies.library, extra="validate")
"""A client of the extra `validate`. Raises LesseeError where it is not installed."""
