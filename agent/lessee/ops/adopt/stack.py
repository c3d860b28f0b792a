"""Starts a project's containers with `docker compose`, waits until they are well, and inspects them."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.redaction import Redactor
from lessee.host.limited_command import run_limited
from lessee.ops.adopt.policy.log_parts import without_parts

_COMPOSE = ("docker", "compose")
_PING = ("docker", "version", "--format", "{{.Server.Version}}")
_LABEL = "com.docker.compose"
_POLL = 0.25
_SETTLED = 3.0
"""Seconds that a container without a health check must run."""
_MOST_RESTARTS = 3
_COMMAND_TIMEOUT = 60.0
_BUILD_TIMEOUT = 900.0
"""Seconds: the Engine may pull the base image."""
_LOG_LINES = 15


class StackError(LesseeError):
    """The Engine is not reachable, or the containers are not well."""

    exit_code = 69  # EX_UNAVAILABLE


class Container(ImmutableStruct, frozen=True):
    """A container of the project, as `docker inspect` has it."""

    hidden = ("inspected",)

    service: str
    inspected: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.inspected["Name"]).removeprefix("/")

    @property
    def state(self) -> Mapping[str, Any]:
        """`State` of `docker inspect`."""
        state: Mapping[str, Any] = self.inspected["State"]
        return state

    @property
    def is_running(self) -> bool:
        """Whether its program runs."""
        return bool(self.state["Status"] == "running")

    @property
    def problem(self) -> str | None:
        """Why it will not become well; None if it is or may."""
        status, health = self.state["Status"], (self.state.get("Health") or {}).get("Status")
        policy = self.inspected["HostConfig"]["RestartPolicy"]["Name"]
        if health == "unhealthy":
            return "its health check fails"
        if self.inspected["RestartCount"] >= _MOST_RESTARTS and status != "running":
            return f"it exits again and again, with code {self.state['ExitCode']}"
        if status in {"exited", "dead"} and (self.state["ExitCode"] or policy in {"always", "unless-stopped"}):
            return f"it exited with code {self.state['ExitCode']}"
        return None

    @property
    def is_well(self) -> bool:
        """Whether it is healthy; without a health check, whether it runs, or has done its work."""
        health = (self.state.get("Health") or {}).get("Status")
        if self.is_running:
            return health in {None, "none", "healthy"}
        return self.state["Status"] == "exited" and self.problem is None

    @property
    def incarnation(self) -> tuple[str, str]:
        """Another one after each start."""
        return str(self.inspected["Id"]), str(self.state["StartedAt"])


class Stack:
    """The containers of a project on the Engine. `lock`: a descriptor that programs hold until they have ended."""

    def __init__(
        self, folder: Path, project: str, env_files: Sequence[str], environ: Mapping[str, str], lock: int | None = None
    ) -> None:
        self._folder = folder
        self.project = project
        self._env_files = tuple(env_files)
        # What a person exports for another project must not change which files are used.
        self._environ = {name: value for name, value in environ.items() if name != "COMPOSE_FILE"}
        self._locks = () if lock is None else (lock,)
        self._redactor = Redactor()
        self._hidden: set[str] = set()

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of `docker compose`."""
        return self._environ

    def hide(self, source: str, values: Iterable[str]) -> None:
        """No output has these values from now on, nor a part of one."""
        values = tuple(values)
        self._redactor.learn(source, values)
        self._hidden.update(values)

    def answers(self) -> bool:
        """Whether the Engine does."""
        try:
            return not self._run(_PING).returncode
        except StackError:
            return False

    def require_engine(self, todo: str = "write the files without it: `lessee adopt --no-up`") -> None:
        """Raises StackError if the Engine does not answer. `todo`: besides starting it."""
        if self._run(_PING).returncode:
            what = "the Docker Engine does not answer"
            todo = f"start it, or {todo}"
            raise StackError(what, where=self._environ.get("DOCKER_HOST", "docker"), todo=todo)

    def image_labels(self, image: str) -> Mapping[str, str] | None:
        """The labels of an image; None if the Engine does not have it."""
        done = self._run(("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", "--", image))
        return None if done.returncode else json.loads(done.stdout) or {}

    def build_image(self, image: str, context: IO[bytes], arguments: Mapping[str, str]) -> None:
        """Build it from a tar archive with a Dockerfile. Raises StackError."""
        words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        command = ("docker", "build", "--network=none", *words, f"--tag={image}", "-")
        done = self._run(command, timeout=_BUILD_TIMEOUT, stdin=context)
        if done.returncode:
            lines = self._clean((done.stdout + done.stderr).decode(errors="replace")).splitlines()
            end = "".join(f"\n    {line}" for line in _of_failed_step(lines))
            todo = "see that the Engine has the base image or can pull it; --base-image names another one"
            raise StackError(f"`docker build` failed with {done.returncode}:{end}\n", where=image, todo=todo)
        if self.image_labels(image) is None:
            todo = "let it build in the Engine: `docker buildx use default`"
            raise StackError("the Engine does not have what `docker build` has built", where=image, todo=todo)

    def containers(self) -> tuple[Container, ...]:
        """All containers of the project's services. Raises StackError."""
        listed = self._checked(
            ("docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={_LABEL}.project={self.project}")
        )
        if not listed.split():
            return ()
        done = self._run(("docker", "inspect", *listed.split()))
        try:
            found = json.loads(done.stdout)
        except ValueError:
            found = []
        containers = []
        for one in found:  # One that was removed meanwhile is missing.
            labels = one["Config"].get("Labels") or {}
            if labels.get(f"{_LABEL}.oneoff") != "True":
                containers.append(Container(labels.get(f"{_LABEL}.service", ""), one))
        return tuple(containers)

    def services(self, files: Sequence[str]) -> tuple[str, ...]:
        """The services that a plain `docker compose up` starts. Raises StackError."""
        return tuple(self._checked(self._compose(files, "config", "--services")).split())

    def services_by_default(self) -> tuple[str, ...]:
        """The services that `docker compose` knows in the project's folder without `-f`; none if it fails."""
        options = [word for file in self._env_files for word in ("--env-file", file)]
        done = self._run((*_COMPOSE, *options, "config", "--services"))
        return () if done.returncode else tuple(done.stdout.decode(errors="replace").split())

    def volumes(self, files: Sequence[str]) -> tuple[str, ...]:
        """The named volumes of the files. Raises StackError."""
        return tuple(self._checked(self._compose(files, "config", "--volumes")).split())

    def model(self, files: Sequence[str]) -> Mapping[str, Any]:
        """What Compose reads in the files, with all profiles and variables as they are written. Raises StackError."""
        words = ("--profile", "*", "config", "--no-interpolate", "--format", "json")
        found = json.loads(self._checked(self._compose(files, *words)))
        assert isinstance(found, dict)
        return found

    def up(self, files: Sequence[str], services: Iterable[str], timeout: float, say: Callable[[str], None]) -> None:
        """Start the services, and wait until all of them are well. Raises StackError, which says what is not."""
        expected = frozenset(services)
        deadline = time.monotonic() + timeout
        # Profiles of services that are named are active.
        done = self._run(self._compose(files, "up", "--detach", "--quiet-pull", *sorted(expected)), timeout=timeout)
        if done.returncode:
            found = self.containers()
            self._refuse_ill(files, found, expected)
            last = self._last_line(done)
            named = [one.service for one in found if one.name in last.split()]
            what = f"`docker compose up` failed: {last}; see `{self._spelled(files, 'up')}`{self._log_of(found, named)}"
            raise StackError(what, where=str(self._folder / files[0]))
        self._wait(files, expected, deadline, say)

    def wait(self, files: Sequence[str], services: Iterable[str], timeout: float, say: Callable[[str], None]) -> None:
        """Wait until all of these services are well. Raises StackError, which says what is not."""
        self._wait(files, frozenset(services), time.monotonic() + timeout, say)

    def run(self, files: Sequence[str], words: Sequence[str], timeout: float) -> "subprocess.CompletedProcess[bytes]":
        """Run `docker compose` with other words. Raises StackError if it cannot be run, or takes too long."""
        return self._run(self._compose(files, *words), timeout=timeout)

    def down(self, files: Sequence[str]) -> None:
        """Stop the stack, and remove its containers and networks; its volumes stay. Raises StackError."""
        self._checked(self._compose(files, "--profile", "*", "down", "--remove-orphans"))

    def remove_services(self, files: Sequence[str], services: Sequence[str]) -> None:
        """Stop and remove the containers of these services. Raises StackError."""
        if services:
            self._checked(self._compose(files, "rm", "--stop", "--force", "--volumes", *services))

    def remove_network(self, name: str) -> None:
        """Remove a network of the project, by its name in the Compose file. One that is in use stays."""
        self._run(("docker", "network", "rm", f"{self.project}_{name}"))

    def remove_volumes(self, names: Iterable[str]) -> None:
        """Remove volumes of the project, by their names in the Compose file. One that is in use stays."""
        for name in names:
            self._run(("docker", "volume", "rm", f"{self.project}_{name}"))

    def _wait(
        self, files: Sequence[str], expected: frozenset[str], deadline: float, say: Callable[[str], None]
    ) -> None:
        since: dict[tuple[str, str], float] = {}
        said = ""
        while True:
            found = [container for container in self.containers() if container.service in expected]
            now = time.monotonic()
            self._refuse_ill(files, found, expected)
            since = {one.incarnation: since.get(one.incarnation, now) for one in found if one.is_well}
            waiting = sorted(
                (expected - {one.service for one in found})
                | {
                    one.service
                    for one in found
                    if not one.is_well or (one.is_running and now - since[one.incarnation] < _settling(one))
                }
            )
            if not waiting:
                return
            if now > deadline:
                where = ", ".join(waiting)
                what = "not well in time; see its log, or pass a longer --timeout"
                raise StackError(f"{what}{self._log_of(found, waiting)}", where=where)
            if (text := ", ".join(waiting)) != said:
                say(f"waiting for {text}")
                said = text
            time.sleep(_POLL)

    def _refuse_ill(self, files: Sequence[str], found: Iterable[Container], expected: frozenset[str]) -> None:
        found = tuple(found)
        for one in found:
            if one.service in expected and (problem := one.problem) is not None:
                see = f"see `{self._spelled(files, 'logs')} {one.service}`"
                raise StackError(f"{problem}; {see}{self._log_of(found, [one.service])}", where=one.service)

    def _log_of(self, found: Iterable[Container], services: Sequence[str]) -> str:
        """The end of the log of the first of them, without values."""
        for one in found:
            if one.service in services:
                done = self._run(("docker", "logs", "--tail", str(_LOG_LINES), one.name))
                text = self._clean((done.stdout + done.stderr).decode(errors="replace")).strip()
                if text:
                    return "; its log ends with:\n" + "\n".join(f"    {line}" for line in text.splitlines())
        return ""

    def _clean(self, text: str) -> str:
        return without_parts(self._redactor.clean(text), self._hidden)

    def _compose(self, files: Sequence[str], *words: str) -> tuple[str, ...]:
        options = [word for file in files for word in ("--file", file)]
        options += [word for file in self._env_files for word in ("--env-file", file)]
        return (*_COMPOSE, "--project-name", self.project, "--project-directory", str(self._folder), *options, *words)

    def _spelled(self, files: Sequence[str], word: str) -> str:
        options = [f"-f {shlex.quote(file)}" for file in files]
        options += [f"--env-file {shlex.quote(file)}" for file in self._env_files]
        return f"docker compose {' '.join(options)} {word}"

    def _checked(self, words: Sequence[str]) -> str:
        done = self._run(words)
        if done.returncode:
            raise StackError(
                f"`{' '.join(words[:2])}` failed: {self._last_line(done)}",
                where=str(self._folder),
                todo="see that the Docker Engine runs, and run this command again",
            )
        return done.stdout.decode(errors="replace")

    def _last_line(self, done: "subprocess.CompletedProcess[bytes]") -> str:
        lines = self._clean(done.stderr.decode(errors="replace")).strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"

    def _run(
        self, words: Sequence[str], *, timeout: float = _COMMAND_TIMEOUT, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> "subprocess.CompletedProcess[bytes]":
        try:
            return run_limited(
                words, self._environ, folder=self._folder, timeout=timeout, pass_fds=self._locks, stdin=stdin
            )
        except subprocess.TimeoutExpired:
            what = f"`{' '.join(words[:2])}` did not end within {timeout:.0f} s"
            raise StackError(what, where=str(self._folder), todo="pass a longer --timeout") from None
        except OSError as exc:
            what = f"`{words[0]}` cannot be run: {exc.strerror}"
            raise StackError(what, where="PATH", todo="install Docker, or pass --no-up") from None


def _of_failed_step(lines: Sequence[str]) -> Sequence[str]:
    """What the step has said that ended a build; the end of everything where the builder does not tell."""
    starts = [at for at, line in enumerate(lines) if line.startswith(" > [")]
    if not starts:
        return [line for line in lines if line.strip()][-_LOG_LINES:]
    step = lines[starts[-1] :]
    end = next((at for at, line in enumerate(step) if line.startswith("---")), len(step))
    return step[1:end][-_LOG_LINES:] or step[:1]


def _settling(container: Container) -> float:
    """Seconds that it must have run, because nothing else shows that it is well."""
    return 0.0 if (container.state.get("Health") or {}).get("Status") == "healthy" else _SETTLED


def leaks(container: Container, values: Mapping[str, str]) -> tuple[str, ...]:
    """What names each value that `docker inspect` shows, in what the project's files say of the container.

    Its name, its networks and Compose's own labels are made of the names of the project and its services.
    """
    shown = {**container.inspected["Config"], "Args": container.inspected.get("Args")}
    labels = shown.get("Labels") or {}
    shown["Labels"] = {name: text for name, text in labels.items() if not name.startswith("com.docker.compose.")}
    text = json.dumps(shown, ensure_ascii=False)
    return tuple(name for name, value in values.items() if json.dumps(value, ensure_ascii=False)[1:-1] in text)
