"""Refuses to act on an audit log into which another user could have written."""

import os
import stat
from pathlib import Path

from lessee.core.errors import LesseeError
from lessee.host.ownership import foreign_writer
from lessee.ops.monitor.wiring import ActiveConfig

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def refuse_forgeable_logs(active: ActiveConfig) -> None:
    """Raise LesseeError if a user other than root, the monitor's and the log's owner may write a log, or replace it.

    A forged line would name the token of an innocent client.
    """
    for name in active.logs:
        path = Path(active.log_location(name))
        try:
            status = path.stat()
            directory = os.open(path.resolve().parent, _DIRECTORY)
        except OSError as exc:
            raise LesseeError(f"the audit log cannot be checked: {exc.strerror}", where=str(path)) from None
        try:
            found = foreign_writer(directory, own=False, entry=status)
        finally:
            os.close(directory)
        if status.st_mode & _OTHERS:
            todo = "set the audit device's `mode`, such as 0640, and chmod the file"
            raise LesseeError("other users may write the audit log, and forge lines", where=str(path), todo=todo)
        if found is not None:
            raise LesseeError(f"another user could replace it: {found.what}", where=str(path), todo=found.todo)
