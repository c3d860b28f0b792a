"""The operator's blocks: monitoring and the events that come of it."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from lessee.config.grammar import scalars as w
from lessee.config.grammar.alerts import Alerts, Watched
from lessee.config.grammar.block import Block, says


class Events(Block, frozen=True, kw_only=True):
    """How an agent hears of a change before its next poll."""

    redis: Annotated[w.RedisUrl | None, says("Where `lessee monitor` publishes them.")] = None
    socket: Annotated[w.AbsolutePath | None, says("The Unix socket at which it does, without any Redis.")] = None
    poll: Annotated[w.Refresh, says("All is looked at so often while changes are told; else within its refresh.")] = (
        60.0
    )
    spread: Annotated[
        w.Duration, says("Look within this time, by chance, where very many agents read the same secret.")
    ] = 0.0
    vault: Annotated[Literal["auto"] | None, says("Vault Enterprise's own event stream, where the server has it.")] = (
        None
    )


class Audit(Block, frozen=True, kw_only=True):
    """Where Vault's audit log comes from."""

    one_of: ClassVar[tuple[str, ...]] = ("file", "socket", "stdin")
    name: Annotated[w.Name | None, says("What the log is called; needed where there are several.")] = None
    file: Annotated[w.FilePath | None, says("The file that Vault's audit device writes.")] = None
    socket: Annotated[
        w.AuditSocket | None, says("Where Vault's socket device connects to: `host:port`, or an absolute path.")
    ] = None
    stdin: Annotated[w.On | None, says("Read it from stdin.")] = None


class Monitor(Block, frozen=True, kw_only=True):
    """How `lessee monitor` reads Vault's audit log."""

    audit: Annotated[
        Audit | Annotated[tuple[Audit, ...], Meta(min_length=1)],
        says("Where the log comes from; of a cluster a list, one a server."),
    ]
    begin: Annotated[
        Literal["start", "end"], says("Where the first start begins in a file that is there; later ones go on.")
    ] = "start"
    state: Annotated[
        w.AbsolutePath, says("What was read, and what was counted; it must outlive a restart, and holds no value.")
    ] = "/var/lib/lessee/monitor"
    publish: Annotated[
        w.PublishUrl | tuple[w.PublishUrl, ...] | None, says("Where change events go: one place, or several.")
    ] = None
    heartbeat: Annotated[
        w.Heartbeat,
        says("How often agents hear that it is there; after 3.5 of these without they look within their refresh."),
    ] = 0.2
    watch: Annotated[
        tuple[w.StatusPlace | Watched, ...], says("Status sockets or URLs of agents and of the rotator.")
    ] = ()
    alerts: Annotated[Alerts, says("When to raise an alarm, and where.")] = Alerts()
