"""Knows programs that do not reload files on SIGHUP, and what they do instead."""

import re
from collections.abc import Mapping, Sequence

from lessee.core.immutable import ImmutableStruct


class SighupIssue(ImmutableStruct, frozen=True):
    """Why a program does not reload files on SIGHUP."""

    program: str
    why: str
    always: bool = True
    """Otherwise it depends on the application that it runs."""
    todo: str = "write `action: restart`"


_TERMINATES = "SIGHUP terminates it, and as PID 1 it ignores the signal"
_OLD_ENVIRONMENT = "it restarts itself with its old environment, so load_dotenv() changes nothing"

_ISSUES: Mapping[str, SighupIssue] = {
    issue.program: issue
    for issue in (
        SighupIssue("celery", _OLD_ENVIRONMENT),
        SighupIssue("next", _TERMINATES),
        SighupIssue("next-server", _TERMINATES),
        SighupIssue("server.js", _TERMINATES),
        SighupIssue("mcp-memory-service", _TERMINATES),
        SighupIssue("java", "the JVM shuts down on SIGHUP"),
        SighupIssue("node", f"unless its program handles the signal, {_TERMINATES}", always=False),
    )
}
"""The known programs, by the name of the process or of its script. All were tested."""

_UVICORN = SighupIssue("uvicorn", f"with one process {_TERMINATES}")
UVICORN_WORKERS = SighupIssue(
    "uvicorn",
    "unless a new worker is ready within five seconds, the old one stays (since 0.51)",
    always=False,
    todo="add `--timeout-worker-healthcheck 60` to its command, or the time that its start takes",
)
"""The issue of uvicorn with workers, which an option solves."""
_CELERY_MODULE = SighupIssue(
    "celery", "started by `python -m celery` it cannot restart itself, and stops processing its queue"
)
_HANDLED = frozenset({"gunicorn", "nginx", "vite", "weed"})
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_CONCURRENCY = "WEB_CONCURRENCY"
"""The variable with the number of uvicorn's workers, if no option sets it."""
_PATIENCE, _PATIENCE_VARIABLE = "--timeout-worker-healthcheck", "UVICORN_TIMEOUT_WORKER_HEALTHCHECK"
"""The option and the variable for how long uvicorn waits for a new worker."""


def issue_of_process(name: str) -> SighupIssue | None:
    """The issue of a process with this name."""
    return _ISSUES.get(name)


def issue_of_pattern(pattern: str) -> SighupIssue | None:
    """The issue of a process whose command line matches this regular expression, by the literal names in it."""
    words = re.findall(r"[\w./-]*\w", pattern.replace("\\", ""))
    # The expression does not tell how many workers uvicorn has, or how long it waits for them.
    return issue_of_command(words, {_CONCURRENCY: "", _PATIENCE_VARIABLE: ""})


def issue_of_command(command: Sequence[str], environ: Mapping[str, str]) -> SighupIssue | None:
    """The issue of the program that a command starts, in this environment, which may be incomplete."""
    names = names_in(command)
    for index, name in enumerate(names):
        before, after = names[index - 1 : index], names[index + 1 :]
        match name:
            case "uvicorn":
                return _uvicorn(after, environ)
            case "celery" if before == ["-m"]:
                return _CELERY_MODULE
            case "memory" if after[:1] == ["server"]:
                return _ISSUES["mcp-memory-service"]
            case "node" if "server.js" in after:
                return _ISSUES["server.js"]
            case _ if name in _HANDLED or name in _ISSUES:
                return _ISSUES.get(name)
            case _:
                pass
    return None


def names_in(command: Sequence[str]) -> list[str]:
    """The words of a command without directories; the script of a shell is split into its words."""
    names = [word.rpartition("/")[2] for word in command]
    if _SHELLS.isdisjoint(names[:1]) or "-c" not in command:
        return names
    script = re.findall(r"""[^\s;&|()<>'"]+""", " ".join(command))
    return [word.rpartition("/")[2] for word in script]


def _uvicorn(options: Sequence[str], environ: Mapping[str, str]) -> SighupIssue | None:
    words = [word for option in options for word in option.split("=", 1)]
    if "--workers" in words:
        has_workers = words[words.index("--workers") + 1 :][:1] != ["1"]
    elif "--reload" in words:
        return None
    else:
        has_workers = environ.get(_CONCURRENCY, "1") != "1"
    if not has_workers:
        return _UVICORN
    return None if _PATIENCE in words or _PATIENCE_VARIABLE in environ else UVICORN_WORKERS
