"""Gives the administrator of a database a secret of its own, so that each login can be rotated by itself."""

from collections.abc import Iterable

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import Part, Rendered, StoredField

ROOT, SUFFIX = "root_password", "-root"
"""The field of an administrator's password in the secret of another user, and the end of its own path."""


def with_root_logins(
    stored: Iterable[StoredField], rendered: Iterable[Rendered]
) -> tuple[tuple[StoredField, ...], tuple[Rendered, ...]]:
    """The same fields and values, with `PATH-root#password` in the place of `PATH#root_password`."""
    fields = tuple(
        replace(field, path=f"{field.path}{SUFFIX}", field="password") if field.field == ROOT else field
        for field in stored
    )
    return fields, tuple(replace(item, parts=tuple(map(_moved, item.parts))) for item in rendered)


def _moved(part: Part) -> Part:
    return replace(part, path=f"{part.path}{SUFFIX}", field="password") if part.field == ROOT else part
