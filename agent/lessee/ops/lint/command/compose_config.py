"""Holds changed Compose files against `docker compose config`, where it is installed."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.host.directories import translate_write_errors
from lessee.host.limited_command import run_limited
from lessee.ops.lint.policy.fixes.model import Change, Merge

_PATIENCE = 60
_MOST_MEMORY = 1 << 32
_DEPTH = 3
"""A service's key, or a volume's: what one change may change."""


def verify(paths: Sequence[str], texts: Mapping[str, str], changes: Iterable[Change]) -> bool:
    """Whether Compose accepts the new texts, and reads nothing else differently; False if it cannot say.

    The model that it prints contains values, and stays in memory. Raises WriteError if it refuses the new texts.
    """
    edited = [path for path in paths if path in texts]
    if not edited or shutil.which("docker") is None or (before := _config(paths)) is None:
        return False
    copies: dict[str, str] = {}
    try:
        for path in edited:
            copies[path] = _copy(path, texts[path])
        after = _config([copies.get(path, path) for path in paths], Path(paths[0]))
    finally:
        for copy in copies.values():
            Path(copy).unlink(missing_ok=True)
    if after is None:
        what = "`docker compose config` does not accept the changed files"
        raise WriteError(what, where=paths[0], todo="nothing was written; report this as a bug of lessee")
    allowed = {place for change in changes for place in _places(change)}
    for place in _differences(before, after, ()):
        if place[0] != "networks" and not any(_overlap(place, other) for other in allowed):
            what = f"the changed files would change {'.'.join(place)} too"
            raise WriteError(what, where=paths[0], todo="nothing was written; report this as a bug of lessee")
    return True


def _config(paths: Iterable[str], first: Path | None = None) -> "Mapping[str, object] | None":
    """The whole model; None if Compose cannot read it here."""
    files = [word for path in paths for word in ("--file", path)]
    folder = ["--project-directory", str((first or Path(files[1])).absolute().parent)]
    command = ["docker", "compose", *folder, *files, "--profile", "*", "config", "--format", "json"]
    try:
        done = run_limited(command, os.environ, timeout=_PATIENCE, memory=_MOST_MEMORY)
        model: Mapping[str, object] = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, ValueError, RecursionError):
        return None
    return model if done.returncode == 0 else None


def _copy(path: str, text: str) -> str:
    """A copy in the same directory, which paths in the file are relative to."""
    real = Path(path).resolve()
    with translate_write_errors(Path(path)):
        fd, name = tempfile.mkstemp(prefix=f".{real.stem}.", suffix=".yaml", dir=real.parent)
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
    return name


def _places(change: Change) -> "Iterable[tuple[str, ...]]":
    """What a change may change: the keys of services, or whole parts that it adds."""
    match change:
        case Merge(document=document, path=()):
            for part, names in document.items():
                for name, value in names.items() if isinstance(names, Mapping) else ():
                    if part == "services" and isinstance(value, Mapping):
                        yield from ((part, name, key) for key in value)
                        # A new service has networks; to share a namespace is to depend on its holder.
                        yield from ((part, name, key) for key in ("networks", "depends_on"))
                    else:
                        yield (part, name)
        case _:
            path = tuple(map(str, getattr(change, "path", ())))
            yield path[:_DEPTH]


def _overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether one of the places is in the other."""
    return all(a == b for a, b in zip(first, second, strict=False))


def _differences(before: object, after: object, at: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping) and len(at) < _DEPTH:
        for key in before.keys() | after.keys():
            yield from _differences(before.get(key), after.get(key), (*at, key))
    else:
        yield at
