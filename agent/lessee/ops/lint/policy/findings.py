"""What `lessee check` finds: one thing that is wrong, where, and what to do."""

from collections.abc import Iterable, Mapping
from typing import Literal

from lessee.core.errors import ConfigError, LesseeError, TemplateError
from lessee.core.immutable import ImmutableStruct

Level = Literal["error", "warning"]

RULES: Mapping[str, str] = {
    "configuration": "lessee.yaml says something that it cannot",
    "template-unreadable": "a template cannot be read",
    "template-syntax": "a template is no Jinja",
    "unknown-filter": "a template uses a filter that there is not",
    "unknown-test": "a template uses a test that there is not",
    "unknown-name": "a template uses a variable or function that there is not",
    "not-allowed": "a template uses a part of Jinja that has no place here",
    "function-not-called": "a function of lessee is used without calling it",
    "path-not-literal": "a path or an argument is computed, so that it is not known without running the template",
    "path-denied": "a path is none, or lies outside the agent's environment",
    "wrong-arguments": "a function cannot take its arguments",
    "format-misfit": "whatever the secrets are, the file cannot be written in its format",
    "public-variable": "a value stands in a variable that a frontend's build gives to every visitor",
    "public-secret": "a variable is listed as public, and takes what is called a secret",
    "secret-in-dist": "a value of the environment stands in what a build wrote",
    "dist-unread": "a part of what a build wrote could not be searched",
    "dist-unknown": "not all of the environment's values could be looked for",
    "fallback-misfit": "a fallback cannot serve its app, whatever the environment is",
    "fallback-unused": "a fallback names what no file and no template of its app has",
    "fallback-unset": "a fallback names a variable that the environment here has not",
    "two-writers": "two apps have one directory",
    "nested-directories": "a directory lies in another one of the agent's",
    "deaf-to-sighup": "a process is to be told by SIGHUP that does not take up its files then",
    "compose-unreadable": "a Compose file cannot be read",
    "unknown-app": "a container runs `lessee exec` for an app that there is not",
    "unknown-service": "a service is to be told that there is not",
    "shadowed-variable": "a container's environment has a variable that a rendered file gives as well",
    "unread-app": "a container has a variable that an app gives, and none is known to read that app",
    "literal-secret": "a Compose file spells out what looks like a secret",
    "writable-mount": "an app may write where its secrets lie",
    "hidden-files": "a secret of Compose is mounted into an app's directory",
    "no-shared-pid": "a process is to be told in a container whose processes the agent cannot see",
    "no-stop-signal": "a signal through the engine would switch the restart policy off",
}
"""Every kind of finding by its name, which stays, and what it means."""


_OF_DATA = frozenset({"secret-in-dist", "dist-unread", "dist-unknown"})


class Finding(ImmutableStruct, frozen=True):
    """One thing that is wrong; no text in it holds a value."""

    rule: str
    level: Level
    message: str
    help: str = ""
    """What to do."""
    file: str = ""
    line: int = 0
    """0: the file as a whole."""
    app: str = ""
    template: str = ""
    """The name of the template in which it lies, as lessee.yaml has it."""


def exit_code(findings: Iterable[Finding]) -> int:
    """78 where the configuration has an error, else 65 where a template or what a build wrote has one, else 0."""
    errors = [finding for finding in findings if finding.level == "error"]
    if any(not finding.template and finding.rule not in _OF_DATA for finding in errors):
        return ConfigError.exit_code
    return TemplateError.exit_code if errors else 0


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By file and line, each once: what two apps take in is wrong once."""
    once = {(one.rule, one.message, one.file, one.line): one for one in reversed(list(findings))}
    return tuple(sorted(once.values(), key=lambda one: (one.file, one.line, one.message)))


def of_configuration(problem: LesseeError, file: str) -> Finding:
    """What is wrong with lessee.yaml, which is `file`."""
    _, line = split_place(problem.where)
    return Finding("configuration", "error", problem.what, problem.todo, file, line)


def split_place(where: str) -> tuple[str, int]:
    """`app.env.j2:3` is a file and a line; without a line that is 0."""
    name, colon, line = where.rpartition(":")
    return (name, int(line)) if colon and line.isdecimal() else (where, 0)
