"""What `lessee monitor` has counted: who has read what, and what it raised an alarm for."""

from collections.abc import Iterator

import msgspec

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.audit.policy.rows import Row, Section


class _Read(ImmutableStruct, frozen=True):
    path: str
    component: str | None = None
    address: str | None = None
    total: int = 0
    last_at: str | None = None


class _Reads(ImmutableStruct, frozen=True):
    by_path: tuple[_Read, ...] = ()


class _Alert(ImmutableStruct, frozen=True):
    rule: str
    subject: str = ""
    started_at: str | None = None
    text: str = ""


class _Status(ImmutableStruct, frozen=True):
    accesses: _Reads  # Without it, it is another program's.
    environment: str | None = None
    alerts: tuple[_Alert, ...] = ()


def reads_of(text: bytes, source: str) -> Iterator[Row]:
    """The lines of its status.json. Raises UsageError where it is none."""
    try:
        status = msgspec.json.decode(text, type=_Status)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        todo = "give the status.json of `lessee monitor`"
        raise UsageError("it is no status of the monitor", where=source, todo=todo) from None
    of = status.environment or ""
    for at, one in enumerate(status.accesses.by_path):
        who = f"{one.component or '?'} from {one.address or '?'}"
        place = f"{source}: accesses.by_path[{at}]"
        yield Row(Section.READS, of, who, one.path, f"{one.total} times", one.last_at or "", place)
    for at, alert in enumerate(status.alerts):
        place = f"{source}: alerts[{at}]"
        what = f"alert {alert.rule}"
        yield Row(Section.EXCEPTIONS, of, alert.subject, what, alert.text, alert.started_at or "", place)
