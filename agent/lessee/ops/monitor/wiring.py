"""Builds the monitor's sources and sinks from the configuration."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessee.config import Config
from lessee.config.grammar.monitor import AuditSource, Monitor
from lessee.config.monitor import audit_sources
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import boot_time
from lessee.host.project import read
from lessee.ops.monitor.alert_sink import AlertSink, check_timezones
from lessee.ops.monitor.checkpoint import Owner, SourceProgress
from lessee.ops.monitor.counters import AccessCounter
from lessee.ops.monitor.fleet_sink import FleetSink
from lessee.ops.monitor.read_latency import ReadLatency
from lessee.ops.monitor.sink import Sink
from lessee.ops.monitor.socket_source import SocketSource
from lessee.ops.monitor.sources import FileSource, Post, Source, StdinSource

if TYPE_CHECKING:
    from lessee.ops.monitor.responses.sink import ResponseSink
    from lessee.vault.service_logins import ServiceLogins

STDIN = "stdin"
_LOGIN_TODO = (
    "let `vault.auth` log in as the AppRole ENVIRONMENT-monitor, which `lessee setup` creates; "
    "`lessee check --policy --monitor` prints its policy"
)


class ActiveConfig(ImmutableStruct, frozen=True):
    """The configuration that the monitor runs with."""

    hidden = ("environ",)

    path: Path
    config: Config
    monitor: Monitor
    logs: Mapping[str, AuditSource]
    """The audit logs by name."""
    environ: Mapping[str, str]

    def owner(self) -> Owner:
        """What a state of this configuration belongs to."""
        # Not resolved: a mounted configuration is often a link to a directory with another name at each change.
        return Owner(str(self.path.absolute()), self.config.environment)

    def log_location(self, name: str) -> str:
        """The file, the address to listen on, or stdin."""
        log = self.logs[name]
        return str(self.path.parent / log.file) if log.file is not None else log.socket or STDIN


def load(path: Path, environ: Mapping[str, str]) -> ActiveConfig:
    """Read the configuration. Sends nothing to Vault. Raises ConfigError."""
    config = read(path, environ, blocks=("monitor",))
    if config.monitor is None:
        what, todo = "no audit log configured", "add `monitor:`, or name another configuration with --config"
        raise ConfigError([LesseeError(what, where=str(path), todo=todo)])
    check_timezones(config.monitor)
    return ActiveConfig(path, config, config.monitor, audit_sources(config.monitor), environ)


LogStatus = Callable[[], Sequence[Mapping[str, Any]]]
"""The current `name`, `error` and `last_at` of each log. `error` tells why the log is not readable."""


Logins = Callable[[], "ServiceLogins"]


def service_logins() -> "ServiceLogins":
    """The logins of all parts of the monitor that need one: together they send refused credentials only seldom."""
    # Imported only if the configuration has such a part.
    from lessee.vault.service_logins import ServiceLogins  # noqa: PLC0415

    return ServiceLogins(boot_time, _LOGIN_TODO)


def build_sinks(active: ActiveConfig, log_status: LogStatus, logins: Logins) -> list[Sink]:
    """The sinks, in the order in which they get each entry. `logins`: the same in all configurations of a process."""
    config, environment = active.monitor, active.config.environment
    responses = _responses(active, logins)
    return [
        AccessCounter(),
        *_request_counter(active),
        *_cluster_poller(active, logins),
        ReadLatency(),
        FleetSink(_environments(active.config)),
        *_change_publisher(active, log_status),  # Before the alerts, because agents wait for changes.
        *((responses,) if responses is not None else ()),
        AlertSink(
            config,
            environment=environment,
            folder=Path(config.state_dir),
            base=active.path.parent,
            sources=log_status,
            responses=responses,
        ),
    ]


def _environments(config: Config) -> Sequence[str]:
    own = (config.environment,) if config.environment is not None else ()
    return (*config.setup.environments, *own)


def _request_counter(active: ActiveConfig) -> Iterator[Sink]:
    if active.monitor.request_metrics is not None:
        # Imported only if it is configured.
        from lessee.ops.monitor.request_counter import RequestCounter  # noqa: PLC0415

        environments = {*active.config.setup.environments, active.config.environment or ""}
        yield RequestCounter(active.monitor.request_metrics, environments)


def _cluster_poller(active: ActiveConfig, logins: Logins) -> Iterator[Sink]:
    if active.monitor.cluster is not None:
        # Imported only if it is configured: everything else works without a login.
        from lessee.ops.monitor.cluster_poller import ClusterPoller  # noqa: PLC0415

        yield ClusterPoller(active.monitor.cluster, active.config.vault, active.environ, logins())


def _responses(active: ActiveConfig, logins: Logins) -> "ResponseSink | None":
    if active.monitor.responses is None:
        return None
    # Imported only if the configuration has responses.
    from lessee.ops.monitor.responses.sink import ResponseSink  # noqa: PLC0415

    return ResponseSink(active, active.monitor.responses, dict(os.environ), logins())


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
        from_end = active.monitor.start_at == "end" and not progress.history_until
        return FileSource(
            name, Path(location), progress.position, post, from_end=from_end, since=progress.since, once=once
        )
    if log.socket is not None:
        return SocketSource(name, log.socket, post)
    return StdinSource(name, post)
