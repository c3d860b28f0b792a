"""Writes what the last drill measured, as node_exporter's textfile collector reads it."""

from pathlib import Path

from lessee.config import Config
from lessee.host.clock import wall_time
from lessee.ops.backup.metrics import read_metrics, write_metrics
from lessee.ops.drill.policy.report import MEANINGS
from lessee.ops.drill.policy.results import Result

_LAST = "lessee_drill_last_timestamp_seconds"
_FAILED = "lessee_drill_last_failed"
_PERIOD = "lessee_drill_period_seconds"
_TEXTS = {
    _LAST: "Time of the last drill that played all its scenes.",
    _FAILED: "Whether the last drill failed: an objective was missed, or it did not end.",
    _PERIOD: "How often there is a drill at least.",
    **{f"lessee_drill_{name}_seconds": f"In the last drill: {meaning}." for name, meaning in MEANINGS.items()},
}


def record(config: Config, result: Result | None, period: float) -> None:
    """Record a drill; None: it did not end. Raises WriteError."""
    directory = config.drill.metrics_directory
    if directory is None and config.backup is not None:
        directory = config.backup.metrics_directory
    if directory is None:
        return
    environment = config.environment or ""
    path = Path(directory) / f"lessee_drill{f'_{environment}' if environment else ''}.prom"
    values = {name: value for name, value in read_metrics(path).items() if name in _TEXTS}
    values[_PERIOD], values[_FAILED] = period, 1.0
    if result is not None:
        values[_LAST] = wall_time()
        values[_FAILED] = float(bool(result.missed or result.problems))
        longest: dict[str, float] = {}
        for one in result.measures:
            longest[one.name] = max(one.seconds, longest.get(one.name, 0.0))
        values |= {f"lessee_drill_{name}_seconds": seconds for name, seconds in longest.items()}
    write_metrics(path, {name: (_TEXTS[name], value) for name, value in values.items()}, environment)
