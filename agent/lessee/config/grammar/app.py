"""The block `apps.X`: the files of an app, and how the agent notifies the app of new ones."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, Command, describe
from lessee.config.grammar.vault import VaultBlock

Format = Literal[
    "dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker",
    "sh", "systemd", "json", "yaml", "toml", "ini", "ini-interpolation", "properties", "xml", "nginx", "pgpass", "text",
]  # fmt: skip


class FileBlock(Block, frozen=True, kw_only=True):
    """One file that the agent renders for an app."""

    one_of: ClassVar[tuple[str, ...]] = ("template", "contents")
    template: Annotated[
        scalars.TemplatePath | None,
        describe("The path of the template: relative to template_dir, or absolute and in it."),
    ] = None
    contents: Annotated[
        scalars.TemplateText | None,
        describe("The text of the template itself, which then needs `name`. The agent expands no ${…} in it."),
    ] = None
    name: Annotated[
        scalars.FileName | None,
        describe(
            "The name of the file in the app's directory. It may begin with subdirectories, as in tls/server.pem. "
            "Default: the template's name without .j2."
        ),
    ] = None
    format: Annotated[
        Format | None,
        describe("The format of the file, by which the agent quotes values. Default: detected from the file's name."),
    ] = None
    mode: Annotated[scalars.Mode | None, describe('The mode of the file, such as "0440". Default: apps.X.mode.')] = None
    owner: Annotated[
        scalars.Owner | None,
        describe(
            'The owner of the file, "uid:gid" or "user:group"; names are of the agent\'s machine or container. '
            "Default: apps.X.owner."
        ),
    ] = None


class Check(Block, frozen=True, kw_only=True):
    """A command that validates the staged files before the agent publishes them."""

    command: Annotated[
        Command,
        describe(
            "The command and its arguments; no shell interprets them. {directory} is the directory of the staged "
            "files, {file} the only file of the app. If it exits non-zero, the agent does not publish the files."
        ),
    ]
    timeout: Annotated[scalars.Timeout, describe("How long the command may run.")] = 10.0


class ProcessBlock(Block, frozen=True, kw_only=True):
    """A process that the agent signals; it must be visible in the agent's PID namespace."""

    one_of: ClassVar[tuple[str, ...]] = ("name", "cmdline", "pid_file")
    name: Annotated[scalars.Text | None, describe("The name of the process's program, such as nginx.")] = None
    cmdline: Annotated[
        scalars.Pattern | None,
        describe("A regular expression to search for in the process's command line, its arguments joined by spaces."),
    ] = None
    pid_file: Annotated[scalars.FilePath | None, describe("The path of the file that contains the process's PID.")] = (
        None
    )


class ContainerBlock(Block, frozen=True, kw_only=True):
    """The containers of one Compose project that the agent signals or restarts."""

    one_of: ClassVar[tuple[str, ...]] = ("service", "name", "label")
    service: Annotated[scalars.Text | None, describe("The Compose service; the agent notifies all its containers.")] = (
        None
    )
    name: Annotated[scalars.Text | None, describe("The name of a single container.")] = None
    label: Annotated[
        scalars.Text | None, describe("The label of the containers to notify, as `KEY` or `KEY=VALUE`.")
    ] = None
    project: Annotated[
        scalars.Text | None, describe("The Compose project of the containers. Default: the agent's own project.")
    ] = None
    through: Annotated[
        Literal["engine"] | None,
        describe(
            "`engine` sends the signal through the container engine's API. Default: through a shared PID namespace."
        ),
    ] = None


class HttpBlock(Block, frozen=True, kw_only=True):
    """The HTTP request that notifies an app."""

    url: Annotated[scalars.HttpUrl, describe("The URL of the request. Any 2xx status counts as success.")]
    method: Annotated[scalars.HttpMethod, describe("The HTTP method, such as POST or PUT.")] = "POST"
    header_files: Annotated[
        dict[scalars.HttpHeader, scalars.FilePath],
        describe("HTTP headers, each with the path of the file that contains its value, such as Authorization."),
    ] = field(default_factory=dict)


class NotifyBlock(Block, frozen=True, kw_only=True):
    """How the agent notifies an app of a new generation of its files."""

    one_of: ClassVar[tuple[str, ...]] = ("process", "pid_file", "container", "child", "command", "http")
    process: Annotated[ProcessBlock | None, describe("Signal or restart a process.")] = None
    pid_file: Annotated[
        scalars.FilePath | None,
        describe("Signal or restart the process whose PID is in this file; short for `process: {pid_file: …}`."),
    ] = None
    container: Annotated[ContainerBlock | None, describe("Signal or restart containers.")] = None
    child: Annotated[scalars.OnlyTrue | None, describe("true signals or restarts the child of `lessee exec`.")] = None
    command: Annotated[
        Command | None, describe("Run a command; exit code 0 counts as success. No shell interprets it.")
    ] = None
    http: Annotated[scalars.HttpUrl | HttpBlock | None, describe("Send an HTTP request; a plain URL gets a POST.")] = (
        None
    )
    uid: Annotated[
        scalars.Uid | None,
        describe(
            "The uid of the process to signal, in numbers. Default: the app's, which is the owner of its files or a "
            "member of their group. A process of another uid gets no signal."
        ),
    ] = None
    action: Annotated[scalars.Action, describe("The signal to send, such as SIGHUP, or restart.")] = "SIGHUP"
    stop_grace_period: Annotated[
        scalars.Duration, describe("On a restart: how long the process has between `stop_signal` and SIGKILL.")
    ] = 10.0
    stop_signal: Annotated[
        scalars.Signal,
        describe(
            "On a restart: the signal that ends the process, such as SIGQUIT for nginx and SIGINT for PostgreSQL. A "
            "container has its own."
        ),
    ] = "SIGTERM"
    start_period: Annotated[
        scalars.Duration,
        describe("How long the agent waits for a process that has just started to install its signal handler."),
    ] = 30.0
    on_unhandled_signal: Annotated[
        Literal["report", "restart"],
        describe(
            "What the agent does if the process has no handler and the signal would end it: report it, or restart."
        ),
    ] = "report"
    timeout: Annotated[scalars.Timeout, describe("How long a notification may take, such as a command or request.")] = (
        10.0
    )


class TlsEndpoint(Block, frozen=True, kw_only=True):
    """A TLS server that must serve a new certificate."""

    address: Annotated[scalars.HostPort, describe('The address of the TLS server, as "host:port".')]
    certificate: Annotated[
        scalars.FileName, describe("The name of the app's file whose first certificate the server must serve.")
    ]


class ReadyBlock(Block, frozen=True, kw_only=True):
    """The readiness probe: if the app does not become ready, the agent restores the previous generation."""

    one_of: ClassVar[tuple[str, ...]] = ("http", "tcp", "tls", "command", "file")
    http: Annotated[scalars.HttpUrl | None, describe("The app is ready if this URL returns a 2xx status.")] = None
    tcp: Annotated[
        scalars.HostPort | None, describe('The app is ready if this address, "host:port", accepts a TCP connection.')
    ] = None
    tls: Annotated[TlsEndpoint | None, describe("The app is ready if this TLS server serves the new certificate.")] = (
        None
    )
    command: Annotated[Command | None, describe("The app is ready if this command exits with code 0.")] = None
    file: Annotated[
        scalars.FilePath | None, describe("The app is ready if this file was modified after the agent published.")
    ] = None
    initial_delay: Annotated[scalars.Duration, describe("The time from the notification to the first probe.")] = 0.5
    timeout: Annotated[
        scalars.Timeout, describe("The time from the notification within which the app must become ready.")
    ] = 30.0


class OnExpiry(Block, frozen=True, kw_only=True):
    """The command that the agent runs if a lease expires while Vault is unavailable."""

    command: Annotated[Command, describe("The command and its arguments; no shell interprets them.")]


class FallbackBlock(Block, frozen=True, kw_only=True):
    """The source of an app's values if Vault is unavailable when the agent starts and nothing is published."""

    one_of: ClassVar[tuple[str, ...]] = ("env", "last_known_good")
    env: Annotated[
        tuple[scalars.Variable, ...] | dict[scalars.SecretPath, dict[scalars.Text, scalars.Variable]] | None,
        describe(
            "Take values from the agent's environment: a list of variables, which have the same names in dotenv files, "
            "or secrets as {PATH: {KEY: VARIABLE}}."
        ),
    ] = None
    last_known_good: Annotated[
        scalars.AbsolutePath | None,
        describe(
            "Store the secrets of the last generation in this file, and take values from it. The agent encrypts the "
            "file for this host, so it may be on a disk."
        ),
    ] = None
    max_age: Annotated[
        scalars.Timeout | None,
        describe("The maximum age of the last_known_good file; the agent rejects an older one. Default: no limit."),
    ] = None


class LabeledContainer(Block, frozen=True, kw_only=True):
    """Containers of a Compose service, or with a label, as the engine itself reports it."""

    project: Annotated[scalars.Name | None, describe("The Compose project: the label com.docker.compose.project.")] = (
        None
    )
    service: Annotated[scalars.Name | None, describe("The service in it: the label com.docker.compose.service.")] = None
    label: Annotated[
        scalars.Label | None,
        describe("A further label, KEY=VALUE, or the only one for containers that Compose has not created."),
    ] = None


class SocketBlock(Block, frozen=True, kw_only=True):
    """A Unix socket at which an app reads what its templates may read, and nothing else."""

    path: Annotated[
        scalars.AbsolutePath, describe("The path of the socket, outside of the app's directory and state_dir.")
    ]
    uids: Annotated[
        tuple[scalars.Uid, ...] | None,
        describe(
            "The uids of the processes that may read, in numbers. Root has no other right than its own uid. Default: "
            "the owner of the app's files."
        ),
    ] = None
    gids: Annotated[
        tuple[scalars.Uid, ...], describe("The gids whose members may read too, in numbers. Default: none.")
    ] = ()
    containers: Annotated[
        tuple[LabeledContainer, ...],
        describe(
            "The containers whose processes may read, if they have one of the uids or gids too. The agent needs the "
            "engine's socket, and the PID namespace of the host. Default: any process that reaches the socket."
        ),
    ] = ()
    listen: Annotated[
        scalars.HostPort | None,
        describe(
            'An address on loopback at which the app may read too, such as "127.0.0.1:8300", for clients without Unix '
            "sockets. Default: none."
        ),
    ] = None
    token_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the file with the token that clients of `listen` send. Required with `listen`."),
    ] = None


class CredentialsBlock(Block, frozen=True, kw_only=True):
    """A Unix socket from which systemd reads the app's files, as the credentials of a unit."""

    socket: Annotated[
        scalars.AbsolutePath,
        describe(
            "The path of the socket for `LoadCredential=NAME:PATH`, outside of the app's directory and state_dir. NAME "
            "is that of a file of the app."
        ),
    ]
    units: Annotated[
        Annotated[tuple[scalars.Unit, ...], Meta(min_length=1)],
        describe("The units that get the files, such as web.service. No other unit gets one."),
    ]


class AppBlock(Block, frozen=True, kw_only=True):
    """An app: the directory in which the agent publishes its files, and how the agent notifies it."""

    directory: Annotated[
        scalars.AbsolutePath,
        describe("The directory in which the agent publishes the files, all in one atomic step. It must be on tmpfs."),
    ]
    owner: Annotated[
        scalars.Owner | None,
        describe(
            'The owner of the files, "uid:gid" or "user:group"; names are of the agent\'s machine or container. '
            "Default: the agent's user and group."
        ),
    ] = None
    mode: Annotated[scalars.Mode | None, describe('The mode of the files. Default: "0440".')] = None
    allow_disk: Annotated[scalars.Boolean, describe("true allows a directory outside tmpfs and ramfs.")] = False
    refresh_interval: Annotated[
        scalars.RefreshInterval | None,
        describe("How often the agent checks the app's KV secrets for changes. Default: secrets.refresh_interval."),
    ] = None
    files: Annotated[
        Annotated[tuple[FileBlock, ...], Meta(min_length=1)] | None,
        describe("The files to render. Required unless env_template or env is set."),
    ] = None
    env_template: Annotated[
        scalars.TemplatePath | None,
        describe("The template of the environment that `lessee exec` gives its child, in dotenv format."),
    ] = None
    env: Annotated[
        dict[scalars.Variable, scalars.EnvValue],
        describe(
            "Variables with references such as ref+openbao://database/postgres#password in their values. The agent "
            "renders them to env_file; `lessee exec` gives them to its child."
        ),
    ] = field(default_factory=dict)
    env_file: Annotated[
        scalars.FileName | None,
        describe(
            "The name of the file with the variables of env, in dotenv format or, as *.sh, for a shell. Default: "
            "env.sh under `lessee run`, no file under `lessee exec`."
        ),
    ] = None
    public_variables: Annotated[
        tuple[scalars.Variable, ...],
        describe(
            "Variables that may contain values from Vault although a frontend build exposes them to every visitor, "
            "such as VITE_API_URL."
        ),
    ] = ()
    check: Annotated[
        Command | Check | None,
        describe("A command that validates the staged files. If it exits non-zero, the agent does not publish them."),
    ] = None
    notify: Annotated[
        NotifyBlock | None,
        describe("How the agent notifies the app of new files. Default: no notification; the app rereads its files."),
    ] = None
    ready: Annotated[
        ReadyBlock | None,
        describe("The probe that shows that the app has loaded the new files. Default: ready once notified."),
    ] = None
    socket: Annotated[
        scalars.AbsolutePath | SocketBlock | None,
        describe(
            "A Unix socket at which the app reads its files and secrets, also by Vault's own API; a plain path is "
            "short for `{path: …}`. Default: none."
        ),
    ] = None
    credentials: Annotated[
        CredentialsBlock | None,
        describe("A Unix socket from which systemd reads the app's files, by LoadCredential=. Default: none."),
    ] = None
    on_expiry: Annotated[
        Literal["keep", "remove"] | OnExpiry,
        describe(
            "What the agent does with the files if one of their leases expires while Vault is unavailable: keep them, "
            "remove them, or run a command."
        ),
    ] = "keep"
    fallback: Annotated[
        FallbackBlock | None,
        describe(
            "The source of values if Vault is unavailable when the agent starts and nothing is published. "
            "Default: the agent waits for Vault."
        ),
    ] = None
    vault: Annotated[
        VaultBlock | None,
        describe("A Vault login of the app's own. Keys that it omits are inherited from the top-level vault block."),
    ] = None
