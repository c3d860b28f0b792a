"""Rows from the status of `lessee monitor`: who read which secret, and which alerts are firing."""

from collections.abc import Iterator

import msgspec

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.audit.policy.rows import Row, Section


class _Access(ImmutableStruct, frozen=True):
    path: str
    component: str | None = None
    address: str | None = None
    total: int = 0
    last_at: str | None = None


class _Accesses(ImmutableStruct, frozen=True):
    by_path: tuple[_Access, ...] = ()


class _Alert(ImmutableStruct, frozen=True):
    rule: str
    subject: str = ""
    started_at: str | None = None
    text: str = ""


class _Status(ImmutableStruct, frozen=True):
    accesses: _Accesses  # The status of another program has no such field.
    environment: str | None = None
    alerts: tuple[_Alert, ...] = ()


def rows_of_status(text: bytes, source: str) -> Iterator[Row]:
    """The rows of a monitor's status.json. Raises UsageError if the text is anything else."""
    try:
        status = msgspec.json.decode(text, type=_Status)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        todo = "pass the status.json of `lessee monitor`"
        raise UsageError("the file is not the status of a monitor", where=source, todo=todo) from None
    environment = status.environment or ""
    for index, access in enumerate(status.accesses.by_path):
        actor = f"{access.component or '?'} from {access.address or '?'}"
        origin = f"{source}: accesses.by_path[{index}]"
        yield Row(Section.READS, environment, actor, access.path, f"{access.total} times", access.last_at or "", origin)
    for index, alert in enumerate(status.alerts):
        origin, item = f"{source}: alerts[{index}]", f"alert {alert.rule}"
        yield Row(Section.EXCEPTIONS, environment, alert.subject, item, alert.text, alert.started_at or "", origin)
