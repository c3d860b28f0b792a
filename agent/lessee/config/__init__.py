"""The parsed configuration: lessee.yaml with every default filled in."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from lessee.config.grammar import Programs as Programs
from lessee.config.grammar import Restart as Restart
from lessee.config.grammar.app import Check as Check
from lessee.config.grammar.app import Format, LabeledContainer, OnExpiry
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.config.grammar.backup import Backup, Drill
from lessee.config.grammar.monitor import Monitor
from lessee.config.grammar.rotation import Rotation
from lessee.config.grammar.setup import Setup
from lessee.config.grammar.validate import Validate
from lessee.config.grammar.vault import Auth

if TYPE_CHECKING:
    from lessee.config.grammar.issue import Issue
    from lessee.config.grammar.sources import Settings

_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}")

SESSION = "LESSEE_SESSION"
"""The variable that numbers concurrent sessions of one `lessee exec`: 2, 3 …; the first session does not set it."""


class NameTarget(Struct, frozen=True):
    """The process whose program has this name."""

    name: str


class CmdlineTarget(Struct, frozen=True):
    """The process whose command line, its arguments joined by spaces, matches this regular expression."""

    pattern: str


class PidFileTarget(Struct, frozen=True):
    """The process whose PID is in this file."""

    path: str


class Child(Struct, frozen=True):
    """The child of `lessee exec`."""


class ContainerTarget(Struct, frozen=True, kw_only=True):
    """The containers of a Compose project, selected by exactly one of service, name and label."""

    service: str | None
    name: str | None
    label: str | None
    """`KEY` or `KEY=VALUE`."""
    project: str | None
    """None: the agent's own project."""
    through_engine: bool
    """Whether signals go through the container engine; otherwise through a shared PID namespace."""


class CommandTarget(Struct, frozen=True):
    """A command that notifies the app."""

    command: tuple[str, ...]


class HttpTarget(Struct, frozen=True, kw_only=True):
    """An HTTP request that notifies the app. `header_files` maps header names to files with their values."""

    url: str
    method: str
    header_files: dict[str, str]


Target = NameTarget | CmdlineTarget | PidFileTarget | Child | ContainerTarget | CommandTarget | HttpTarget


class Notify(Struct, frozen=True, kw_only=True):
    """How the agent notifies an app of a new generation. Times are in seconds."""

    target: Target
    action: str
    """A signal such as SIGHUP, or restart."""
    stop_grace_period: float
    """On a restart: from `stop_signal` to SIGKILL."""
    stop_signal: str
    """On a restart: the signal that ends the process."""
    start_period: float
    """How long a new process may take to install its signal handler."""
    on_unhandled_signal: Literal["report", "restart"]
    """What the agent does if the process has no handler for the signal."""
    timeout: float
    """How long a command or a request may take."""
    uid: int | None = None
    """The uid of the process to signal. None: that of the app, as `owners` names it."""
    owners: tuple[tuple[int, int | None] | None, ...] = ()
    """The owners of the app's files: uid and gid; None is the agent's own."""


class HttpProbe(Struct, frozen=True):
    """A URL that must return a 2xx status."""

    url: str


class TcpProbe(Struct, frozen=True):
    """A `host:port` that must accept a connection."""

    address: str


class TlsProbe(Struct, frozen=True):
    """A `host:port` that must serve the first certificate of this file of the app."""

    address: str
    certificate: str


class CommandProbe(Struct, frozen=True):
    """A command that must exit with code 0."""

    command: tuple[str, ...]


class FileProbe(Struct, frozen=True):
    """A file that must have been modified after the publication."""

    path: str


Probe = HttpProbe | TcpProbe | TlsProbe | CommandProbe | FileProbe


class Ready(Struct, frozen=True, kw_only=True):
    """The readiness probe of an app. Both times are in seconds since the notification."""

    probe: Probe
    initial_delay: float
    timeout: float


class File(Struct, frozen=True, kw_only=True):
    """A file to render. Without `owner` it belongs to the agent's user, without a gid to the agent's group."""

    template: str
    name: str
    format: Format
    mode: int
    owner: tuple[int, int | None] | None


class Vault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The address of Vault, and how to log in. It can be stored as JSON and decoded again."""

    address: str
    """The only address, or the first of several."""
    addresses: tuple[str, ...]
    """All of several addresses, in the order in which the agent tries them; empty if there is one."""
    namespace: str | None
    ca_file: str | None
    tls_server_name: str | None
    client_cert_file: str | None
    client_key_file: str | None
    tls_skip_verify: bool
    auth: Auth
    insecure_http: bool = False

    @property
    def exposed_addresses(self) -> tuple[str, ...]:
        """The addresses whose connections anyone on the network can read and change, unless that is intended."""
        addresses = self.addresses or (self.address,)
        return () if self.insecure_http else tuple(address for address in addresses if _crosses_network(address))


def _crosses_network(address: str) -> bool:
    """Whether it is http:// at a host besides loopback, as far as its name says."""
    scheme, _, rest = address.partition("://")
    authority = rest.partition("/")[0].rpartition("@")[2].lower()
    host = authority.partition("]")[0].removeprefix("[") if authority.startswith("[") else authority.partition(":")[0]
    return scheme == "http" and host not in {"localhost", "::1"} and not _LOOPBACK.fullmatch(host)


class Source(Struct, frozen=True, kw_only=True):
    """Where templates read secrets besides Vault. A prefix is as in `Secrets`."""

    name: str
    settings: "Settings"
    prefix: str
    shared_prefixes: tuple[str, ...]
    refresh_interval: float | None
    """Seconds; None: that of the app."""
    apps: tuple[str, ...] | None = None
    """The only apps that may read it; None: all."""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.directory or self._setting("endpoint") or self._setting("region") or ""

    @property
    def directory(self) -> str | None:
        """The directory with its files, if it has one."""
        return self._setting("directory")

    @property
    def credential_files(self) -> tuple[str, ...]:
        """The files that hold credentials for it."""
        files = (self._setting("age_key_file"), self._setting("credentials_file"))
        return tuple(file for file in files if file is not None)

    @property
    def credential_variables(self) -> tuple[str, ...]:
        """The environment variables that hold credentials for it; no other program may inherit them."""
        if self._setting("region") is None:
            return ()
        return ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

    def _setting(self, name: str) -> str | None:
        # The grammar of sources is imported only for a configuration that has one.
        value: str | None = getattr(self.settings, name, None)
        return value


Login = Vault | Source
"""What the agent reads from, and how."""


class VariablesFallback(Struct, frozen=True):
    """At a cold start without Vault, variables of dotenv files come from the agent's environment."""

    variables: tuple[str, ...]
    """The agent's variables that the fallback reads."""


class SecretsFallback(Struct, frozen=True):
    """At a cold start without Vault, secrets come from the agent's variables: {path in templates: {key: variable}}."""

    secrets: dict[str, dict[str, str]]

    @property
    def variables(self) -> tuple[str, ...]:
        """The agent's variables that the fallback reads."""
        return tuple(dict.fromkeys(name for keys in self.secrets.values() for name in keys.values()))


class LastKnownGoodFallback(Struct, frozen=True):
    """At a cold start without Vault, secrets come from a file that the agent saved. `max_age` is in seconds."""

    file: str
    max_age: float | None
    environment: str
    """The environment of the saved secrets; no other environment may use them."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Empty: this fallback reads no variables."""
        return ()


Fallback = VariablesFallback | SecretsFallback | LastKnownGoodFallback


class ReadSocket(Struct, frozen=True, kw_only=True):
    """Where an app reads what its templates may read, and who may do so."""

    path: str
    uids: frozenset[int]
    allows_own_user: bool
    """The agent's own user may read too."""
    gids: frozenset[int]
    containers: tuple[LabeledContainer, ...] = ()
    """Empty: the container does not matter."""
    listen: str | None
    """A `host:port` on loopback, whose clients need the token in `token_file`."""
    token_file: str | None


class CredentialSocket(Struct, frozen=True, kw_only=True):
    """Where systemd reads the app's files, and for which units."""

    path: str
    units: frozenset[str]


class App(Struct, frozen=True, kw_only=True):
    """An app: its files, and how the agent notifies it. `refresh_interval` is in seconds."""

    name: str
    directory: str
    files: tuple[File, ...]
    mode: int
    owner: tuple[int, int | None] | None
    allow_disk: bool
    refresh_interval: float
    env_template: str | None
    """The template of the child's environment under `lessee exec`."""
    public_variables: frozenset[str]
    """The only variables that may contain values although a frontend build exposes them to every visitor."""
    check: Check | None
    notify: Notify | None
    """None: the app rereads its files by itself."""
    ready: Ready | None
    """None: the app counts as ready once notified."""
    on_expiry: Literal["keep", "remove"] | OnExpiry
    """What the agent does with the files when a lease of theirs expires."""
    fallback: Fallback | None
    """Where values come from at a cold start without Vault; None: the agent waits for Vault."""
    vault: Vault
    """Equal to Config.vault unless the app has a login of its own."""
    identities: dict[str, Login] = {}
    """The logins and sources that templates name, as in Config.identities and Config.sources."""
    socket: ReadSocket | None = None
    """None: the app reads its files alone."""
    credentials: CredentialSocket | None = None

    def login_of(self, identity: str) -> Login:
        """The login or source of this name; the app's own login, if the name is empty."""
        return self.identities[identity] if identity else self.vault


class KvMount(Struct, frozen=True, kw_only=True):
    """Which folders of another KV mount the templates may read."""

    prefix: str
    shared_prefixes: tuple[str, ...]


class Secrets(Struct, frozen=True, kw_only=True):
    """Where KV secrets are. Prefixes are empty, or begin without a slash and end with one."""

    mount: str
    prefix: str
    shared_prefixes: tuple[str, ...]
    mounts: dict[str, KvMount] = {}
    """The other mounts that templates may name."""


class Identity(Struct, frozen=True, kw_only=True):
    """A login that templates name, and what they may read under it."""

    vault: Vault
    secrets: Secrets


class Listen(Struct, frozen=True, kw_only=True):
    """The TCP address, `host:port`, at which the agent serves its status."""

    address: str
    token_file: str | None
    """None: requests need no token; then `address` is on loopback."""
    allowed_hosts: tuple[str, ...]
    """Further host names that requests may use, in lower case."""


class Status(Struct, frozen=True, kw_only=True):
    """Where the agent serves its status. Without `listen` it is only the socket."""

    socket: str
    listen: Listen | None


class Events(Struct, frozen=True, kw_only=True):
    """The event source: exactly one of `redis` (a URL), `socket` (a path) and `vault`. Times are in seconds."""

    redis: str | None
    socket: str | None
    vault: bool
    """Whether to use the event stream of Vault Enterprise."""
    poll_interval: float
    """The time between two checks while the event source is connected."""
    jitter: float
    """The maximum random delay before the agent reads a changed secret."""


class InlineTemplate(Struct, frozen=True):
    """A template whose text is in lessee.yaml, or in a label."""

    text: str
    file: str
    """The name of the file that has the text."""
    line: int


class LabeledApp(Struct, frozen=True):
    """Where the labels of an app are."""

    service: str
    file: str
    line: int


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. Without `template_dir` it is the directory of the configuration file."""

    environment: str | None
    foreign_environments: frozenset[str]
    """The other environments, whose names no secret path may begin with."""
    vault: Vault
    secrets: Secrets
    state_dir: str
    status: Status
    events: Events | None
    """None: the agent only polls."""
    on_stop: Literal["keep", "revoke", "revoke-if-unused"]
    """What the agent does with leases and tokens when it stops; `revoke-if-unused`: if the apps have ended too."""
    restart: Restart | None
    """None: `lessee exec` ends when its child ends."""
    programs: Programs
    """What the agent's programs get."""
    child_user: tuple[int, int | None] | None
    """The uid and gid of the child of `lessee exec`; None: the agent's own."""
    template_dir: str | None
    template_env: frozenset[str] | None
    """The only variables that templates may read; None: all but those of the agent itself."""
    allow_disk: bool
    """Whether `state_dir` may be outside tmpfs and ramfs."""
    apps: dict[str, App]
    """Empty in a file for operators' commands only."""
    setup: Setup
    rotation: dict[str, Rotation]
    """The credentials to rotate, by name."""
    validate: Validate
    """What `lessee validate` checks."""
    audit_trail: AuditTrail | None
    """Where lessee records its actions."""
    backup: Backup | None
    """Where `lessee backup` saves Vault's data."""
    monitor: Monitor | None
    """How `lessee monitor` reads Vault's audit log."""
    issue: "Issue | None" = None
    """Which agents get a secret_id from `lessee issue`."""
    drill: Drill = Drill()
    """How `lessee drill` plays its scenes."""
    identities: dict[str, Identity] = {}
    """The logins that templates name besides that of their app, by name."""
    sources: dict[str, Source] = {}
    """Where templates read besides Vault, by name."""
    inline_templates: dict[str, InlineTemplate] = {}
    """The templates whose text is in the configuration, by the name that `File.template` has."""
    compose_file: str | None = None
    """The Compose model whose labels have further apps, relative to the configuration's directory."""
    labeled_apps: dict[str, LabeledApp] = {}
    """The apps of labels, by name."""


def logins_of(config: Config) -> tuple[Vault, ...]:
    """All ways in which the agent may log in; some of them may be equal."""
    identities = (identity.vault for identity in config.identities.values())
    return (config.vault, *identities, *(app.vault for app in config.apps.values()))


def exposed_addresses(config: Config) -> tuple[str, ...]:
    """The exposed addresses of all logins, each once."""
    return tuple(dict.fromkeys(address for vault in logins_of(config) for address in vault.exposed_addresses))


def default_format(name: str) -> Format:
    """The format of a file with this name, if the configuration does not set one; its folder does not matter."""
    last = name.rpartition("/")[2]
    for pattern, kind in _FORMATS.items():
        if fnmatchcase(last, pattern):
            return kind
    return "text"


_FORMATS: dict[str, Format] = {
    "*.env": "dotenv",
    ".env.*": "dotenv",
    "*.json": "json",
    "*.yaml": "yaml",
    "*.yml": "yaml",
    "*.toml": "toml",
    "*.ini": "ini",
    "*.cfg": "ini",
    "*.properties": "properties",
    "*.xml": "xml",
    "*.sh": "sh",
    "*nginx*.conf": "nginx",
    "*.pgpass": "pgpass",
}
