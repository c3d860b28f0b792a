"""A Compose project as `lessee adopt` sees it, and the plan for it: what each part of the command gives to the next.

project files and `docker compose config` → Project → Uses with verdicts → Plan → texts of files → applied, or undone.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from urllib.parse import quote

from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.use_names import ServiceField, kind_of
from lessee.ops.scan.policy.classifier import Verdict


class Origin(Enum):
    """Where Compose takes a value from."""

    COMPOSE = "compose"
    """A literal in a Compose file."""
    ENV_FILE = "env_file"
    """A file that the service names in `env_file`."""
    PROJECT_ENV = "project_env"
    """The project's `.env`, or a file of `--env-file`, through `${NAME}` in a Compose file."""
    DEFAULT = "default"
    """The default in `${NAME:-default}`, in a Compose file."""
    SECRET_FILE = "secret_file"  # noqa: S105
    """A file of Compose's own `secrets:`, whole."""
    SHELL = "shell"
    """The environment of `docker compose` alone: no file has it."""


class Span(ImmutableStruct, frozen=True):
    """The place of a value in a file: its bytes from `start` to before `end`, in the first of `line`, from 1 on.

    `file` is relative to the project's folder where it is below it. The bytes are those between the quotes, if there
    are any. Those of a block (`|`, `>`) begin at its indicator.
    """

    file: str
    line: int
    start: int
    end: int
    style: str = ""
    """`'`, `"`, `|` or `>`; empty: without quotes."""


class Source(ImmutableStruct, frozen=True):
    """One place that Compose takes a value from. `name`: the variable there, which `${…}` may name otherwise."""

    hidden = ("text",)

    origin: Origin
    name: str
    span: Span | None = None
    """None: no file of the project has it."""
    text: str = ""
    """What the place says, with `${…}` unresolved."""


class Use(ImmutableStruct, frozen=True):
    """A value that a service is given.

    `name` is the variable in `environment`. Other fields have a path: `command[2]`, `labels.NAME`, `build.args.NAME`,
    `healthcheck.test[1]`, `secrets.NAME`, `configs.NAME`. `use_names` says what it means.
    """

    hidden = ("value",)

    service: str
    name: str
    value: str
    """As the container gets it, after interpolation."""
    sources: tuple[Source, ...]
    """All places whose plaintext becomes (a part of) the value; also those that a later file overrides."""
    verdict: Verdict = Verdict.PLAIN
    rule: str = ""
    """The rule of the verdict, as `lessee scan` names it, or one of adopt's own."""
    is_placeholder: bool = False
    end: str = ""
    """The newline that a file of one line has after the value; the service gets it too."""

    @property
    def kind(self) -> ServiceField:
        """The field of the service."""
        return kind_of(self.name)

    @property
    def is_variable(self) -> bool:
        """Whether it is a variable of the service's environment."""
        return self.kind is ServiceField.VARIABLE


class Image(ImmutableStruct, frozen=True):
    """What is known of a service's image, from the Engine, from its Dockerfile, or of its name."""

    reference: str
    """`postgres:17-alpine`; of an image that Compose builds, the tag that it gets."""
    entrypoint: tuple[str, ...] | None = None
    """None: not known; empty: it has none."""
    command: tuple[str, ...] | None = None
    user: str = ""
    """As the image names it; empty: root, or not known."""
    uid: int | None = None
    gid: int | None = None
    """The numbers of the user that the program runs as at last, if they are known (postgres: 999, or 70 on Alpine)."""
    numbers_of: str = ""
    """The `user:` of the service, with its group, that they are of; empty: they are of the image's own user."""
    shell_path: str | None = None
    """The path of a POSIX shell; empty: it has none; None: not known."""
    healthcheck: tuple[str, ...] = ()
    """Its own test, as `CMD …` or `CMD-SHELL …`; empty: it has none, or it is not known."""
    stop_signal: str = ""
    """As the image has it: `SIGQUIT`, `QUIT` or `3`; empty: SIGTERM, or it is not known."""


class Service(ImmutableStruct, frozen=True):
    """A service of the resolved project."""

    hidden = ("entrypoint", "command", "healthcheck", "other")

    name: str
    image: Image
    entrypoint: tuple[str, ...] | None = None
    """As the project sets it; None: the image's."""
    command: tuple[str, ...] | None = None
    user: str | None = None
    restart: str | None = None
    networks: tuple[str, ...] = ()
    network_mode: str | None = None
    pid: str | None = None
    replicas: int = 1
    stop_grace_period: str | None = None
    """As Compose writes it: `1m30s`."""
    stop_signal: str | None = None
    """As the project sets it; None: the image's."""
    healthcheck: tuple[str, ...] = ()
    """The test that the project sets; empty: the image's. `NONE` disables that."""
    runs_once: bool = False
    """Another service waits for it with `service_completed_successfully`, or it has `restart: "no"` in the project."""
    secrets: tuple[tuple[str, str], ...] = ()
    """Its Compose secrets: the name, and the path in the container."""
    depends_on: tuple[str, ...] = ()
    build_context: str | None = None
    """The folder that its image is built from, relative to the project's folder."""
    dockerfile: str = "Dockerfile"
    """Relative to that folder, or absolute."""
    build_target: str = ""
    """The stage that is built; empty: the last."""
    other: tuple[tuple[str, str], ...] = ()
    """All texts of it that are no uses, by their paths: `hostname`, `logging.options.tag`."""


class Project(ImmutableStruct, frozen=True):
    """The project as `docker compose` resolves it, with all profiles."""

    name: str
    folder: str
    files: tuple[str, ...]
    """Its Compose files in order, relative to `folder`; with those that they include or extend."""
    services: Mapping[str, Service]
    uses: tuple[Use, ...]
    project_env: tuple[str, ...] = ()
    """The files that `${…}` is interpolated from; usually `.env`."""
    inputs: tuple[str, ...] = ()
    """All files that it was read from: these, and those of `env_file` and `secrets`."""


class ManualStep(ImmutableStruct, frozen=True):
    """What is left to a person: the exit code is then 75. `where` is `FILE:LINE` or a service."""

    where: str
    what: str
    todo: str
    needs_image: bool = False
    """Whether it is there because something of an image is not known."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.todo}"


class StoredField(ImmutableStruct, frozen=True):
    """A field of a secret in Vault, and the uses that get it (an equal value of the same meaning is stored once)."""

    hidden = ("value",)

    path: str
    """Below the environment's prefix: `database/postgres`."""
    field: str
    value: str
    uses: tuple[tuple[str, str], ...]
    """(service, name) of each use."""


class AdoptedField(ImmutableStruct, frozen=True):
    """A field of a secret in Vault, and the uses (service, name) that get it; never its value."""

    path: str
    field: str
    uses: tuple[tuple[str, str], ...]


class Part(ImmutableStruct, frozen=True):
    """A part of a value as a template writes it: text, or a field of a secret.

    `is_url_part`: the field's value is percent-encoded, as a part of a URL.
    """

    hidden = ("text",)

    text: str = ""
    path: str = ""
    field: str = ""
    is_url_part: bool = False


def text_of(parts: Iterable[Part], values: Mapping[tuple[str, str], str]) -> str | None:
    """What a template renders of these parts, with the `values` by path and field; None: one of them is missing."""
    texts = []
    for part in parts:
        if part.path and (part.path, part.field) not in values:
            return None
        value = values[part.path, part.field] if part.path else part.text
        texts.append(quote(value, safe="") if part.is_url_part else value)
    return "".join(texts)


class Rendered(ImmutableStruct, frozen=True):
    """A value of a service, in parts: `postgres://` + user + `:` + password + `@db/app`."""

    service: str
    name: str
    parts: tuple[Part, ...]

    @property
    def kind(self) -> ServiceField:
        """The field of the service."""
        return kind_of(self.name)


class Delivery(Enum):
    """How a service gets its secrets."""

    VARIABLE_FILE = "variable_file"
    """The image reads `NAME_FILE` (or `NAME__FILE`): one file for each secret, without a newline at its end."""
    LAUNCHER = "launcher"
    """A shell in the container reads the rendered file, exports its variables, and starts the program in its place."""
    NOTHING = "nothing"
    """It cannot be done without a person: there is a manual step."""


class Notification(ImmutableStruct, frozen=True):
    """How an app is notified: by `restart` or a signal to the process that its launcher has become.

    That process is in a file of the launcher, because many programs write another title over their command line, and
    because two services may have the same. None in `AppPlan`: it reads its secret at its first start only.
    """

    action: str
    uid: int | None = None
    """The uid that the program changes to, where its files belong to another group; None: that of its files."""


class AppPlan(ImmutableStruct, frozen=True):
    """An app of lessee.yaml: one for each service that gets a secret. It has the service's name."""

    service: str
    delivery: Delivery
    rendered: tuple[Rendered, ...]
    """All values that a template of it writes."""
    owner_gid: int
    """The group of its files: that of the user which the program runs as."""
    notification: Notification | None
    directory: str = ""
    """In the container: `/run/secrets/SERVICE`, or `/run/secrets` where it replaces Compose's own secrets."""


class Edit(ImmutableStruct, frozen=True):
    """Plaintext taken out of a file of the user: the bytes of `span` become `text`."""

    span: Span
    text: str


class Deployment(ImmutableStruct, frozen=True):
    """How the containers that adopt adds are started, and reach Vault."""

    vault_address: str
    """As a container reaches it: `https://host.docker.internal:8200` for a server on this machine."""
    ca_file: bool = False
    """Whether `lessee/ca.pem` has the CA certificates that verify Vault's."""
    namespace: str = ""
    insecure_http: bool = False
    image: str = "lessee"
    folder: str = "lessee"
    """Of lessee.yaml and `templates/`, relative to the Compose file."""
    labels: bool = False
    """Whether the apps are labels of their services."""
    identity: str = ".lessee/identity"
    """Of ENVIRONMENT/ROLE/{role_id,secret_id}, as `lessee setup --output` writes them."""


class Plan(ImmutableStruct, frozen=True):
    """All that `lessee adopt` will do, in the order in which it does it."""

    project: Project
    environment: str
    secrets: tuple[StoredField, ...]
    apps: tuple[AppPlan, ...]
    edits: tuple[Edit, ...]
    manual_steps: tuple[ManualStep, ...]
