"""Prepares and applies the change of one MCP client's file, for the commands that wrap its servers."""

from collections.abc import Callable, Mapping, Sequence

from lessee.audit_trail.operator_actions import recorded_action
from lessee.core.errors import DeniedError, LesseeError, UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import boot_time
from lessee.host.user_file import UserFile
from lessee.ops.mcp.config_file import McpConfig
from lessee.ops.mcp.policy import jsonc
from lessee.ops.mcp.policy.diff import lines_with_secrets
from lessee.ops.mcp.policy.editor import rewrite
from lessee.ops.mcp.policy.jsonc import Document
from lessee.ops.mcp.policy.plan import ManualStep, Plan, is_wrapped, plan
from lessee.ops.mcp.policy.secret_detection import SecretDetector
from lessee.ops.mcp.policy.servers import Server, find_servers, launch_command
from lessee.ops.setup.secret_store import store_secrets
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import admin_client

_OTHER_VALUE = "pass another --path, or make the two values equal"


class Wrapping(ImmutableStruct, frozen=True):
    """What becomes of a client's file. Without a `config`, it has no server to wrap."""

    hidden = ("text",)

    planned: Plan
    steps: tuple[ManualStep, ...]
    text: str
    """The new text; the old one, if no server is wrapped."""
    before: tuple[Server, ...]
    after: tuple[Server, ...]
    config: McpConfig | None = None

    def store(self, environ: Mapping[str, str], where: str, report: Callable[[str], None]) -> None:
        """Store the secrets, write the configuration, and verify that each server's environment can be rendered."""
        if self.config is None:
            return
        config = self.config.config
        with admin_client(config.vault, environ, boot_time) as client:
            paths = ", ".join(sorted({server.secret for server in self.planned.wrapped}))
            subject = {"file": where, "paths": paths, "server": config.vault.address}
            with recorded_action(config.audit_trail, environ, "MCP secrets stored", config.environment, **subject):
                fields = {server.secret: server.fields for server in self.planned.wrapped}
                store_secrets(client, config, fields, report, todo=_OTHER_VALUE)
        for written in self.config.write(self.planned.wrapped):
            report(f"+ {written}")
        for app in sorted({server.app for server in self.planned.wrapped}):
            self.config.verify_start(app)
            report(f"{app}: start verified")


def prepare(file: UserFile, detector: SecretDetector, config_of: Callable[[], McpConfig], *, prefix: str) -> Wrapping:
    """Prepare the change. `config_of` is called if there is something to wrap. `prefix`: of the secrets' paths.

    Raises LesseeError, and writes nothing.
    """
    document = jsonc.parse(file.text, file.path.name)
    servers = find_servers(document, file.path.name)
    planned = _without_names(document, file.path.name, servers, detector)
    if not planned.wrapped:
        return Wrapping(planned, planned.manual_steps, file.text, servers, servers)
    config = config_of()
    planned = plan(
        document,
        file.path.name,
        servers,
        detector,
        prefix=_prefix(prefix, config),
        variable=config.variable,
        is_available=config.is_available,
    )
    if not planned.wrapped:
        return Wrapping(planned, planned.manual_steps, file.text, servers, servers)
    config.check_additions(planned.wrapped)
    text = rewrite(document, planned.wrapped, config.launch_options)
    after = jsonc.parse(text, file.path.name)
    steps = (*planned.manual_steps, *_remaining_secrets(after, planned, file))
    return Wrapping(planned, steps, text, servers, _rewritten_servers(after, file, servers, planned), config)


def _without_names(document: Document, source: str, servers: Sequence[Server], detector: SecretDetector) -> Plan:
    """What would be wrapped, under any name: if nothing is, the command needs neither lessee.yaml nor a login."""
    return plan(document, source, servers, detector, prefix="", variable="=", is_available=lambda _app, _template: True)


def _prefix(option: str, config: McpConfig) -> str:
    """The prefix of the secrets' paths, as templates write it."""
    prefix = f"{option.strip('/')}/" if option.strip("/") else ""
    try:
        path_scope_of(config.config).secret(f"{prefix}server")
    except DeniedError as exc:
        raise UsageError(exc.what, where="--path", todo=exc.todo) from None
    if any(char in "\"'\\{}#%*" for char in prefix):
        todo = "write letters, digits, `-`, `_` and `/`"
        raise UsageError(f"{option!r} is not a valid path prefix", where="--path", todo=todo)
    return prefix


def _rewritten_servers(after: Document, file: UserFile, before: Sequence[Server], planned: Plan) -> tuple[Server, ...]:
    """The servers of the new file. Raises LesseeError if the new file is not as planned."""
    servers = find_servers(after, file.path.name)
    wrapped = {server.server.path for server in planned.wrapped}
    for old, new in zip(before, servers, strict=True):
        launch = launch_command(new)
        if old.path in wrapped:
            assert launch is not None
            if is_wrapped(launch.command.value, [arg.value for arg in launch.args]):
                continue
        elif file.text[old.object.start : old.object.end] == after.text[new.object.start : new.object.end]:
            continue
        what = "lessee would rewrite this server incorrectly, so it changed nothing"
        raise LesseeError(what, where=f"{file.path}: {old.path}", todo="please report this")
    return servers


def _remaining_secrets(after: Document, planned: Plan, file: UserFile) -> list[ManualStep]:
    values = [server.fields[name] for server in planned.wrapped for name in server.removed]
    values += [value for server in planned.wrapped for value in server.program.variables.values()]
    what, todo = "the line still contains a moved secret, in a comment or another part of the file", "remove it"
    return [
        ManualStep(f"{file.path.name}:{line} (as rewritten)", what, todo) for line in lines_with_secrets(after, values)
    ]
