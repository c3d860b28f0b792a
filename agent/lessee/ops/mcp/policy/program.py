"""What a server is started with once its secrets come from its environment.

An argument can be read by everybody on the machine (`ps`), so a secret in one is a variable instead wherever the
program takes one: of the URL of a Postgres database libpq, node-postgres, asyncpg and pgx take the password from
PGPASSWORD, and `docker run -e NAME` hands on what it has itself. Else a shell puts it in its place: it is out of the
file then, and still seen.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.secret_detection import Judge, Verdict


class CannotWrapError(Exception):
    """The secret in an argument cannot be moved."""


class Program(ImmutableStruct, frozen=True):
    """The words after `--`, and the variables that they need."""

    hidden = ("variables",)

    words: tuple[str, ...]
    variables: Mapping[str, str]
    seen: tuple[str, ...] = ()
    """Variables that a shell makes an argument of."""


def without_secrets(command: str, args: Sequence[str], taken: Sequence[str], judge: Judge) -> Program:
    """`taken`: names of variables that the server has already. Raises CannotWrapError."""
    return _Moving(command, taken, judge).move([command, *args])


def suspicious(args: Sequence[str], judge: Judge) -> tuple[int, ...]:
    """Which of the arguments hold a secret, from 0."""
    return tuple(index for index, word in enumerate(args) if _verdict(args, index, word, judge) is not Verdict.LEAVE)


def name_of(path: str) -> str:
    """A program's, without its folder."""
    return path.replace("\\", "/").rpartition("/")[2]


_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "cmd", "cmd.exe", "pwsh", "powershell"})
_ENGINES = frozenset({"docker", "podman", "nerdctl"})
_POSTGRES = re.compile(r"(postgres(?:ql)?://[^\s/?#@:]*):([^\s@]+)(@[^\s@]*)")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
_FLAG = re.compile(r"(--?[A-Za-z][\w.-]*)=", re.ASCII)
_LAST = 9
"""`${10}` looks like a reference of the client's."""


def _verdict(args: Sequence[str], index: int, word: str, judge: Judge) -> Verdict:
    before = args[index - 1] if index else ""
    if before.startswith("-") and "=" not in before and not word.startswith("-"):
        found = judge.of(before.lstrip("-"), word)
        if found is not Verdict.LEAVE:
            return found
    return judge.of_argument(word)


class _Moving:
    def __init__(self, command: str, taken: Sequence[str], judge: Judge) -> None:
        self._name = name_of(command)
        self._taken = set(taken)
        self._judge = judge
        self._variables: dict[str, str] = {}
        self._seen: list[str] = []

    def move(self, words: Sequence[str]) -> Program:
        if self._judge.of_argument(words[0]) is not Verdict.LEAVE:
            raise CannotWrapError("its command holds a secret")
        moved: list[str | _Hole] = [words[0]]
        for index in range(1, len(words)):
            verdict = _verdict(words[1:], index - 1, words[index], self._judge)
            if verdict is Verdict.MIXED:
                raise CannotWrapError("an argument mixes a secret with what the client puts in")
            moved.append(words[index] if verdict is Verdict.LEAVE else self._argument(words, index))
        return Program(_put_together(moved), self._variables, tuple(self._seen))

    def _argument(self, words: Sequence[str], index: int) -> "str | _Hole":
        word, before = words[index], words[index - 1]
        if self._name in _SHELLS:
            raise CannotWrapError("a secret stands in the script of a shell")
        if self._name in _ENGINES and (handed_on := self._handed_on(word, before)) is not None:
            return handed_on
        if (url := _POSTGRES.fullmatch(word.partition("=")[2] if _FLAG.match(word) else word)) is not None:
            password = unquote(url[2])
            if "PGPASSWORD" not in self._taken and self._variables.get("PGPASSWORD", password) == password:
                self._variables["PGPASSWORD"] = password
                return word.replace(url[0], url[1] + url[3])
        return self._shown(word, before)

    def _handed_on(self, word: str, before: str) -> str | None:
        """`-e NAME=VALUE` becomes `-e NAME`."""
        option, assigned = "", word
        if word.startswith("--env="):
            option, assigned = "--env=", word.removeprefix("--env=")
        elif before not in {"-e", "--env"}:
            return None
        found = _ASSIGNMENT.fullmatch(assigned)
        if found is None or found[1] in self._taken or self._variables.get(found[1], found[2]) != found[2]:
            return None
        self._variables[found[1]] = found[2]
        return option + found[1]

    def _shown(self, word: str, before: str) -> "_Hole":
        flag = _FLAG.match(word)
        prefix = flag[0] if flag is not None else ""
        called = flag[1] if flag is not None else before if before.startswith("-") else ""
        stem = re.sub(r"\W+", "_", called.strip("-"), flags=re.ASCII).upper() or "ARGUMENT"
        name, number = f"MCP_{stem}", 1
        while name in self._taken or name in self._variables:
            number += 1
            name = f"MCP_{stem}_{number}"
        self._variables[name] = word.removeprefix(prefix)
        self._seen.append(name)
        return _Hole(prefix, name)


class _Hole(ImmutableStruct, frozen=True):
    prefix: str
    variable: str


def _put_together(words: Sequence[str | _Hole]) -> tuple[str, ...]:
    if not any(isinstance(word, _Hole) for word in words):
        return tuple(str(word) for word in words)
    # What the client puts in for a reference may hold anything, so that stands outside the script.
    script, outside = [], []
    for word in words:
        if isinstance(word, _Hole):
            script.append(f'{shlex.quote(word.prefix) if word.prefix else ""}"${word.variable}"')
        elif "$" in word:
            outside.append(word)
            script.append(f'"${len(outside)}"')
        else:
            script.append(shlex.quote(word))
    if len(outside) > _LAST:
        raise CannotWrapError("too many of its arguments are references")
    return ("sh", "-c", f"exec {' '.join(script)}", *(("sh", *outside) if outside else ()))
