"""What may stand in lessee.yaml: its blocks, their keys, and what each key means."""

from typing import Annotated, Literal

from msgspec import field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.app import App
from lessee.config.grammar.audit_trail import Trail
from lessee.config.grammar.backup import Backup
from lessee.config.grammar.block import Block, says
from lessee.config.grammar.operator import Events, Monitor
from lessee.config.grammar.rotation import Rotation
from lessee.config.grammar.setup import Setup
from lessee.config.grammar.validate import Validate
from lessee.config.grammar.vault import Vault

OPERATOR = ("setup", "rotation", "monitor", "validate", "backup")
"""The blocks that a sidecar has no use for."""


class Secrets(Block, frozen=True, kw_only=True):
    """Where an app's KV secrets lie."""

    mount: Annotated[w.MountPath, says('The KV mount that secret("…") reads, v1 or v2.')] = "secret"
    prefix: Annotated[w.Prefix, says("The folder that is put before every path; {environment} is replaced.")] = (
        "{environment}/"
    )
    shared: Annotated[tuple[w.SharedFolder, ...], says("Folders that are read without the prefix.")] = ()
    refresh: Annotated[w.Refresh, says("A change in KV is noticed within this time.")] = 1.0


class Status(Block, frozen=True, kw_only=True):
    """Where the agent says how it is: /healthz /readyz /metrics /status.json and a page at /."""

    socket: Annotated[w.AbsolutePath | None, says("A Unix socket; default: status.sock in state.")] = None
    listen: Annotated[w.HostPort | None, says('The same over TCP, such as "127.0.0.1:9105"; default: not.')] = None
    token_file: Annotated[
        w.FilePath | None,
        says("Holds the token that who asks over TCP has to show; /healthz and /readyz are free of it."),
    ] = None
    insecure: Annotated[w.Switch, says("true serves a loopback address without a token, to all on the machine.")] = (
        False
    )
    hosts: Annotated[
        tuple[w.HostName, ...],
        says("Names that the port is asked by, beside localhost, that in `listen`, and addresses."),
    ] = ()


class Leases(Block, frozen=True, kw_only=True):
    """What becomes of leases."""

    on_stop: Annotated[
        Literal["keep", "revoke", "revoke-if-unused"],
        says("What to do with them when the agent stops; unused: the apps' processes are gone as well."),
    ] = "keep"


class Restart(Block, frozen=True, kw_only=True):
    """How often a child that ends is started again."""

    attempts: Annotated[w.Count, says("Starts, before giving up.")] = 5
    within: Annotated[w.Timeout, says("The time in which attempts are counted.")] = 60.0


class Exec(Block, frozen=True, kw_only=True):
    """How `lessee exec` treats its child."""

    restart: Annotated[Restart | None, says("Start a child that ends again; absent: lessee ends with it.")] = None


class Lessee(Block, frozen=True, kw_only=True):
    """The configuration of lessee."""

    environment: Annotated[w.Name | None, says("The environment; default: $LESSEE_ENVIRONMENT.")] = None
    vault: Annotated[Vault, says("Where Vault or OpenBao is, and how to log in.")] = Vault()
    secrets: Annotated[Secrets, says("Where an app's KV secrets lie.")] = Secrets()
    state: Annotated[w.AbsolutePath, says("The agent's own directory, on tmpfs; it holds values.")] = "/run/lessee"
    status: Annotated[Status, says("Where the agent says how it is.")] = Status()
    leases: Annotated[Leases, says("What becomes of leases.")] = Leases()
    templates: Annotated[w.FilePath | None, says("Where template paths start; default: the folder of this file.")] = (
        None
    )
    allow_disk: Annotated[w.Switch, says("true lets state lie outside tmpfs and ramfs.")] = False
    exec: Annotated[Exec, says("How `lessee exec` treats its child.")] = Exec()
    apps: Annotated[dict[w.Name, App], says("The apps, by name; without any, the file is an operator's.")] = field(
        default_factory=dict
    )
    events: Annotated[Events | None, says("How an agent hears of a change before its next poll.")] = None
    setup: Annotated[Setup, says("What `lessee setup` makes.")] = Setup()
    rotation: Annotated[dict[w.Name, Rotation], says("What `lessee rotate` rotates, by name.")] = field(
        default_factory=dict
    )
    monitor: Annotated[Monitor | None, says("How `lessee monitor` reads Vault's audit log.")] = None
    validate: Annotated[Validate, says("What `lessee validate` looks at.")] = Validate()
    trail: Annotated[Trail | None, says("Where acts are recorded; default: nowhere.")] = None
    backup: Annotated[Backup | None, says("Where `lessee backup` saves Vault's data, and for how long.")] = None
