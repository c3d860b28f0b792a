"""Builds the monitor's status.json, from which its metrics and its page are made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee import __version__
from lessee.core.status_format import FORMAT
from lessee.ops.monitor.checkpoint import SourceProgress
from lessee.ops.monitor.log_files import files_of
from lessee.ops.monitor.policy.cursor import unread_bytes
from lessee.ops.monitor.policy.fleet import without_duplicates
from lessee.ops.monitor.policy.timestamps import rfc3339
from lessee.ops.monitor.wiring import ActiveConfig


def build_status(
    active: ActiveConfig,
    progress: Mapping[str, SourceProgress],
    errors: Mapping[str, str | None],
    sink_statuses: Sequence[Mapping[str, Any]],
    problems: Sequence[str],
) -> Mapping[str, Any]:
    """`errors` has an entry for each source that has reported its state, None if it can read."""
    merged: dict[str, Any] = {}
    all_problems = [*problems, *(f"{name}: {error}" for name, error in errors.items() if error is not None)]
    for status in sink_statuses:
        for key, value in status.items():
            if key == "problems":
                all_problems += value
            else:
                merged[key] = {**merged[key], **value} if isinstance(merged.get(key), Mapping) else value
    sources = [_source(active, name, one, errors.get(name)) for name, one in progress.items()]
    return {
        "version": __version__,
        "format": FORMAT,
        "environment": active.config.environment,
        "ready": active.logs.keys() <= errors.keys() and not any(errors.values()),
        "fresh": not all_problems and not any(source["lag_bytes"] for source in sources),
        "problems": all_problems,
        "sources": sources,
        **merged,
        "fleet": without_duplicates(merged.get("fleet", {})),
    }


def _source(active: ActiveConfig, name: str, progress: SourceProgress, error: str | None) -> Mapping[str, Any]:
    log = active.logs[name]
    lag = 0
    if log.file is not None and progress.position is not None:
        lag = unread_bytes(progress.position, files_of(Path(progress.location)))
    return {
        "name": name,
        "kind": "file" if log.file is not None else "socket" if log.socket is not None else "stdin",
        "log": progress.location,
        "lines": progress.lines,
        "accesses": progress.accesses,
        "invalid_lines": progress.invalid_lines,
        "gaps": progress.gaps,
        "lag_bytes": lag,
        "last_at": rfc3339(progress.last_at),
        "since": rfc3339(progress.since),
        "error": error,
    }
