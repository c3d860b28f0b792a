"""Runs `lessee emergency` as a response: a program of its own, with a record of its own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lessee.core.errors import LesseeError
from lessee.ops.monitor.wiring import ActiveConfig

_TIMEOUT = 3600.0


def run_emergency(
    active: ActiveConfig, protected: Sequence[str], path: str, response_id: str, environ: Mapping[str, str]
) -> str:
    """End all access to a path but that of the protected. Returns the record's name. Raises LesseeError."""
    config = active.config
    record = Path(active.monitor.state_dir) / f"emergency-{response_id}.json"
    command = [
        sys.executable, "-m", "lessee", "emergency", "--config", str(active.path), "--yes", "--record", str(record),
        "--environment", config.environment or "", "--path", path,
    ]  # fmt: skip
    for pattern in protected:
        command += ["--protect", pattern]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=dict(environ), timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise LesseeError(f"the emergency did not end: {type(exc).__name__}", where=str(record)) from None
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise LesseeError(f"not complete: {_not_done(record) or last}", where=str(record))
    return f"record: {record}"


def _not_done(record: Path) -> str:
    """What the record names as not done, or an empty text."""
    try:
        last = msgspec.json.decode(record.read_bytes().splitlines()[-1], type=_Finished)
    except (OSError, IndexError, msgspec.MsgspecError):
        return ""
    return ", ".join(last.not_done)


class _Finished(msgspec.Struct):
    """The last line of a record."""

    not_done: tuple[str, ...]
