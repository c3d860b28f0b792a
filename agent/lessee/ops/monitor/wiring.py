"""Builds the monitor's sources and sinks from the configuration."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.config import Config
from lessee.config.grammar.monitor import AuditSource, Monitor
from lessee.config.monitor import audit_sources
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.project import read
from lessee.ops.monitor.alert_sink import AlertSink, check_timezones
from lessee.ops.monitor.checkpoint import SourceProgress
from lessee.ops.monitor.counters import AccessCounter
from lessee.ops.monitor.read_latency import ReadLatency
from lessee.ops.monitor.reporters import ReporterSink
from lessee.ops.monitor.sink import Sink
from lessee.ops.monitor.socket_source import SocketSource
from lessee.ops.monitor.sources import FileSource, Post, Source, StdinSource

STDIN = "stdin"


class ActiveConfig(ImmutableStruct, frozen=True):
    """The configuration that the monitor runs with."""

    path: Path
    config: Config
    monitor: Monitor
    logs: Mapping[str, AuditSource]
    """The audit logs by name."""

    def log_location(self, name: str) -> str:
        """The file, the address to listen on, or stdin."""
        log = self.logs[name]
        return str(self.path.parent / log.file) if log.file is not None else log.socket or STDIN


def load(path: Path, environ: Mapping[str, str]) -> ActiveConfig:
    """Read the configuration. Needs no login, and sends nothing to Vault. Raises ConfigError."""
    config = read(path, environ, blocks=("monitor",))
    if config.monitor is None:
        what, todo = "no audit log configured", "add `monitor:`, or name another configuration with --config"
        raise ConfigError([LesseeError(what, where=str(path), todo=todo)])
    check_timezones(config.monitor)
    return ActiveConfig(path, config, config.monitor, audit_sources(config.monitor))


LogStatus = Callable[[], Sequence[Mapping[str, Any]]]
"""The current `name`, `error` and `last_at` of each log. `error` tells why the log is not readable."""


def build_sinks(active: ActiveConfig, log_status: LogStatus) -> list[Sink]:
    """The sinks, in the order in which they get each entry."""
    config, environment = active.monitor, active.config.environment
    return [
        AccessCounter(),
        ReadLatency(),
        ReporterSink(),
        *_change_publisher(active, log_status),  # Before the alerts, because agents wait for changes.
        AlertSink(
            config,
            environment=environment,
            folder=Path(config.state_dir),
            base=active.path.parent,
            sources=log_status,
        ),
    ]


def _change_publisher(active: ActiveConfig, log_status: LogStatus) -> Iterator[Sink]:
    config = active.monitor
    if urls := config.publish:
        # Imported only if the configuration publishes changes.
        from lessee.ops.monitor.change_publisher import ChangePublisher  # noqa: PLC0415

        destinations = (urls,) if isinstance(urls, str) else urls

        def logs_readable() -> bool:
            return all(not log["error"] for log in log_status())

        yield ChangePublisher(destinations, active.config.setup.environments, logs_readable, config.heartbeat_interval)


def build_source(active: ActiveConfig, name: str, progress: SourceProgress, post: Post, *, once: bool) -> Source:
    """The source of a log, which continues from `progress`."""
    log, location = active.logs[name], active.log_location(name)
    if log.file is not None:
        from_end = active.monitor.start_at == "end"
        return FileSource(name, Path(location), progress.position, post, from_end=from_end, once=once)
    if log.socket is not None:
        return SocketSource(name, log.socket, post)
    return StdinSource(name, post)
