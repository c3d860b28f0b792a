"""The grammar of lessee.yaml: its blocks, their keys, and a description of each key.

A class whose name ends in Block has a counterpart without that ending in lessee.config: there, defaults and inherited
values are filled in. A class without that ending is used as the file has it.
"""

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, field, inspect

from lessee.config.grammar import scalars
from lessee.config.grammar.app import AppBlock
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.config.grammar.backup import Backup, Drill
from lessee.config.grammar.block import Block, describe
from lessee.config.grammar.monitor import Monitor
from lessee.config.grammar.rotation import Rotation
from lessee.config.grammar.setup import Setup
from lessee.config.grammar.validate import Validate
from lessee.config.grammar.vault import MOUNTS, IdentityBlock, KvMountBlock, VaultBlock

if TYPE_CHECKING:
    from lessee.config.grammar.issue import Issue
    from lessee.config.grammar.sources import Settings
else:

    def _load_issue() -> inspect.Type:
        """Imported only if a file has the block."""
        from lessee.config.grammar.issue import Issue  # noqa: PLC0415

        return inspect.type_info(Issue)

    Issue = Annotated[Any, Meta(extra={"later": cache(_load_issue)})]

    def _load_settings() -> inspect.Type:
        """Imported only if a file has the block."""
        from lessee.config.grammar.sources import Settings  # noqa: PLC0415

        return inspect.type_info(Settings)

    Settings = Annotated[Any, Meta(extra={"later": cache(_load_settings)})]

OPERATOR_BLOCKS = ("setup", "rotation", "issue", "monitor", "validate", "backup", "drill")
"""The top-level blocks that a sidecar does not use."""


class SecretsBlock(Block, frozen=True, kw_only=True):
    """Where the KV secrets of the apps are, and how often the agent checks them."""

    mount: Annotated[scalars.MountPath, describe('The KV mount, v1 or v2, that secret("…") reads.')] = "secret"
    prefix: Annotated[
        scalars.Prefix,
        describe("The prefix of every secret path in templates. {environment} is replaced with the environment."),
    ] = "{environment}/"
    shared_prefixes: Annotated[
        tuple[scalars.SharedFolder, ...],
        describe("Path prefixes that all environments share; the agent reads paths below them without `prefix`."),
    ] = ()
    mounts: Annotated[dict[scalars.MountPath, KvMountBlock], describe(MOUNTS)] = field(default_factory=dict)
    refresh_interval: Annotated[
        scalars.RefreshInterval,
        describe("How often the agent checks KV secrets for changes; an app may have its own refresh_interval."),
    ] = 1.0


class StatusBlock(Block, frozen=True, kw_only=True):
    """Where the agent serves its status: /healthz, /readyz, /metrics, /status.json, and a page at /."""

    socket: Annotated[
        scalars.AbsolutePath | None, describe("The path of the status socket. Default: status.sock in state_dir.")
    ] = None
    listen: Annotated[
        scalars.HostPort | None,
        describe('The TCP address at which the agent also serves its status, such as "127.0.0.1:9105". Default: none.'),
    ] = None
    token_file: Annotated[
        scalars.FilePath | None,
        describe(
            "The path of the file with the bearer token that requests over TCP need, except /healthz and /readyz."
        ),
    ] = None
    allow_unauthenticated: Annotated[
        scalars.Boolean,
        describe("true serves the status on a loopback address without a token, to every user of this machine."),
    ] = False
    allowed_hosts: Annotated[
        tuple[scalars.HostName, ...],
        describe("Host names that requests over TCP may use, in addition to localhost, IP addresses and `listen`."),
    ] = ()


class Leases(Block, frozen=True, kw_only=True):
    """What happens to leases."""

    on_stop: Annotated[
        Literal["keep", "revoke", "revoke-if-unused"],
        describe(
            "What the agent does with its leases and tokens when it stops. `revoke-if-unused` revokes them if the "
            "apps' processes have ended too."
        ),
    ] = "keep"


class Restart(Block, frozen=True, kw_only=True):
    """How often `lessee exec` restarts a child that fails."""

    max_attempts: Annotated[scalars.Count, describe("How many restarts in `window` before lessee gives up.")] = 5
    window: Annotated[scalars.Timeout, describe("The time within which the agent counts restarts.")] = 60.0


class Exec(Block, frozen=True, kw_only=True):
    """How `lessee exec` treats its child."""

    restart: Annotated[
        Restart | None, describe("Restarts a child that fails. Default: lessee ends when its child ends.")
    ] = None
    user: Annotated[
        scalars.Ids | None,
        describe(
            'The user of the child in numbers, "uid:gid" or "uid", so that it cannot read the agent\'s credentials and '
            "token. The agent needs CAP_SETUID, CAP_SETGID and CAP_KILL. Default: the agent's own user."
        ),
    ] = None


class Programs(Block, frozen=True, kw_only=True):
    """The programs that the agent starts for an app: check, notify, ready and on_expiry commands."""

    environment: Annotated[
        tuple[scalars.Variable, ...],
        describe(
            "The agent's environment variables that the programs get. They always get PATH, HOME, USER, LOGNAME, "
            "SHELL, LANG, LANGUAGE, LC_*, TZ, TERM, TMPDIR and XDG_RUNTIME_DIR."
        ),
    ] = ()
    user: Annotated[
        scalars.Ids | None,
        describe(
            'The user of the programs in numbers, "uid:gid" or "uid". The agent needs CAP_SETUID, CAP_SETGID and '
            "CAP_KILL. Default: the agent's own user."
        ),
    ] = None


Guarded = Literal[
    "allow_disk", "check", "fallback", "notify.command", "notify.container.project", "notify.http.header_files",
    "on_expiry", "ready.command", "vault",
]  # fmt: skip
"""The keys of an app with which its author gets what the agent has: its programs, credentials, files or variables."""


class Compose(Block, frozen=True, kw_only=True):
    """Further apps, from the labels of the services in a Compose project."""

    file: Annotated[
        scalars.FilePath,
        describe(
            "The path of what `docker compose config --no-interpolate --format json` printed, relative to the "
            "directory of this file. The agent reads it again when it changes."
        ),
    ]
    directory: Annotated[
        scalars.AbsolutePath,
        describe("The directory below which the apps of labels have theirs; by default each in the one with its name."),
    ] = "/run/secrets"
    allow: Annotated[
        tuple[Guarded, ...],
        describe(
            "Keys of apps that labels may set too. With them, the author of a label starts programs as the agent, or "
            "reads files and variables of the agent. Default: none."
        ),
    ] = ()


class EventsBlock(Block, frozen=True, kw_only=True):
    """The source from which the agent learns of changes before its next check."""

    redis: Annotated[
        scalars.RedisUrl | None, describe("The URL of the Redis to which `lessee monitor` publishes change events.")
    ] = None
    socket: Annotated[
        scalars.AbsolutePath | None,
        describe("The Unix socket on which `lessee monitor` publishes change events, without a Redis."),
    ] = None
    poll_interval: Annotated[
        scalars.RefreshInterval,
        describe("How often the agent checks all secrets while the event source is connected; else refresh_interval."),
    ] = 60.0
    jitter: Annotated[
        scalars.Duration,
        describe(
            "The maximum random delay before the agent reads a changed secret; it spreads the load of many agents."
        ),
    ] = 0.0
    vault: Annotated[
        Literal["auto"] | None, describe("`auto` uses the event stream of Vault Enterprise if the server has it.")
    ] = None


class Lessee(Block, frozen=True, kw_only=True):
    """The configuration of lessee."""

    environment: Annotated[
        scalars.Name | None,
        describe("The environment, which replaces {environment} in paths. Default: $LESSEE_ENVIRONMENT."),
    ] = None
    vault: Annotated[VaultBlock, describe("The address of Vault or OpenBao, and how the agent logs in.")] = VaultBlock()
    identities: Annotated[
        dict[scalars.Name, IdentityBlock],
        describe('Further logins by name, which templates name as in secret("…", identity="NAME").'),
    ] = field(default_factory=dict)
    sources: Annotated[
        dict[scalars.Name, Settings],
        describe('Where templates read secrets besides Vault, by name, as in secret("…", source="NAME").'),
    ] = field(default_factory=dict)
    secrets: Annotated[
        SecretsBlock, describe("Where the KV secrets of the apps are, and how often the agent checks them.")
    ] = SecretsBlock()
    state_dir: Annotated[
        scalars.AbsolutePath,
        describe("The directory of the agent's own state. It contains secret values, so it must be on tmpfs."),
    ] = "/run/lessee"
    status: Annotated[StatusBlock, describe("Where the agent serves its status and metrics.")] = StatusBlock()
    leases: Annotated[Leases, describe("What happens to leases when the agent stops.")] = Leases()
    template_dir: Annotated[
        scalars.FilePath | None,
        describe("The directory that template paths are relative to. Default: the directory of this file."),
    ] = None
    template_env: Annotated[
        tuple[scalars.Variable, ...] | None,
        describe(
            "The environment variables of the agent that templates may read with env(). Default: all except those of "
            "Vault, OpenBao and lessee, and those that hold credentials of the agent."
        ),
    ] = None
    allow_disk: Annotated[scalars.Boolean, describe("true allows a state_dir outside tmpfs and ramfs.")] = False
    exec: Annotated[Exec, describe("How `lessee exec` treats its child.")] = Exec()
    programs: Annotated[Programs, describe("What the programs get that the agent starts.")] = Programs()
    apps: Annotated[
        dict[scalars.Name, AppBlock],
        describe("The apps by name. A file without apps is for operators' commands only."),
    ] = field(default_factory=dict)
    compose: Annotated[
        Compose | None,
        describe("Further apps, from the labels of the services in a Compose project. Default: none."),
    ] = None
    events: Annotated[
        EventsBlock | None,
        describe("The source from which the agent learns of changes before its next check. Default: none."),
    ] = None
    setup: Annotated[Setup, describe("What `lessee setup` creates in Vault.")] = Setup()
    rotation: Annotated[
        dict[scalars.Name, Rotation], describe("The credentials that `lessee rotate` rotates, by name.")
    ] = field(default_factory=dict)
    issue: Annotated[
        Issue | None,
        describe("Which agents of this machine get a secret_id from `lessee issue`, and for which role."),
    ] = None
    monitor: Annotated[
        Monitor | None, describe("How `lessee monitor` reads Vault's audit log, and what it publishes.")
    ] = None
    validate: Annotated[Validate, describe("What `lessee validate` checks.")] = Validate()
    audit_trail: Annotated[
        AuditTrail | None, describe("Where lessee records its own actions. Default: lessee keeps no audit trail.")
    ] = None
    backup: Annotated[Backup | None, describe("Where `lessee backup` saves Vault's data.")] = None
    drill: Annotated[Drill, describe("How `lessee drill` tests people, apps and backups.")] = Drill()
