"""The operator's blocks: rotation, monitoring and the events that come of it."""

from typing import Annotated, ClassVar, Literal

from lessee.core.config.grammar import words as w
from lessee.core.config.grammar.block import Block, Command, says


class Events(Block, frozen=True, kw_only=True):
    """How an agent hears of a change before its next poll."""

    redis: Annotated[w.RedisUrl | None, says("What `lessee monitor` publishes.")] = None
    vault: Annotated[Literal["auto"] | None, says("Vault Enterprise's own event stream, where the server has it.")] = (
        None
    )


class Rotation(Block, frozen=True, kw_only=True):
    """A credential to be changed in the system that owns it, and in Vault."""

    kind: Annotated[
        Literal["postgres", "redis", "s3", "minio", "api-key", "vault", "command"], says("The system's kind.")
    ]
    secret: Annotated[w.SecretPath | None, says("What the apps read.")] = None
    admin: Annotated[w.SecretPath | None, says("The same keys, of a role that may alter the others.")] = None
    roles: Annotated[tuple[w.Text, ...], says("The roles that take turns.")] = ()
    owner: Annotated[w.Text | None, says("The role that owns the objects; the others are its members.")] = None
    user: Annotated[w.Text | None, says("The user whose keys are changed.")] = None
    recipe: Annotated[w.FilePath | None, says("How the provider's API makes and revokes a key.")] = None
    command: Annotated[Command | None, says("A rotator of one's own, started once a step.")] = None
    every: Annotated[w.Timeout | None, says("How often; absent: when told to.")] = None
    keep: Annotated[w.Duration | None, says("How long the old key is kept, disabled.")] = None


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
