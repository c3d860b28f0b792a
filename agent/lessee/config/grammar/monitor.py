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


class Monitor(Block, frozen=True, kw_only=True):
    """How `lessee monitor` reads Vault's audit log, and what it publishes."""

    audit: Annotated[
        AuditSource | Annotated[tuple[AuditSource, ...], Meta(min_length=1)],
        describe("The audit log of Vault, or a list with the log of each server of a cluster."),
    ]
    start_at: Annotated[
        Literal["beginning", "end"],
        describe("Where the first run starts in an existing log file. Later runs continue where the last one stopped."),
    ] = "beginning"
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
    alerts: Annotated[Alerts, describe("Which alerts the monitor raises, and where it sends them.")] = Alerts()
    responses: Annotated[
        Responses | None, describe("What the monitor does when alerts fire. Default: it only sends them.")
    ] = None
