"""The operator's blocks: monitoring and the events that come of it."""

from typing import Annotated, ClassVar, Literal

from lessee.core.config.grammar import words as w
from lessee.core.config.grammar.block import Block, says


class Events(Block, frozen=True, kw_only=True):
    """How an agent hears of a change before its next poll."""

    redis: Annotated[w.RedisUrl | None, says("What `lessee monitor` publishes.")] = None
    vault: Annotated[Literal["auto"] | None, says("Vault Enterprise's own event stream, where the server has it.")] = (
        None
    )


class Audit(Block, frozen=True, kw_only=True):
    """Where Vault's audit log comes from."""

    one_of: ClassVar[tuple[str, ...]] = ("file", "socket", "stdin")
    file: Annotated[w.FilePath | None, says("The file that Vault's audit device writes.")] = None
    socket: Annotated[w.Text | None, says("Where Vault's socket device connects to.")] = None
    stdin: Annotated[w.On | None, says("Read it from stdin.")] = None


class Alerts(Block, frozen=True, kw_only=True):
    """When to raise an alarm, and where."""

    reads_per_hour: Annotated[w.Count | None, says("More reads than this by one reader are told.")] = None
    refusals_in_a_row: Annotated[w.Count | None, says("So many refusals in a row are told.")] = None
    again_after: Annotated[w.Timeout, says("The same alert is told again after this time.")] = 3600.0
    webhook: Annotated[w.HttpUrl | None, says("A URL that takes alerts as JSON.")] = None
    alertmanager: Annotated[w.HttpUrl | None, says("Prometheus' Alertmanager.")] = None


class Monitor(Block, frozen=True, kw_only=True):
    """How `lessee monitor` reads Vault's audit log."""

    audit: Annotated[Audit, says("Where the log comes from.")]
    publish: Annotated[w.RedisUrl | None, says("Where change events go.")] = None
    alerts: Annotated[Alerts, says("When to raise an alarm, and where.")] = Alerts()
