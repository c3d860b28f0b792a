"""What the monitor tells of itself: status.json, from which its metrics and its page come too."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lessee import __version__
from lessee.ops.monitor.checkpoint import Standing
from lessee.ops.monitor.log_files import files_of
from lessee.ops.monitor.policy.cursor import behind
from lessee.ops.monitor.service import Project


def status(
    project: Project,
    standings: Mapping[str, Standing],
    errors: Mapping[str, str | None],
    told: Sequence[Mapping[str, Any]],
    problems: Sequence[str],
) -> Mapping[str, Any]:
    """`errors`: of the sources that have said how they stand. `told`: by the sinks."""
    merged: dict[str, Any] = {}
    everything = [*problems, *(f"{name}: {error}" for name, error in errors.items() if error is not None)]
    for one in told:
        for key, value in one.items():
            if key == "problems":
                everything += value
            else:
                merged[key] = {**merged[key], **value} if isinstance(merged.get(key), Mapping) else value
    sources = [_source(project, name, one, errors.get(name)) for name, one in standings.items()]
    return {
        "version": __version__,
        "environment": project.config.environment,
        "ready": project.logs.keys() <= errors.keys() and not any(errors.values()),
        "fresh": not everything and not any(one["behind_bytes"] for one in sources),
        "problems": everything,
        "sources": sources,
        **merged,
    }


def _source(project: Project, name: str, standing: Standing, error: str | None) -> Mapping[str, Any]:
    said = project.logs[name]
    rest = 0
    if said.file is not None and standing.place is not None:
        rest = behind(standing.place, files_of(Path(standing.log)))
    return {
        "name": name,
        "kind": "file" if said.file is not None else "socket" if said.socket is not None else "stdin",
        "log": standing.log,
        "lines": standing.lines,
        "accesses": standing.accesses,
        "rubbish": standing.rubbish,
        "gaps": standing.gaps,
        "behind_bytes": rest,
        "last_at": _spelled(standing.last_at),
        "error": error,
    }


def _spelled(moment: float) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds") if moment else None
