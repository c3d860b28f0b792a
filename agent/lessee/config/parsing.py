"""Parses the text of lessee.yaml into a Config."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, get_args

from msgspec.structs import replace

from lessee import config
from lessee.config import Config
from lessee.config.apps import Apps, FindId, any_name
from lessee.config.grammar import Lessee, StatusBlock
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.config.grammar.nodes import compose, entries_of
from lessee.config.grammar.problems import Problems
from lessee.config.grammar.reader import Reader
from lessee.config.grammar.validate import Provider, Validate
from lessee.config.logins import Logins
from lessee.config.resolution import Resolution, contains
from lessee.core.errors import ConfigError
from lessee.core.variables import VariableScope

if TYPE_CHECKING:
    from lessee.config.grammar.labels import LabeledApp


def parse(  # noqa: PLR0913  # Each command sets two or three of them.
    text: str,
    *,
    source: str,
    environ: Mapping[str, str],
    for_child: bool = False,
    environment: str | None = None,
    blocks: Collection[str] = (),
    refused: dict[str, ConfigError] | None = None,
    load_model: Callable[[str], str] | None = None,
    checks_operators: bool = False,
    find_id: FindId = any_name,
) -> Config:
    """The configuration, with all defaults filled in.

    `source` is the name of the file in errors. `for_child`: `lessee exec` reads the file. `environment` overrides the
    file's. `blocks` are the operator blocks that the command uses: only in these, variables are expanded.
    `checks_operators`: also the responses of a monitor and the roles of `issue`, whose blocks the command does not use.
    `refused` receives the problems of single apps, which are then missing in the result; by default they are problems
    of the file. `load_model` returns the text of the Compose model whose name `compose.file` is, or raises ConfigError;
    without it, the labels have no apps. `find_id` returns the number of a user or group of this machine; by default,
    any name is valid. Raises ConfigError with all problems of the file, in the order of their lines.
    """
    problems = Problems(source)
    reader = Reader(problems, environ, blocks)
    file = reader.read(compose(text, source))
    if environment is not None:
        file = replace(file, environment=environment)
    labeled: Mapping[str, LabeledApp] = {}
    if file.compose is not None and load_model is not None:
        # Imported on use: few configurations have apps of labels.
        from lessee.config.labels import with_labeled_apps  # noqa: PLC0415

        file, labeled = with_labeled_apps(file, file.compose, load_model(file.compose.file), reader, problems)
    resolved = _resolve(
        Resolution(file, reader.values, problems, environ), for_child=for_child, labeled=labeled, find_id=find_id
    )
    if blocks or checks_operators:
        _check_operator_blocks(file, resolved, problems, blocks, checks_operators=checks_operators)
    if refused is not None:
        refused.update(problems.take_apps())
        resolved = replace(resolved, apps={name: app for name, app in resolved.apps.items() if name not in refused})
    problems.raise_all()
    return resolved


def _check_operator_blocks(
    file: Lessee, resolved: Config, problems: Problems, blocks: Collection[str], *, checks_operators: bool
) -> None:
    # Imported on use: the sidecar checks none of them.
    if "setup" in blocks:
        from lessee.config.setup import check_setup  # noqa: PLC0415

        check_setup(file, problems)
    if file.monitor is not None and ("monitor" in blocks or checks_operators):
        from lessee.config.monitor import check_monitor, check_responses  # noqa: PLC0415

        (check_monitor if "monitor" in blocks else check_responses)(file.monitor, problems)
    if file.issue is not None and ("issue" in blocks or checks_operators):
        from lessee.config.issue import check_issue  # noqa: PLC0415

        check_issue(file.issue, problems)
    if "rotation" in blocks:
        from lessee.config.rotation import check_rotation  # noqa: PLC0415

        check_rotation(resolved, problems)


def environments(text: str, *, source: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """`setup.environments`, even of a file with problems. Raises ConfigError if the file is not a YAML mapping."""
    return Reader(Problems(source), environ).read(compose(text, source)).setup.environments


def has_block(text: str, name: str, *, source: str) -> bool:
    """Whether the file has this block, even an empty one. Raises ConfigError if the file is not a YAML mapping."""
    return name in entries_of(compose(text, source)).nodes


def _resolve(
    resolution: Resolution, *, for_child: bool, labeled: "Mapping[str, LabeledApp]", find_id: FindId
) -> Config:
    """Fill in what the grammar leaves open: defaults, inheritance, and checks that involve several keys."""
    file = resolution.file
    logins = Logins(resolution)
    apps = Apps(resolution, logins, for_child=for_child, labeled=labeled, find_id=find_id)
    resolved = apps.resolve()
    return Config(
        environment=resolution.environment,
        foreign_environments=resolution.foreign,
        vault=logins.vault,
        secrets=logins.secrets,
        identities=logins.identities,
        sources=logins.sources,
        state_dir=file.state_dir,
        status=config.Status(
            socket=file.status.socket or f"{file.state_dir}/status.sock",
            listen=_listener(file.status, resolution.problems),
        ),
        events=_events(resolution),
        on_stop=file.leases.on_stop,
        restart=file.exec.restart,
        programs=file.programs,
        child_user=file.exec.user,
        template_dir=file.template_dir,
        template_env=_template_env(resolution),
        allow_disk=file.allow_disk,
        apps=resolved,
        inline_templates=apps.inline_templates,
        compose_file=file.compose.file if file.compose is not None else None,
        labeled_apps={name: config.LabeledApp(app.service, app.source, app.line) for name, app in labeled.items()},
        setup=file.setup,
        rotation=file.rotation,
        validate=_validate(resolution),
        audit_trail=_audit_trail(resolution),
        backup=file.backup,
        drill=file.drill,
        monitor=file.monitor,
        issue=file.issue,
    )


def _listener(block: StatusBlock, problems: Problems) -> config.Listen | None:
    if block == StatusBlock(socket=block.socket):
        return None
    from lessee.config.status import resolve_listener  # noqa: PLC0415  # Few configurations have a port.

    return resolve_listener(block, problems)


def _template_env(resolution: Resolution) -> frozenset[str] | None:
    scope = VariableScope()
    for path, name in resolution.items(("template_env",), str):
        if scope.is_of_agent(name):
            resolution.problems.add_dependent(path, f"{name} is a variable of the agent's own", todo="remove it")
    return frozenset(resolution.file.template_env) if resolution.file.template_env is not None else None


def _events(resolution: Resolution) -> config.Events | None:
    block = resolution.file.events
    if block is None or (block.redis is None and block.socket is None and block.vault is None):
        if block is not None:
            what = "expected `redis`, `socket` or `vault`, found none"
            todo = "name where `lessee monitor` publishes, or write `vault: auto` for Vault Enterprise"
            resolution.problems.add_dependent(("events",), what, todo=todo)
        return None
    if block.redis is not None and block.socket is not None:
        what = "`redis` is set too, and both deliver the same events"
        resolution.problems.add_dependent(("events", "socket"), what, todo="remove one of them")
    # The monitor publishes everything that Vault's stream does, and to every identity.
    vault = block.redis is None and block.socket is None
    return config.Events(
        redis=block.redis,
        socket=block.socket,
        vault=vault,
        poll_interval=block.poll_interval,
        jitter=block.jitter,
    )


def _audit_trail(resolution: Resolution) -> AuditTrail | None:
    block = resolution.file.audit_trail
    if block is not None and contains(block.directory, block.key_file):
        what = "the key is in the directory of the audit trail"
        todo = "move it to where a process that may write the audit trail cannot change it"
        resolution.problems.add_dependent(("audit_trail", "key_file"), what, todo=todo)
    return block


def _validate(resolution: Resolution) -> Validate:
    for name, block in resolution.file.validate.api_keys.items():
        if block.provider is None and name not in get_args(Provider):
            todo = f"write `provider:` with one of {', '.join(get_args(Provider))}"
            path = ("validate", "api_keys", name, "provider")
            resolution.problems.add_dependent(path, f"missing, and {name!r} is not a known provider", todo=todo)
    return resolution.file.validate
