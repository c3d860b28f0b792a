"""Plans the change of each server: it is wrapped, remains unchanged, or needs a manual step."""

import re
from collections.abc import Callable, Iterable, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.jsonc import Document, Node, String
from lessee.ops.mcp.policy.program import Program, UnmovableSecretError, program_name, without_secrets
from lessee.ops.mcp.policy.secret_detection import REFERENCE, SecretDetector, Verdict
from lessee.ops.mcp.policy.servers import LaunchCommand, Server, launch_command, printable, strings

IsAvailable = Callable[[str, str], bool]
"""Whether an app may have this name, given its template."""


class WrappedServer(ImmutableStruct, frozen=True):
    """A server that `lessee exec` will start."""

    hidden = ("fields",)

    server: Server
    app: str
    """Its app in lessee.yaml."""
    secret: str
    """The path of its secret, as templates write it."""
    fields: dict[str, str]
    """The fields of that secret."""
    program: Program
    removed: frozenset[str]
    """The variables that are removed from the client's file."""
    template: str
    """The template of its environment."""


class ManualStep(ImmutableStruct, frozen=True):
    """A problem that the operator has to fix."""

    where: str
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.todo}"


class Plan(ImmutableStruct, frozen=True):
    """The changes of a client's file."""

    wrapped: tuple[WrappedServer, ...]
    manual_steps: tuple[ManualStep, ...]
    unchanged: tuple[tuple[Server, str], ...]
    """The servers that remain as they are, and why."""


def plan(
    document: Document,
    source: str,
    servers: Iterable[Server],
    detector: SecretDetector,
    *,
    prefix: str,
    variable: str,
    is_available: IsAvailable,
) -> Plan:
    """Plan the changes. `prefix`: of the secrets' paths. `variable`: passes the app's name to lessee.yaml."""
    planner = _Planner(document, source, detector, prefix, variable, is_available)
    for server in servers:
        planner.plan_server(server)
    planner.check_inputs()
    planner.check_comments()
    return Plan(tuple(planner.wrapped), tuple(planner.manual_steps), tuple(planner.unchanged))


def is_wrapped(command: str, args: Sequence[str]) -> bool:
    """Whether `lessee exec` starts the server already."""
    is_lessee = program_name(command) == "lessee" and args[:1] == ["exec"]
    words = list(args[1:] if args[:1] == ["-EP"] else args)
    return is_lessee or words[:3] == ["-m", "lessee", "exec"]


_AGENT_VARIABLES = ("VAULT_", "BAO_", "LESSEE_")
"""Variables that `lessee exec` does not pass on, so a server that needs one gets it from the template."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ATTRIBUTE = re.compile(r"[A-Z][A-Z0-9_]*")
_MOVE_MANUALLY = "move it to the server's `env`, and run this command again"
_HTTP = (
    "write `${NAME}` instead and start the client with `lessee exec`, use `${input:…}` in VS Code, or reach the server"
    " through a stdio bridge, which can be wrapped"
)


class _Planner:
    def __init__(
        self,
        document: Document,
        source: str,
        detector: SecretDetector,
        prefix: str,
        variable: str,
        is_available: IsAvailable,
    ) -> None:
        self._document = document
        self._source = source
        self._detector = detector
        self._prefix = prefix
        self._variable = variable
        self._is_available = is_available
        self._apps: dict[str, tuple[str, dict[str, str]]] = {}
        self.wrapped: list[WrappedServer] = []
        self.manual_steps: list[ManualStep] = []
        self.unchanged: list[tuple[Server, str]] = []

    def plan_server(self, server: Server) -> None:
        known_steps = len(self.manual_steps)
        launch = launch_command(server)
        if launch is None:
            self._find_secrets("", server.object, server, _HTTP)
            reason = "reached by HTTP" if _has_url(server) else "no command that a client can start"
            self._leave_unchanged(server, reason, known_steps)
            return
        for member in server.object.members:
            if member.key.value not in {"command", "args", "env"}:
                self._find_secrets(member.key.value, member.value, server, _MOVE_MANUALLY)
        args = [arg.value for arg in launch.args]
        if is_wrapped(launch.command.value, args):
            self._find_secrets("", server.object, server, "move it to Vault and to the template of the server's app")
            self._leave_unchanged(server, "already wrapped", known_steps)
            return
        fields = self._secret_variables(server, launch)
        existing = [name.value for name, _ in launch.env]
        try:
            program = without_secrets(launch.command.value, args, existing, self._detector)
        except UnmovableSecretError as exc:
            self._add_step(server, launch.command, str(exc), _MOVE_MANUALLY)
            program = Program((launch.command.value, *args), {})
        for problem in {_environment_problem(value) for value in program.variables.values()} - {""}:
            self._add_step(server, launch.command, f"a secret in `args` {problem}", "correct it")
            program = Program((launch.command.value, *args), {})
        if not fields and not program.variables:
            self._leave_unchanged(server, "contains no secret", known_steps)
            return
        reserved = {
            name.value: value.value
            for name, value in launch.env
            if name.value.startswith(_AGENT_VARIABLES) and isinstance(value, String)
        }
        if replaced := [name for name, value in reserved.items() if REFERENCE.search(value)]:
            what = (
                f"its `env` has {replaced[0]}, a reference, and `lessee exec` does not pass on variables of this name"
            )
            self._add_step(
                server, launch.command, what, "write its value, or let the server read a variable of another name"
            )
            return
        if self._variable in existing and self._variable not in reserved:
            what = f"its `env` has {self._variable}, the variable that lessee.yaml uses to separate its servers"
            self._add_step(server, launch.command, what, "use another variable in `state_dir` of lessee.yaml")
            return
        self._wrap(server, fields | reserved, program)

    def check_comments(self) -> None:
        """A comment, such as a server that is commented out, may contain a secret."""
        for start, end in self._document.comments:
            words = (word.strip("\"',;") for word in self._document.text[start:end].split())
            if any(self._detector.check("", word) is not Verdict.PUBLIC for word in words):
                where = f"{self._source}:{self._document.line(start)}"
                self.manual_steps.append(ManualStep(where, "a comment contains a secret", "remove it"))

    def check_inputs(self) -> None:
        """The `inputs` of VS Code may have secrets as defaults."""
        inputs = self._document.root.get("inputs")
        for key, string in strings(inputs) if inputs is not None else ():
            if key == "default" and self._detector.check("", string.value) is not Verdict.PUBLIC:
                where = f"{self._source}:{self._document.line(string.start)}: inputs"
                self.manual_steps.append(ManualStep(where, "the default of an input is a secret", "remove it"))

    def _secret_variables(self, server: Server, launch: LaunchCommand) -> dict[str, str]:
        fields = {}
        for name, value in launch.env:
            if not isinstance(value, String):
                continue
            verdict = self._detector.check(name.value, value.value)
            if verdict is Verdict.MIXED:
                what = f"{name.value} contains both a secret and a reference that the client replaces"
                self._add_step(server, value, what, "write the whole value as a reference, or without references")
            elif verdict is Verdict.SECRET and (problem := _environment_problem(value.value, name.value)):
                self._add_step(server, value, f"{name.value} {problem}", "correct it")
            elif verdict is Verdict.SECRET:
                fields[name.value] = value.value
        return fields

    def _wrap(self, server: Server, fields: dict[str, str], program: Program) -> None:
        secret_fields = fields | dict(program.variables)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", server.name)[:100].strip("-") or "server"
        app, number = stem, 1
        while True:
            secret = f"{self._prefix}{app}"
            template = _template(server.name, secret, secret_fields)
            same = self._apps.get(app, (template, secret_fields)) == (template, secret_fields)
            if same and self._is_available(app, template):
                break
            number += 1
            app = f"{stem}-{number}"
        self._apps[app] = template, secret_fields
        self.wrapped.append(WrappedServer(server, app, secret, secret_fields, program, frozenset(fields), template))

    def _find_secrets(self, key: str, node: Node, server: Server, todo: str) -> None:
        for name, string in strings(node, key):
            if self._detector.check(name, string.value) is not Verdict.PUBLIC or (
                name == "args" and self._detector.check_argument(string.value) is not Verdict.PUBLIC
            ):
                self._add_step(server, string, f"`{name}` contains a secret", todo)

    def _add_step(self, server: Server, string: String, what: str, todo: str) -> None:
        where = f"{self._source}:{self._document.line(string.start)}: {server.path}"
        self.manual_steps.append(ManualStep(where, printable(what), todo))

    def _leave_unchanged(self, server: Server, reason: str, known_steps: int) -> None:
        if len(self.manual_steps) == known_steps:
            self.unchanged.append((server, reason))


def _has_url(server: Server) -> bool:
    return any(server.object.get(key) is not None for key in ("url", "serverUrl", "httpUrl"))


def _environment_problem(value: str, name: str = "") -> str:
    """Why an environment cannot contain this variable; empty if it can."""
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        return "contains NUL or an unpaired surrogate, which no environment variable can contain"
    return "is not a valid name of an environment variable" if name and not _NAME.fullmatch(name) else ""


def _template(server: str, secret: str, fields: Iterable[str]) -> str:
    title = "".join(char if char.isprintable() and char not in "{}#%" else "?" for char in server)
    lines = [f"# The environment of the MCP server {title}.\n"]
    for name in sorted(fields):
        field = f".{name}" if _ATTRIBUTE.fullmatch(name) else f'["{name}"]'
        lines.append(f'{name}={{{{ secret("{secret}"){field} }}}}\n')
    return "".join(lines)
