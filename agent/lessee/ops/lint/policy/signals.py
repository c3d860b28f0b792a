"""Programs that do not take up new files at SIGHUP, and what they do instead."""

import re
from collections.abc import Mapping, Sequence

from lessee.core.immutable import ImmutableStruct


class SighupIssue(ImmutableStruct, frozen=True):
    """Why SIGHUP is of no use to a program."""

    program: str
    why: str
    always: bool = True
    """Else it hangs on what runs on it."""
    todo: str = "write `action: restart`"


_DIES = "it dies of SIGHUP, and where it is PID 1 it ignores it"
_STALE = "it starts itself anew with the environment that it has, so load_dotenv() changes nothing"

_DEAF: Mapping[str, SighupIssue] = {
    deaf.program: deaf
    for deaf in (
        SighupIssue("celery", _STALE),
        SighupIssue("next", _DIES),
        SighupIssue("next-server", _DIES),
        SighupIssue("server.js", _DIES),
        SighupIssue("mcp-memory-service", _DIES),
        SighupIssue("java", "the JVM shuts down at SIGHUP"),
        SighupIssue("node", f"unless its program asks for the signal, {_DIES}", always=False),
    )
}
"""By what a process is called, or the script that it runs. All were tried."""

_UVICORN = SighupIssue("uvicorn", f"with one process {_DIES}")
_UVICORN_WORKERS = SighupIssue(
    "uvicorn",
    "unless a new worker is ready within five seconds, it stays with the old one (since 0.51)",
    always=False,
    todo="write `--timeout-worker-healthcheck 60` in its command, or what its start takes",
)
_CELERY_MODULE = SighupIssue(
    "celery", "started by `python -m celery` it cannot start itself anew, and its queue stands still"
)
_TAKING = frozenset({"gunicorn", "nginx", "vite", "weed"})
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_CONCURRENCY = "WEB_CONCURRENCY"
"""The number of uvicorn's workers, where no option says it."""
_PATIENCE, _PATIENCE_VARIABLE = "--timeout-worker-healthcheck", "UVICORN_TIMEOUT_WORKER_HEALTHCHECK"
"""How long uvicorn waits for a new worker."""


def by_name(name: str) -> SighupIssue | None:
    """Of a process that is called so."""
    return _DEAF.get(name)


def by_pattern(pattern: str) -> SighupIssue | None:
    """Of a process in whose command line this regular expression is found: by the names that it spells out."""
    words = re.findall(r"[\w./-]*\w", pattern.replace("\\", ""))
    # It does not spell out how many workers uvicorn has, and how long it waits for them.
    return by_command(words, {_CONCURRENCY: "", _PATIENCE_VARIABLE: ""})


def by_command(command: Sequence[str], environ: Mapping[str, str]) -> SighupIssue | None:
    """Of what a command starts, in an environment so far as it is known."""
    names = names_in(command)
    for index, name in enumerate(names):
        before, after = names[index - 1 : index], names[index + 1 :]
        match name:
            case "uvicorn":
                return _uvicorn(after, environ)
            case "celery" if before == ["-m"]:
                return _CELERY_MODULE
            case "memory" if after[:1] == ["server"]:
                return _DEAF["mcp-memory-service"]
            case "node" if "server.js" in after:
                return _DEAF["server.js"]
            case _ if name in _TAKING or name in _DEAF:
                return _DEAF.get(name)
            case _:
                pass
    return None


def names_in(command: Sequence[str]) -> list[str]:
    """The words of a command without their folders; what a shell is given is taken apart."""
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
    return None if _PATIENCE in words or _PATIENCE_VARIABLE in environ else _UVICORN_WORKERS
