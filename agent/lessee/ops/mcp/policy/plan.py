"""What becomes of each server: it is wrapped, it holds no secret, or something in it is left to a person."""

import re
from collections.abc import Callable, Iterable, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.jsonc import Document, Text
from lessee.ops.mcp.policy.program import CannotWrapError, Program, name_of, without_secrets
from lessee.ops.mcp.policy.secret_detection import Judge, Verdict
from lessee.ops.mcp.policy.servers import Server, Words, printable, texts, words

IsFree = Callable[[str, str], bool]
"""Whether an app can be called so, given its template."""


class Wrapped(ImmutableStruct, frozen=True):
    """A server that is to be started by `lessee exec`."""

    hidden = ("fields",)

    server: Server
    app: str
    """Its name in lessee.yaml."""
    secret: str
    """Its secret's path, as templates have it."""
    fields: dict[str, str]
    """What moves into that secret."""
    program: Program
    removed: frozenset[str]
    """Variables that go out of the file."""
    template: str
    """The text of its environment's template."""


class Left(ImmutableStruct, frozen=True):
    """What a person has to do, and where."""

    where: str
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.todo}"


class Plan(ImmutableStruct, frozen=True):
    """All of it."""

    wrapped: tuple[Wrapped, ...]
    left: tuple[Left, ...]
    quiet: tuple[tuple[Server, str], ...]
    """Servers in which nothing is to be done, and why."""


def plan(
    document: Document,
    source: str,
    servers: Iterable[Server],
    judge: Judge,
    *,
    prefix: str,
    variable: str,
    is_free: IsFree,
) -> Plan:
    """`prefix`: the folder of the secrets. `variable`: tells lessee which server it starts."""
    planning = _Planning(document, source, judge, prefix, variable, is_free)
    for server in servers:
        planning.take(server)
    planning.look_at_inputs()
    planning.look_at_comments()
    return Plan(tuple(planning.wrapped), tuple(planning.left), tuple(planning.quiet))


def is_wrapped(command: str, args: Sequence[str]) -> bool:
    """Whether `lessee exec` starts it already."""
    own = name_of(command) == "lessee" and args[:1] == ["exec"]
    words = list(args[1:] if args[:1] == ["-EP"] else args)
    return own or words[:3] == ["-m", "lessee", "exec"]


_AGENTS_OWN = ("VAULT_", "BAO_", "LESSEE_")
"""What `lessee exec` keeps to itself: a server that wants such a variable has it from the template."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Z][A-Z0-9_]*")
_BY_HAND = "move it by hand: into the server's environment, and from there into Vault"
_HTTP = (
    "write `${NAME}` there and start the client under `lessee exec`, `${input:…}` in VS Code, or reach the server"
    " through a bridge on stdio, which can be wrapped"
)


class _Planning:
    def __init__(
        self, document: Document, source: str, judge: Judge, prefix: str, variable: str, is_free: IsFree
    ) -> None:
        self._document = document
        self._source = source
        self._judge = judge
        self._prefix = prefix
        self._variable = variable
        self._is_free = is_free
        self._apps: dict[str, tuple[str, dict[str, str]]] = {}
        self.wrapped: list[Wrapped] = []
        self.left: list[Left] = []
        self.quiet: list[tuple[Server, str]] = []

    def take(self, server: Server) -> None:
        before = len(self.left)
        found = words(server)
        if found is None:
            self._look_at("", server.object, server, _HTTP)
            self._be_quiet(server, "reached by HTTP" if _url(server) else "nothing that a client starts", before)
            return
        for member in server.object.members:
            if member.key.value not in {"command", "args", "env"}:
                self._look_at(member.key.value, member.value, server, _BY_HAND)
        args = [arg.value for arg in found.args]
        if is_wrapped(found.command.value, args):
            self._look_at("", server.object, server, "write it into the template of its app, and into Vault")
            self._be_quiet(server, "wrapped already", before)
            return
        fields = self._environment(server, found)
        taken = [name.value for name, _ in found.env]
        try:
            program = without_secrets(found.command.value, args, taken, self._judge)
        except CannotWrapError as exc:
            self._leave(server, found.command, str(exc), _BY_HAND)
            program = Program((found.command.value, *args), {})
        for misfit in {_misfit(value) for value in program.variables.values()} - {""}:
            self._leave(server, found.command, f"a secret in an argument {misfit}", _BY_HAND)
            program = Program((found.command.value, *args), {})
        if not fields and not program.variables:
            self._be_quiet(server, "holds no secret", before)
            return
        own = {
            name.value: value.value
            for name, value in found.env
            if name.value.startswith(_AGENTS_OWN) and isinstance(value, Text)
        }
        if self._variable in taken and self._variable not in own:
            what = f"it has a variable {self._variable} of its own, by which lessee tells its servers apart"
            self._leave(server, found.command, what, "take another name in `state` of lessee.yaml")
            return
        self._wrap(server, fields | own, program)

    def look_at_comments(self) -> None:
        """A server that is commented out may have its secrets still."""
        for start, end in self._document.comments:
            parts = (part.strip("\"',;") for part in self._document.text[start:end].split())
            if any(self._judge.of("", part) is not Verdict.LEAVE for part in parts):
                where = f"{self._source}:{self._document.line(start)}"
                self.left.append(Left(where, "a secret stands in a comment", "take it out"))

    def look_at_inputs(self) -> None:
        """VS Code's `inputs` may have defaults."""
        inputs = self._document.root.get("inputs")
        for key, text in texts(inputs) if inputs is not None else ():
            if key == "default" and self._judge.of("", text.value) is not Verdict.LEAVE:
                where = f"{self._source}:{self._document.line(text.start)}: inputs"
                self.left.append(Left(where, "the default of an input is a secret", "take it out"))

    def _environment(self, server: Server, found: Words) -> dict[str, str]:
        fields = {}
        for name, value in found.env:
            if not isinstance(value, Text):
                continue
            verdict = self._judge.of(name.value, value.value)
            if verdict is Verdict.MIXED:
                todo = "write all of it as references, or all of it out"
                self._leave(server, value, f"{name.value} mixes a secret with what the client puts in", todo)
            elif verdict is Verdict.MOVE and (misfit := _misfit(value.value, name.value)):
                self._leave(server, value, f"{name.value} {misfit}", "mend it")
            elif verdict is Verdict.MOVE:
                fields[name.value] = value.value
        return fields

    def _wrap(self, server: Server, fields: dict[str, str], program: Program) -> None:
        moved = fields | dict(program.variables)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", server.name)[:100].strip("-") or "server"
        app, number = stem, 1
        while True:
            secret = f"{self._prefix}{app}"
            template = _template(server.name, secret, moved)
            if self._apps.get(app, (template, moved)) == (template, moved) and self._is_free(app, template):
                break
            number += 1
            app = f"{stem}-{number}"
        self._apps[app] = template, moved
        self.wrapped.append(Wrapped(server, app, secret, moved, program, frozenset(fields), template))

    def _look_at(self, key: str, node: object, server: Server, todo: str) -> None:
        for name, text in texts(node, key):  # type: ignore[arg-type]
            if self._judge.of(name, text.value) is not Verdict.LEAVE or (
                name == "args" and self._judge.of_argument(text.value) is not Verdict.LEAVE
            ):
                self._leave(server, text, f"a secret stands in {name}", todo)

    def _leave(self, server: Server, text: Text, what: str, todo: str) -> None:
        where = f"{self._source}:{self._document.line(text.start)}: {server.place}"
        self.left.append(Left(where, printable(what), todo))

    def _be_quiet(self, server: Server, why: str, before: int) -> None:
        if len(self.left) == before:
            self.quiet.append((server, why))


def _url(server: Server) -> bool:
    return any(server.object.get(key) is not None for key in ("url", "serverUrl", "httpUrl"))


def _misfit(value: str, name: str = "") -> str:
    """Why no environment holds it; "" where one does."""
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        return "holds what no environment can: NUL, or half of a surrogate pair"
    return "is no name of a variable" if name and not _NAME.fullmatch(name) else ""


def _template(server: str, secret: str, fields: Iterable[str]) -> str:
    shown = "".join(char if char.isprintable() and char not in "{}#%" else "?" for char in server)
    lines = [f"# The environment of the MCP server {shown}.\n"]
    for name in sorted(fields):
        key = f".{name}" if _PLAIN.fullmatch(name) else f'["{name}"]'
        lines.append(f'{name}={{{{ secret("{secret}"){key} }}}}\n')
    return "".join(lines)
