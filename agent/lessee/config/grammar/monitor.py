"""The block `monitor`: how `lessee monitor` reads Vault's audit log, and what it publishes."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta, inspect

from lessee.config.grammar import scalars
from lessee.config.grammar.alerts import Alerts, WatchTarget
from lessee.config.grammar.block import Block, describe

if TYPE_CHECKING:
    from lessee.config.grammar.responses import Responses
else:

    def _load_responses() -> inspect.Type:
        """Imported only if a file has the block."""
        from lessee.config.grammar.responses import Responses  # noqa: PLC0415

        return inspect.type_info(Responses)

    Responses = Annotated[Any, Meta(extra={"later": cache(_load_responses)})]


class AuditSource(Block, frozen=True, kw_only=True):
    """One audit log of Vault."""

    one_of: ClassVar[tuple[str, ...]] = ("file", "socket", "stdin")
    name: Annotated[
        scalars.Name | None, describe("The name of the log, such as that of its server. Required if there are several.")
    ] = None
    file: Annotated[
        scalars.FilePath | None, describe("The path of the file that Vault's file audit device writes.")
    ] = None
    socket: Annotated[
        scalars.AuditSocket | None,
        describe("The address that Vault's socket audit device connects to: `host:port`, or an absolute path."),
    ] = None
    stdin: Annotated[scalars.OnlyTrue | None, describe("true reads the log from standard input.")] = None


class RequestMetrics(Block, frozen=True, kw_only=True):
    """The metric that counts requests for secrets by component, environment and path."""

    labels: Annotated[
        Annotated[tuple[Literal["environment", "component", "path"], ...], Meta(min_length=1)],
        describe("The labels of the metric lessee_monitor_requests_total."),
    ] = ("environment", "component", "path")
    max_series: Annotated[
        scalars.Count,
        describe(
            "The number of combinations of labels that are counted one by one. Further ones, and requests that were "
            "denied before any of them succeeded, count as `other`."
        ),
    ] = 1000


class ClusterMetrics(Block, frozen=True, kw_only=True):
    """The metrics of Vault's cluster: its raft peers, and the size of its storage."""

    poll_interval: Annotated[
        scalars.Timeout,
        describe(
            "How often the monitor reads the raft peers. Each time it logs in as `vault` says; its policy needs `read` "
            "on sys/storage/raft/configuration."
        ),
    ] = 300.0
    storage_dir: Annotated[
        scalars.AbsolutePath | None,
        describe("The directory of the server's storage on this machine. Default: its size is not measured."),
    ] = None


class Monitor(Block, frozen=True, kw_only=True):
    """How `lessee monitor` reads Vault's audit log, and what it publishes."""

    audit: Annotated[
        AuditSource | Annotated[tuple[AuditSource, ...], Meta(min_length=1)],
        describe("The audit log of Vault, or a list with the log of each server of a cluster."),
    ]
    start_at: Annotated[
        Literal["beginning", "end"],
        describe(
            "Where the first run starts in an existing log file, unless --since says it. Later runs continue where the "
            "last one stopped."
        ),
    ] = "end"
    state_dir: Annotated[
        scalars.AbsolutePath,
        describe("The directory of the monitor's position in the log and its counters. It must survive a restart."),
    ] = "/var/lib/lessee/monitor"
    publish: Annotated[
        scalars.PublishUrl | tuple[scalars.PublishUrl, ...] | None,
        describe("The URL, or a list of URLs, to which the monitor publishes change events. Default: none."),
    ] = None
    heartbeat_interval: Annotated[
        scalars.HeartbeatInterval,
        describe(
            "How often the monitor sends heartbeats to agents. After 3.5 intervals without one, agents check by their "
            "refresh_interval."
        ),
    ] = 0.2
    watch: Annotated[
        tuple[scalars.StatusAddress | WatchTarget, ...],
        describe("The agents and rotators whose status the monitor checks: paths of status sockets, or URLs."),
    ] = ()
    poll_interval: Annotated[
        scalars.Timeout, describe("How often the monitor checks the status of the services in `watch`.")
    ] = 15.0
    request_metrics: Annotated[
        RequestMetrics | None,
        describe(
            "Counts requests for secrets by component, environment and path, as a metric. Default: no such metric."
        ),
    ] = None
    cluster: Annotated[
        ClusterMetrics | None,
        describe("Metrics of the raft peers and of the storage's size. They need a login. Default: no such metrics."),
    ] = None
    alerts: Annotated[Alerts, describe("Which alerts the monitor raises, and where it sends them.")] = Alerts()
    responses: Annotated[
        Responses | None, describe("What the monitor does when alerts fire. Default: it only sends them.")
    ] = None
