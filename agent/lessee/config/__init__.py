"""What lessee.yaml says, once read: every default filled in, nothing left to look up."""

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from lessee.config.grammar.app import Format, OnExpiry
from lessee.config.grammar.audit_trail import Trail
from lessee.config.grammar.backup import Backup
from lessee.config.grammar.operator import Monitor
from lessee.config.grammar.rotation import Rotation
from lessee.config.grammar.setup import Setup
from lessee.config.grammar.validate import Validate
from lessee.config.grammar.vault import Auth

SESSION = "LESSEE_SESSION"
"""What tells the sessions of one `lessee exec` apart that go on at once: 2, 3 …, and not set in the first."""


class ByName(Struct, frozen=True):
    """The process whose program is called so."""

    name: str


class ByCmdline(Struct, frozen=True):
    """The process in whose words, with a blank between, this regular expression is found."""

    pattern: str


class ByPidFile(Struct, frozen=True):
    """The process whose pid stands in a file."""

    path: str


class Child(Struct, frozen=True):
    """The child of `lessee exec`."""


class ByContainer(Struct, frozen=True, kw_only=True):
    """Containers of a Compose project, by exactly one of service, name and label."""

    service: str | None
    name: str | None
    label: str | None
    """`KEY` or `KEY=VALUE`."""
    project: str | None
    """None: the agent's own."""
    through_engine: bool
    """Whether a signal goes through the engine; else in a PID namespace that the agent shares."""


class ByCommand(Struct, frozen=True):
    """A command that tells the app."""

    command: tuple[str, ...]


class ByHttp(Struct, frozen=True, kw_only=True):
    """A request that tells the app. `header_files`: header names, and the files that hold their values."""

    url: str
    method: str
    header_files: dict[str, str]


Target = ByName | ByCmdline | ByPidFile | Child | ByContainer | ByCommand | ByHttp


class Notify(Struct, frozen=True, kw_only=True):
    """Whom to tell when a generation is published, and how. Times are in seconds."""

    target: Target
    action: str
    """A signal's name, such as SIGHUP, or restart."""
    grace: float
    """From SIGTERM to SIGKILL, where it is restarted."""
    boot_grace: float
    """How long a process that starts may not catch the signal yet."""
    otherwise: Literal["report", "restart"]
    """What to do where the process would die of the signal."""
    timeout: float
    """How long a command or a request may take."""


class Check(Struct, frozen=True, kw_only=True):
    """A command that judges files before they are published; `{directory}` and `{file}` are to be filled in."""

    command: tuple[str, ...]
    timeout: float


class HttpProbe(Struct, frozen=True):
    """A URL that answers with 2xx."""

    url: str


class TcpProbe(Struct, frozen=True):
    """`host:port` that takes a connection."""

    address: str


class TlsProbe(Struct, frozen=True):
    """`host:port` that serves the first certificate in this file of the app."""

    address: str
    certificate: str


class CommandProbe(Struct, frozen=True):
    """A command that ends with 0."""

    command: tuple[str, ...]


class FileProbe(Struct, frozen=True):
    """A file that was written after the publish."""

    path: str


Probe = HttpProbe | TcpProbe | TlsProbe | CommandProbe | FileProbe


class Ready(Struct, frozen=True, kw_only=True):
    """How to see that an app has taken up a generation: the first look is `after`, the last `within` seconds."""

    probe: Probe
    after: float
    within: float


class Restart(Struct, frozen=True, kw_only=True):
    """A child of `lessee exec` that fails is started again, so many times within so many seconds."""

    attempts: int
    within: float


class File(Struct, frozen=True, kw_only=True):
    """A file to render; `owner` None is the agent's own, a gid of None the agent's group."""

    template: str
    name: str
    format: Format
    mode: int
    owner: tuple[int, int | None] | None


class Vault(Struct, frozen=True, kw_only=True):
    """Where Vault is, and how to log in. As JSON it can be kept, and be read again."""

    address: str
    """The first, where there are several."""
    addresses: tuple[str, ...]
    """All of several, in the order in which they are tried; empty where there is one."""
    namespace: str | None
    ca_file: str | None
    server_name: str | None
    client_cert_file: str | None
    client_key_file: str | None
    insecure: bool
    auth: Auth


class FromVariables(Struct, frozen=True):
    """At a cold start without Vault: these variables of dotenv files come from the agent's environment."""

    variables: tuple[str, ...]
    """Of the agent."""


class FromSecrets(Struct, frozen=True):
    """As above: secrets made of the agent's variables, by path as templates have it and by key."""

    secrets: dict[str, dict[str, str]]

    @property
    def variables(self) -> tuple[str, ...]:
        """Of the agent."""
        return tuple(dict.fromkeys(name for keys in self.secrets.values() for name in keys.values()))


class LastGood(Struct, frozen=True):
    """As above: the secrets that were last published, kept in a file. `max_age` in seconds."""

    file: str
    max_age: float | None
    environment: str
    """They are good in no other one."""

    @property
    def variables(self) -> tuple[str, ...]:
        """None: a file has them."""
        return ()


Fallback = FromVariables | FromSecrets | LastGood


class App(Struct, frozen=True, kw_only=True):
    """A directory of files, and how to tell their reader. `refresh` is in seconds."""

    name: str
    directory: str
    files: tuple[File, ...]
    mode: int
    owner: tuple[int, int | None] | None
    allow_disk: bool
    refresh: float
    environ: str | None
    """The template of the environment that `lessee exec` gives its child."""
    public: frozenset[str]
    """Variables that take values though a frontend's build gives them to every visitor; of no others."""
    check: Check | None
    notify: Notify | None
    """None: the app finds out by itself."""
    ready: Ready | None
    """None: an app that was told is taken to be ready."""
    on_expiry: Literal["keep", "remove"] | OnExpiry
    """What becomes of its files where they hold what is no longer valid."""
    fallback: Fallback | None
    """Where values come from at a cold start without Vault; None: it waits."""
    vault: Vault
    """Equal to that of the whole configuration, where the app has no identity of its own."""


class Secrets(Struct, frozen=True, kw_only=True):
    """Where KV secrets lie; `prefix` and `shared` have no slash in front and end in one, or are empty."""

    mount: str
    prefix: str
    shared: tuple[str, ...]


class Listen(Struct, frozen=True, kw_only=True):
    """A TCP port for who may know how the agent is; `address` is `host:port`."""

    address: str
    token_file: str | None
    """None: all on the machine may ask, and `address` is of its loopback."""
    hosts: tuple[str, ...]
    """Names beside its own by which it may be asked, in small letters."""


class Status(Struct, frozen=True, kw_only=True):
    """Where the agent says how it is; `listen` None: on its socket alone."""

    socket: str
    listen: Listen | None


class Events(Struct, frozen=True, kw_only=True):
    """Who tells of changes: exactly one of `redis`, a URL, `socket`, a path, and `vault`. Times are in seconds."""

    redis: str | None
    socket: str | None
    vault: bool
    """Vault's own event stream, where the server has one."""
    poll: float
    """From look to look while he tells."""
    spread: float
    """Within which, by chance, what is told is looked at."""


class Config(Struct, frozen=True, kw_only=True):
    """All of it. `templates` None is the folder of the configuration file."""

    environment: str | None
    foreign_environments: frozenset[str]
    """Names that no path may begin with: those of the other environments."""
    vault: Vault
    secrets: Secrets
    state: str
    status: Status
    events: Events | None
    """None: nobody tells of changes."""
    on_stop: Literal["keep", "revoke", "revoke-if-unused"]
    """Whether an agent that stops leaves no lease and no token behind; unused: the apps' processes are gone as well."""
    restart: Restart | None
    """None: a child of `lessee exec` that ends, ends lessee."""
    templates: str | None
    allow_disk: bool
    """Whether `state` may lie outside tmpfs and ramfs."""
    apps: dict[str, App]
    """Empty in an operator's file."""
    setup: Setup
    rotation: dict[str, Rotation]
    """What is rotated, by name."""
    validate: Validate
    """What `lessee validate` looks at."""
    trail: Trail | None
    """Where acts are recorded."""
    backup: Backup | None
    """Where `lessee backup` saves Vault's data."""
    monitor: Monitor | None
    """How `lessee monitor` reads Vault's audit log."""


def format_of(name: str) -> Format:
    """The format that a file's name stands for."""
    for pattern, found in _FORMATS.items():
        if fnmatchcase(name, pattern):
            return found
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
