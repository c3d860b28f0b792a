"""Reads a Compose project: the values from `docker compose config`, and their places from the files."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from lessee.core.errors import ConfigError, LesseeError
from lessee.host.limited_command import run_limited
from lessee.ops.adopt.policy.compose_model import Load, Place, project_of, safe_reason
from lessee.ops.adopt.policy.guard import STUB, without_guard
from lessee.ops.adopt.policy.model import Origin, Project
from lessee.ops.adopt.policy.override_text import AGENT, OVERRIDE
from lessee.ops.adopt.policy.sources import Scope, Text, expand

PROGRAMS = (("docker", "compose"), ("docker-compose",), ("podman", "compose"))
"""The programs that read Compose files, the first that is installed is used."""
_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_TIMEOUT = 60
_MOST_MEMORY = 1 << 32
"""Bytes of address space; Compose takes less than 2 GiB of it for a usual project."""
_MOST = 1 << 20
"""Bytes of a file of secrets or variables."""


def read_project(
    files: Sequence[str], environ: Mapping[str, str], *, folder: str | None = None, env_files: Sequence[str] = ()
) -> Project:
    """Read the project of these Compose files; without any, of those that Compose would take in `folder`.

    `files` and `env_files` are relative to `folder`, or to the working directory without one; the project's folder is
    the one of its first file. `environ`: the environment for Compose. Raises ConfigError, without a value.
    """
    base = Path(folder or ".").absolute()
    given = [base / file for file in files] or find_files(base, environ)
    root = given[0].parent
    paths = tuple(_relative(path, root) for path in given)
    chosen = [str(base / file) for file in env_files] or _listed(environ.get("COMPOSE_ENV_FILES", ""), ",") or [".env"]
    variables = tuple(_relative(root / file, root) for file in chosen if (root / file).is_file())
    load = _loader(root)
    resolved = resolve(given, environ, env_files=[str(root / file) for file in variables] if env_files else ())
    return project_of(resolved, Place(str(root), paths, variables), environ, load)


def project_above(folder: Path, environ: Mapping[str, str]) -> Path:
    """The folder, or the nearest above it with a Compose file, as Compose finds it; the folder itself without one.

    It ends below a folder that others can write to, such as /tmp.
    """
    with suppress(ConfigError):
        find_files(folder, environ)
        return folder
    for one in folder.parents:
        status = one.stat()
        if status.st_mode & stat.S_IWOTH or status.st_uid not in {0, os.geteuid()}:
            break
        if any((one / name).is_file() for name in _NAMES):
            return one
    return folder


def find_files(folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """The Compose files of a folder, as Compose finds them. Raises ConfigError if there are none."""
    env = _loader(folder)(".env")
    scope = Scope(environ, ((Origin.PROJECT_ENV, env),) if env is not None else ())
    if listed := expand("${COMPOSE_FILE}", scope):
        separator = expand("${COMPOSE_PATH_SEPARATOR}", scope) or ":"
        return [folder / name for name in _listed(listed, separator)]
    for name in _NAMES:
        if (folder / name).is_file():
            override = [folder / one for one in _OVERRIDES if (folder / one).is_file()]
            return [folder / name, *override[:1]]
    todo = f"name the Compose file, or write {_NAMES[0]}"
    raise ConfigError([LesseeError("the folder has no Compose file", where=str(folder), todo=todo)])


def resolve(files: Iterable[Path], environ: Mapping[str, str], *, env_files: Iterable[str] = ()) -> dict[str, object]:
    """What `docker compose config` makes of the files, with all profiles. It needs no Engine.

    Raises ConfigError, with a reason that contains no value.
    """
    paths = list(files)
    with _completed(paths) as more:
        arguments = [word for path in (*paths, *more) for word in ("-f", str(path))]
        arguments += [word for path in env_files for word in ("--env-file", path)]
        command = [*_program(environ), *arguments, "--profile", "*", "config", "--format", "json"]
        done = _run(command, environ, paths[0].parent)
    if done.returncode == 0:
        try:
            # `config` writes each `$` twice, so that Compose can read its output again.
            found = json.loads(done.stdout.replace(b"$$", b"$"))
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            if more and isinstance(found.get("services"), dict):
                found["services"].pop(AGENT, None)
            return found
    reason = safe_reason(done.stderr.decode(errors="replace"))
    todo = f"run `{' '.join([*command[:2], 'config'])}` there, and correct what it reports"
    what = f"Compose cannot read the project: {reason}"
    raise ConfigError([LesseeError(what, where=str(paths[0]), todo=todo)])


@contextmanager
def _completed(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """A file for Compose without which it refuses files that adopt has edited; none if the override is there."""
    contents = [path.read_bytes() for path in paths if path.is_file()]
    if OVERRIDE in {path.name for path in paths} or all(without_guard(one) == one for one in contents):
        yield ()
        return
    with NamedTemporaryFile(prefix="lessee-adopt-", suffix=".yaml") as stub:
        stub.write(STUB.encode())
        stub.flush()
        yield (Path(stub.name),)


def project_name(files: Iterable[Path], environ: Mapping[str, str], env_files: Iterable[str] = ()) -> str:
    """Compose's name of the project of these files. Raises ConfigError."""
    return str(resolve(files, environ, env_files=env_files).get("name", ""))


def _program(environ: Mapping[str, str]) -> tuple[str, ...]:
    found = _installed(environ.get("PATH", ""))
    if found is None:
        todo = "install Docker with its Compose plugin"
        raise ConfigError([LesseeError("there is no `docker compose`", where="PATH", todo=todo)])
    return found


@cache
def _installed(path: str) -> tuple[str, ...] | None:
    for program in PROGRAMS:
        try:
            done = _run([*program, "version"], {"PATH": path}, Path("/"))
        except ConfigError:
            continue
        if done.returncode == 0:
            return program
    return None


def _run(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> "subprocess.CompletedProcess[bytes]":
    try:
        return run_limited(command, environ, folder=folder, timeout=_TIMEOUT, memory=_MOST_MEMORY)
    except (OSError, subprocess.TimeoutExpired) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"it did not end in {_TIMEOUT} s"
        what = f"`{' '.join(command[:2])}` cannot be run: {reason}"
        raise ConfigError([LesseeError(what, where=str(folder), todo="see that Docker Compose is installed")]) from None


def _loader(root: Path) -> Load:
    @cache
    def load(name: str) -> Text | None:
        path = root / name
        try:
            if not path.is_file() or path.stat().st_size > _MOST:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        bare = content.removeprefix(b"\xef\xbb\xbf")
        return Text(_relative(path, root), bare.decode(errors="surrogateescape"), len(content) - len(bare))

    return load


def _relative(path: Path, root: Path) -> str:
    """The path relative to the folder of the project where it is below it."""
    plain = Path(*path.parts)
    try:
        return str(plain.resolve().relative_to(root.resolve())) if ".." in path.parts else str(plain.relative_to(root))
    except ValueError:
        return str(path)


def _listed(text: str, separator: str) -> list[str]:
    return [name for part in re.split(re.escape(separator), text) if (name := part.strip())]
