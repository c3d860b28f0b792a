"""Rewrites a server's command line so that it gets its secrets from its environment.

All users of a machine can read the arguments of a process (`ps`). So a secret becomes a variable if the program reads
one: libpq, node-postgres, asyncpg and pgx read a Postgres password from PGPASSWORD, and `docker run -e NAME` passes its
own variable on. For any other argument, a shell expands the variable: the secret is no longer in the file, but it is
still visible in `ps`.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.secret_detection import SecretDetector, Verdict


class UnmovableSecretError(Exception):
    """A secret in the arguments cannot be moved to the environment."""


class Program(ImmutableStruct, frozen=True):
    """A command line without secrets, and the variables that it needs."""

    hidden = ("variables",)

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    exposed: tuple[str, ...] = ()
    """The variables that a shell expands to arguments."""


def without_secrets(command: str, args: Sequence[str], existing: Sequence[str], detector: SecretDetector) -> Program:
    """Move the secrets to variables. `existing`: the server's own variables. Raises UnmovableSecretError."""
    return _ArgumentRewriter(command, existing, detector).rewrite([command, *args])


def secret_arguments(args: Sequence[str], detector: SecretDetector) -> tuple[int, ...]:
    """The indexes of the arguments that contain a secret."""
    return tuple(
        index for index, argument in enumerate(args) if _check(args, index, argument, detector) is not Verdict.PUBLIC
    )


def program_name(path: str) -> str:
    """The file name of a program, without its directory."""
    return path.replace("\\", "/").rpartition("/")[2]


_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "cmd", "cmd.exe", "pwsh", "powershell"})
_CONTAINER_ENGINES = frozenset({"docker", "podman", "nerdctl"})
_POSTGRES_URL = re.compile(r"(postgres(?:ql)?://[^\s/?#@:]*):([^\s@]+)(@[^\s@]*)")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
_FLAG = re.compile(r"(--?[A-Za-z][\w.-]*)=", re.ASCII)
_MAX_POSITIONAL = 9
"""The parameters of a shell after `$9` need braces, and the client would replace `${10}` as a reference."""


def _check(args: Sequence[str], index: int, argument: str, detector: SecretDetector) -> Verdict:
    option = args[index - 1] if index else ""
    if option.startswith("-") and "=" not in option and not argument.startswith("-"):
        verdict = detector.check(option.lstrip("-"), argument)
        if verdict is not Verdict.PUBLIC:
            return verdict
    return detector.check_argument(argument)


class _ArgumentRewriter:
    def __init__(self, command: str, existing: Sequence[str], detector: SecretDetector) -> None:
        self._program = program_name(command)
        self._existing = set(existing)
        self._detector = detector
        self._variables: dict[str, str] = {}
        self._exposed: list[str] = []

    def rewrite(self, argv: Sequence[str]) -> Program:
        if self._detector.check_argument(argv[0]) is not Verdict.PUBLIC:
            raise UnmovableSecretError("`command` contains a secret")
        rewritten: list[str | _ShellVariable] = [argv[0]]
        for index in range(1, len(argv)):
            verdict = _check(argv[1:], index - 1, argv[index], self._detector)
            if verdict is Verdict.MIXED:
                raise UnmovableSecretError(
                    "an argument contains both a secret and a reference that the client replaces"
                )
            rewritten.append(argv[index] if verdict is Verdict.PUBLIC else self._replace(argv, index))
        return Program(_assemble(rewritten), self._variables, tuple(self._exposed))

    def _replace(self, argv: Sequence[str], index: int) -> "str | _ShellVariable":
        argument, previous = argv[index], argv[index - 1]
        if self._program in _SHELLS:
            raise UnmovableSecretError("a shell script in `args` contains a secret")
        if self._program in _CONTAINER_ENGINES and (passed := self._pass_through(argument, previous)) is not None:
            return passed
        url = _POSTGRES_URL.fullmatch(argument.partition("=")[2] if _FLAG.match(argument) else argument)
        if url is not None:
            password = unquote(url[2])
            if "PGPASSWORD" not in self._existing and self._variables.get("PGPASSWORD", password) == password:
                self._variables["PGPASSWORD"] = password
                return argument.replace(url[0], url[1] + url[3])
        return self._expand_in_shell(argument, previous)

    def _pass_through(self, argument: str, previous: str) -> str | None:
        """Rewrite `-e NAME=VALUE` to `-e NAME`, with which a container engine passes its own variable on."""
        option, assigned = "", argument
        if argument.startswith("--env="):
            option, assigned = "--env=", argument.removeprefix("--env=")
        elif previous not in {"-e", "--env"}:
            return None
        match = _ASSIGNMENT.fullmatch(assigned)
        if match is None or match[1] in self._existing or self._variables.get(match[1], match[2]) != match[2]:
            return None
        self._variables[match[1]] = match[2]
        return option + match[1]

    def _expand_in_shell(self, argument: str, previous: str) -> "_ShellVariable":
        flag = _FLAG.match(argument)
        prefix = flag[0] if flag is not None else ""
        option = flag[1] if flag is not None else previous if previous.startswith("-") else ""
        stem = re.sub(r"\W+", "_", option.strip("-"), flags=re.ASCII).upper() or "ARGUMENT"
        name, number = f"MCP_{stem}", 1
        while name in self._existing or name in self._variables:
            number += 1
            name = f"MCP_{stem}_{number}"
        self._variables[name] = argument.removeprefix(prefix)
        self._exposed.append(name)
        return _ShellVariable(prefix, name)


class _ShellVariable(ImmutableStruct, frozen=True):
    """An argument that a shell expands from a variable, after a prefix such as `--token=`."""

    prefix: str
    variable: str


def _assemble(argv: Sequence[str | _ShellVariable]) -> tuple[str, ...]:
    if not any(isinstance(argument, _ShellVariable) for argument in argv):
        return tuple(str(argument) for argument in argv)
    # The client may replace a reference by any text, so references are parameters and not part of the script.
    script, parameters = [], []
    for argument in argv:
        if isinstance(argument, _ShellVariable):
            script.append(f'{shlex.quote(argument.prefix) if argument.prefix else ""}"${argument.variable}"')
        elif "$" in argument:
            parameters.append(argument)
            script.append(f'"${len(parameters)}"')
        else:
            script.append(shlex.quote(argument))
    if len(parameters) > _MAX_POSITIONAL:
        raise UnmovableSecretError(f"`args` contains a secret and more than {_MAX_POSITIONAL} references")
    return ("sh", "-c", f"exec {' '.join(script)}", *(("sh", *parameters) if parameters else ()))
