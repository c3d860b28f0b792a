"""The findings of `lessee check`: a problem, its place, and what to do about it."""

from collections.abc import Iterable, Mapping
from typing import Literal

from lessee.core.errors import ConfigError, LesseeError, TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.fixes.model import Data, Fix

Level = Literal["error", "warning", "note"]
"""A note says what could be better, and not that something is wrong."""

RULES: Mapping[str, str] = {
    "configuration": "lessee.yaml is invalid",
    "unfinished-import": "`lessee import` could not carry over a part, and its TODO is still there",
    "template-unreadable": "a template cannot be read",
    "template-syntax": "a template is not valid Jinja",
    "unknown-filter": "a template uses an unknown filter",
    "unknown-test": "a template uses an unknown test",
    "unknown-name": "a template uses an unknown variable or function",
    "not-allowed": "a template uses a part of Jinja that lessee does not allow",
    "function-not-called": "a template uses a function of lessee without calling it",
    "path-not-literal": "a path or an argument is computed, so it is unknown until the template runs",
    "path-denied": "a path is invalid, or outside the agent's environment",
    "wrong-arguments": "a function has invalid arguments",
    "format-mismatch": "no secret can make the file valid in its format",
    "optional-needed": "a template cannot be rendered without a secret that it calls optional",
    "public-variable": "a value is in a variable that a frontend build gives to every visitor",
    "public-secret": "a variable listed as public has a value whose name looks like a secret",
    "secret-in-dist": "the output of a build contains a secret of the environment",
    "dist-unreadable": "a part of the output of a build could not be searched",
    "dist-incomplete": "not all of the environment's secrets could be searched for",
    "fallback-mismatch": "a fallback cannot serve its app in any environment",
    "fallback-unused": "a fallback names what no file and no template of its app uses",
    "fallback-unset": "a fallback names a variable that is not set here",
    "short-rotation-period": "a credential is to be rotated more often than its rotation waits for consumers",
    "insecure-http": "the connection to Vault has no TLS, and leaves the machine",
    "duplicate-directory": "two apps have the same directory",
    "nested-directories": "a directory of the agent is inside another one",
    "sighup-not-handled": "a process notified by SIGHUP does not reload its files on it",
    "world-readable": "every user of the machine can read the rendered files",
    "exposed-credential": "every user of the machine can read a file with a credential of the agent",
    "overflow-uid": "processes with an unknown user may read at the socket of an app",
    "child-reads-credentials": "the child of `lessee exec` can read the agent's token, or what it logs in with",
    "compose-unreadable": "a Compose file cannot be read",
    "no-agent": "no service runs the agent that an app's files need",
    "app-not-mounted": "a container does not mount the directory that the agent and an app must share",
    "socket-not-mounted": "no container but the agent's reaches the read socket of an app",
    "socket-other-user": "a container's user may not read at the read socket of its app",
    "not-in-memory": "an app's directory or the agent's state, or a volume of it, is on a disk",
    "other-group": "the volume of an app's directory belongs to another group than its files",
    "starts-too-early": "an app starts when the agent has started, and not when its files exist",
    "no-restart-policy": "an app that the agent restarts by a signal is not started again",
    "unknown-app": "a container runs `lessee exec` for an unknown app",
    "unknown-service": "the service to notify is unknown",
    "shadowed-variable": "a container's environment has a variable that a rendered file sets too",
    "app-without-reader": "a container has a variable that an app sets, and no service is known to read that app",
    "literal-secret": "a Compose file has a literal that looks like a secret",
    "writable-mount": "an app may write to the directory of its secrets",
    "same-user": "an app has the agent's user, and so may signal it and read its files",
    "hidden-files": "a secret of Compose is mounted into an app's directory",
    "stale-mount": "a container mounts a file, subdirectory or socket of an app, and keeps the first one",
    "no-shared-pid": "the agent cannot see the processes of the container that it must signal",
    "labels-unread": "a service has labels that the agent does not read",
    "reference-unread": "a variable of a container is a reference that nothing replaces",
    "reference-malformed": "a variable of a container has a malformed reference",
    "no-stop-signal": "a signal through the engine would disable the restart policy",
    "broker-possible": "a service has a key that a broker could hold, so that the service never has it",
}
"""The rules by name, with their meaning. Names do not change between versions."""

FIXES: Mapping[str, str] = {
    "sighup-not-handled": "`action: restart` in lessee.yaml; uvicorn's workers get `--timeout-worker-healthcheck=60`",
    "no-agent": "adds holder, agent, volumes, mounts and `depends_on`, if each app's service is known "
    "and lessee.yaml is not for your own machine",
    "app-not-mounted": "mounts the volume in the agent and the app; makes a missing one",
    "not-in-memory": "`driver_opts` of a tmpfs with the files' group; not for external volumes and other drivers",
    "other-group": "`gid=` in the volume's options",
    "starts-too-early": "`condition: service_healthy`",
    "no-restart-policy": "`restart: unless-stopped`",
    "unknown-app": "the only name that is similar",
    "unknown-service": "the only name that is similar",
    "shadowed-variable": "removes it from `environment` and from an `env_file` that nothing else uses; "
    "from an earlier file by `!reset` in the last one",
    "app-without-reader": "mounts the directory in the service, if it is the only one that can be the app's",
    "writable-mount": "`:ro`, or `read_only: true`",
    "same-user": "`user`, capabilities and volume options of the agent, if root may own the files",
    "stale-mount": "mounts the whole directory, if the app then finds its file at the same path",
    "no-shared-pid": "adds a missing holder, and `pid: service:…` to the agent and the app",
    "no-stop-signal": "`stop_signal: SIGTERM`, and `restart: always` instead of `unless-stopped`",
}
"""What `--fix` does, by rule. For all other rules the right change would be a guess."""

_OF_DATA = frozenset({"secret-in-dist", "dist-unreadable", "dist-incomplete"})


class Finding(ImmutableStruct, frozen=True):
    """A problem; none of its texts contains a secret value."""

    rule: str
    level: Level
    message: str
    help: str = ""
    """What to do about it."""
    file: str = ""
    line: int = 0
    """0: the file as a whole."""
    app: str = ""
    template: str = ""
    """The name of the template that contains it, as in lessee.yaml."""
    fix: Fix | None = None
    """What `--fix` does; None where the right change would be a guess."""
    lines: Mapping[str, Data] = {}
    """What to add to the Compose file, or to another one that overrides it."""


def exit_code(findings: Iterable[Finding]) -> int:
    """78 for an error in the configuration, 65 for one in a template or a build's output, otherwise 0."""
    errors = [finding for finding in findings if finding.level == "error"]
    if any(not finding.template and finding.rule not in _OF_DATA for finding in errors):
        return ConfigError.exit_code
    return TemplateError.exit_code if errors else 0


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by file and line, without duplicates: two apps may include the same template."""
    once = {(item.rule, item.message, item.file, item.line): item for item in reversed(list(findings))}
    return tuple(sorted(once.values(), key=lambda item: (item.file, item.line, item.message)))


def of_configuration(problem: LesseeError, file: str) -> Finding:
    """A problem in lessee.yaml as a finding; `file` is its path."""
    _, line = split_location(problem.where)
    return Finding("configuration", "error", problem.what, problem.todo, file, line)


def split_location(where: str) -> tuple[str, int]:
    """Split `app.env.j2:3` into file and line; without a line, it is 0."""
    name, colon, line = where.rpartition(":")
    return (name, int(line)) if colon and line.isdecimal() else (where, 0)
