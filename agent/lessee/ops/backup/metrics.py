"""Writes when backups were saved and verified, as node_exporter's textfile collector reads it.

Commands that run for a moment, and from a timer, have no address that Prometheus could scrape; the collector is made
for them (https://github.com/prometheus/node_exporter#textfile-collector).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from lessee.config import Config
from lessee.core.errors import LesseeError, WriteError
from lessee.host.clock import wall_time
from lessee.ops.backup.policy.archive_format import Manifest

_LARGEST = 1 << 16
_MODE = 0o644
"""The collector is another user; the file has times alone."""
_SAVE = {
    "lessee_backup_last_save_timestamp_seconds": "Time of the last backup that every store has.",
    "lessee_backup_last_save_failed": "Whether the last attempt failed, in one store or as a whole.",
}
_VERIFICATION = {
    "lessee_backup_last_verification_timestamp_seconds": (
        "Time when the latest archive was last restored into a private server, and equal."
    ),
    "lessee_backup_verified_archive_timestamp_seconds": "When the archive that was verified last was saved.",
    "lessee_backup_last_verification_failed": "Whether the last attempt failed, or found differences.",
}


class Attempt:
    """A save or a verification that is under way; it fails unless it says that it succeeded."""

    succeeded = False
    archive: Manifest | None = None
    """The verified archive."""


@contextmanager
def save_metrics(config: Config) -> Iterator[Attempt]:
    """Record a save, unless it is interrupted. Raises WriteError if the metrics cannot be written."""
    with _recorded(config, "save", _SAVE) as attempt:
        yield attempt


@contextmanager
def verification_metrics(config: Config) -> Iterator[Attempt]:
    """Record a verification of the latest archive, as `save_metrics` does."""
    with _recorded(config, "verification", _VERIFICATION) as attempt:
        yield attempt


@contextmanager
def _recorded(config: Config, kind: str, texts: dict[str, str]) -> Iterator[Attempt]:
    attempt = Attempt()
    directory = config.backup.metrics_directory if config.backup is not None else None
    try:
        yield attempt
    except LesseeError:
        if directory is not None:
            with suppress(WriteError):  # The error of the backup itself is the one to report.
                _write(Path(directory), kind, config.environment or "", texts, attempt)
        raise
    if directory is not None:
        _write(Path(directory), kind, config.environment or "", texts, attempt)


def _write(directory: Path, kind: str, environment: str, texts: dict[str, str], attempt: Attempt) -> None:
    path = directory / f"lessee_backup_{kind}{f'_{environment}' if environment else ''}.prom"
    values = read_metrics(path)
    if attempt.succeeded:
        values[f"lessee_backup_last_{kind}_timestamp_seconds"] = wall_time()
        if attempt.archive is not None:
            saved = datetime.fromisoformat(attempt.archive.created).timestamp()
            values["lessee_backup_verified_archive_timestamp_seconds"] = saved
    values[f"lessee_backup_last_{kind}_failed"] = float(not attempt.succeeded)
    write_metrics(path, {name: (text, values[name]) for name, text in texts.items() if name in values}, environment)


def write_metrics(path: Path, values: Mapping[str, tuple[str, float]], environment: str) -> None:
    """Replace a file of the collector: each metric's help text and value, by name. Raises WriteError."""
    content, directory = _exposition(values, environment), path.parent
    part = directory / f".{path.name}.{os.getpid()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, _MODE), "wb") as out:  # noqa: PTH123  # `os.open` gave a descriptor.
            os.fchmod(out.fileno(), _MODE)  # Whatever the umask is.
            out.write(content)
        part.replace(path)
    except OSError as exc:
        todo = "create it as node_exporter's --collector.textfile.directory, writable for this user"
        raise WriteError(f"cannot write the metrics: {exc.strerror}", where=str(directory), todo=todo) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _exposition(values: Mapping[str, tuple[str, float]], environment: str) -> bytes:
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415  # Only with metrics.

    registry = CollectorRegistry(auto_describe=False)
    for name, (text, value) in values.items():
        gauge: Any = Gauge(name, text, ["environment"], registry=registry)
        gauge.labels(environment).set(value)
    return generate_latest(registry)


def read_metrics(path: Path) -> dict[str, float]:
    """The values of the last attempt; none if the file is missing or not ours."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415  # As above.

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST)
        return {
            sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
        }
    except (OSError, ValueError):  # UnicodeDecodeError is one.
        return {}
