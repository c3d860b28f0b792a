"""An app: its files, and how to tell their reader."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, Command, says
from lessee.config.grammar.vault import Vault

Format = Literal[
    "dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker",
    "sh", "systemd", "json", "yaml", "toml", "ini", "properties", "xml", "nginx", "pgpass", "text",
]  # fmt: skip


class File(Block, frozen=True, kw_only=True):
    """One file that an app reads."""

    template: Annotated[w.TemplatePath, says("The template, below the templates' folder.")]
    name: Annotated[w.FileName | None, says("The file's name; default: the template's without .j2.")] = None
    format: Annotated[Format | None, says("How values are written into the file; default: by the file's name.")] = None
    mode: Annotated[w.Mode | None, says('Such as "0440"; default: the app\'s.')] = None
    owner: Annotated[w.Owner | None, says('"uid:gid" or "uid", in numbers; default: the app\'s.')] = None


class Check(Block, frozen=True, kw_only=True):
    """A command that judges files before they are published."""

    command: Annotated[
        Command, says("{directory} stands for the folder of the staged files, {file} for the one file of an app.")
    ]
    timeout: Annotated[w.Timeout, says("How long it may take.")] = 10.0


class Process(Block, frozen=True, kw_only=True):
    """A process that the agent can see."""

    one_of: ClassVar[tuple[str, ...]] = ("name", "cmdline", "pid_file")
    name: Annotated[w.Text | None, says("The name of its program.")] = None
    cmdline: Annotated[
        w.Pattern | None, says("A regular expression, searched for in its words with a blank between.")
    ] = None
    pid_file: Annotated[w.FilePath | None, says("The file that holds its pid.")] = None


class Container(Block, frozen=True, kw_only=True):
    """Containers of one Compose project, which are all told."""

    one_of: ClassVar[tuple[str, ...]] = ("service", "name", "label")
    service: Annotated[w.Text | None, says("All of its service.")] = None
    name: Annotated[w.Text | None, says("The one that is called so.")] = None
    label: Annotated[w.Text | None, says("All with this label, `KEY` or `KEY=VALUE`.")] = None
    project: Annotated[w.Text | None, says("The Compose project; default: the agent's own.")] = None
    through: Annotated[
        Literal["engine"] | None, says("Signal it through the engine; default: in a shared PID namespace.")
    ] = None


class Http(Block, frozen=True, kw_only=True):
    """A request that tells an app."""

    url: Annotated[w.HttpUrl, says("Where to; any answer of 2xx means that the app was told.")]
    method: Annotated[w.HttpMethod, says("Such as POST or PUT.")] = "POST"
    header_files: Annotated[
        dict[w.HttpHeader, w.FilePath], says("Headers whose values stand in files, such as Authorization.")
    ] = field(default_factory=dict)


class Notify(Block, frozen=True, kw_only=True):
    """How an app is told of a new generation."""

    one_of: ClassVar[tuple[str, ...]] = ("process", "pid_file", "container", "child", "command", "http")
    process: Annotated[Process | None, says("Signal a process.")] = None
    pid_file: Annotated[w.FilePath | None, says("The same as process: {pid_file: …}.")] = None
    container: Annotated[Container | None, says("Signal a container.")] = None
    child: Annotated[w.On | None, says("Signal the child of `lessee exec`.")] = None
    command: Annotated[Command | None, says("Run a command.")] = None
    http: Annotated[w.HttpUrl | Http | None, says("POST to a URL.")] = None
    action: Annotated[w.Action, says("The signal to send, or restart.")] = "SIGHUP"
    grace: Annotated[w.Duration, says("For restart: the time from SIGTERM to SIGKILL.")] = 10.0
    boot_grace: Annotated[w.Duration, says("How long a process that starts may not catch the signal yet.")] = 30.0
    otherwise: Annotated[
        Literal["report", "restart"], says("What to do where the process would die of the signal.")
    ] = "report"
    timeout: Annotated[w.Timeout, says("How long telling may take.")] = 10.0


class Served(Block, frozen=True, kw_only=True):
    """A TLS server, and the certificate that it has to serve."""

    address: Annotated[w.HostPort, says('"host:port".')]
    certificate: Annotated[w.FileName, says("The one of the app's files whose first certificate it is.")]


class Ready(Block, frozen=True, kw_only=True):
    """When an app has taken up a generation; if it does not, the last one comes back."""

    one_of: ClassVar[tuple[str, ...]] = ("http", "tcp", "tls", "command", "file")
    http: Annotated[w.HttpUrl | None, says("A URL that answers with 2xx.")] = None
    tcp: Annotated[w.HostPort | None, says('"host:port" that takes a connection.')] = None
    tls: Annotated[Served | None, says("A TLS server that serves the new certificate.")] = None
    command: Annotated[Command | None, says("A command that ends with 0.")] = None
    file: Annotated[w.FilePath | None, says("A file that is newer than the publish.")] = None
    after: Annotated[w.Duration, says("The time before the first look.")] = 0.5
    within: Annotated[w.Timeout, says("The time it may take.")] = 30.0


class OnExpiry(Block, frozen=True, kw_only=True):
    """A command for a lease that ended while Vault was away."""

    command: Annotated[Command, says("What to run.")]


class Fallback(Block, frozen=True, kw_only=True):
    """Where values come from at a cold start without Vault."""

    one_of: ClassVar[tuple[str, ...]] = ("env", "last_good")
    env: Annotated[
        tuple[w.Variable, ...] | dict[w.SecretPath, dict[w.Text, w.Variable]] | None,
        says("Variables of the agent: of the same names in dotenv files, or {path: {key: VARIABLE}}."),
    ] = None
    last_good: Annotated[
        w.AbsolutePath | None, says("A file that keeps the last secrets, encrypted to this host; it may lie on a disk.")
    ] = None
    max_age: Annotated[w.Timeout | None, says("Of last_good: an older one is refused; default: any age will do.")] = (
        None
    )


class App(Block, frozen=True, kw_only=True):
    """A directory of files, and how to tell their reader."""

    directory: Annotated[w.AbsolutePath, says("Where the files appear, in one step.")]
    owner: Annotated[w.Owner | None, says('"uid:gid" or "uid", in numbers; default: the agent\'s own.')] = None
    mode: Annotated[w.Mode | None, says('The mode of the files; default: "0440".')] = None
    allow_disk: Annotated[w.Switch, says("true lets directory lie outside tmpfs and ramfs.")] = False
    refresh: Annotated[w.Refresh | None, says("For this app, instead of secrets.refresh.")] = None
    files: Annotated[
        Annotated[tuple[File, ...], Meta(min_length=1)] | None, says("The files; absent only with environ.")
    ] = None
    environ: Annotated[w.TemplatePath | None, says("For `lessee exec`: the child's environment.")] = None
    public: Annotated[
        tuple[w.Variable, ...],
        says("Variables such as VITE_API_URL that may take values, though a build gives them to every visitor."),
    ] = ()
    check: Annotated[Command | Check | None, says("Runs on the staged files; non-zero: not published.")] = None
    notify: Annotated[Notify | None, says("How to tell the app; absent: it finds out by itself.")] = None
    ready: Annotated[Ready | None, says("How to see that the app took the files up.")] = None
    on_expiry: Annotated[
        Literal["keep", "remove"] | OnExpiry, says("What to do when a lease ended while Vault was away.")
    ] = "keep"
    fallback: Annotated[Fallback | None, says("For a cold start without Vault; absent: it waits.")] = None
    vault: Annotated[Vault | None, says("An identity of its own, over the top-level block.")] = None
