"""The API of Docker or Podman, as far as it is needed to tell a container."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from msgspec import ValidationError, convert

from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import Record, look_into

_TIMEOUT = 15


class HostOfListed(Record, frozen=True, rename="pascal"):
    network_mode: str = ""


class Listed(Record, frozen=True, rename="pascal"):
    """One row of `GET /containers/json`."""

    id: str
    names: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    host_config: HostOfListed = HostOfListed()

    @property
    def name(self) -> str:
        # /NAME; where another links to it, /OTHER/ALIAS too.
        own = (name[1:] for name in self.names or () if name.count("/") == 1)
        return next(own, self.id[:12])

    def label(self, key: str) -> str | None:
        return (self.labels or {}).get(key)


class State(Record, frozen=True, rename="pascal"):
    status: str
    started_at: str


class Settings(Record, frozen=True, rename="pascal"):
    stop_signal: str | None = None
    labels: dict[str, str] | None = None


class Policy(Record, frozen=True, rename="pascal"):
    name: str = ""


class Host(Record, frozen=True, rename="pascal"):
    restart_policy: Policy = Policy()


class Inspected(Record, frozen=True, rename="pascal"):
    """`GET /containers/ID/json`, as far as it is needed."""

    id: str
    name: str
    state: State
    config: Settings
    host_config: Host

    @property
    def title(self) -> str:
        return self.name.lstrip("/")


look_into(Listed, Inspected)


class Engine:
    """What is asked of the engine; what goes wrong there is a NotNotifiedError."""

    def __init__(self, client: Any) -> None:
        self._api = client

    def having(self, *labels: str) -> list[Listed]:
        with _in_our_words("listing containers"):
            return convert(self._api.containers(all=True, filters={"label": [*labels]}), list[Listed])

    def inspect(self, which: str) -> Inspected | None:
        """None: there is no such container."""
        try:
            with _in_our_words("inspecting a container"):
                return convert(self._api.inspect_container(which), Inspected)
        except _ContainerGoneError:
            return None

    def restart(self, which: str, grace: float) -> None:
        with _in_our_words("restarting a container"):
            self._api.restart(which, timeout=math.ceil(grace))  # It waits so much longer for the answer.

    def kill(self, which: str, action: str) -> None:
        with _in_our_words("signalling a container"):
            self._api.kill(which, signal=action)


@contextmanager
def open_engine() -> Iterator[Engine]:
    """The engine of DOCKER_HOST, else of the default socket."""
    with _in_our_words("asking for its version"):
        import docker  # noqa: PLC0415  # 17 MB and 100 ms, for those alone who tell a container.

        client = docker.from_env(timeout=_TIMEOUT)
    try:
        yield Engine(client.api)
    finally:
        client.close()


class _ContainerGoneError(NotNotifiedError):
    """The container is not there (any more)."""


@contextmanager
def _in_our_words(doing: str) -> Iterator[None]:
    try:
        from docker.errors import DockerException  # noqa: PLC0415  # As above.
    except ImportError:
        raise NotNotifiedError("the Docker SDK for Python is not installed", todo="pip install docker") from None
    try:
        yield
    # What requests raises is an OSError. None of their texts is passed on: they may quote the environment.
    except (DockerException, OSError, ValidationError, ValueError) as exc:
        raise _explained(exc, doing) from None


def _explained(exc: BaseException, doing: str) -> NotNotifiedError:
    where = "DOCKER_HOST" if "DOCKER_HOST" in os.environ else "/var/run/docker.sock"
    causes = list(_causes(exc))
    status = next((cause.status_code for cause in causes if getattr(cause, "status_code", None)), None)
    if status == HTTPStatus.NOT_FOUND:
        return _ContainerGoneError("the engine has no such container", where=where)
    if status is not None:
        todo = _TODO.get(status, "the engine's own log says why")
        return NotNotifiedError(
            f"the engine, or a proxy before it, answered {doing} with {status}", where=where, todo=todo
        )
    for kinds, what, todo in _FAULTS:
        if any(isinstance(cause, kinds) for cause in causes):
            return NotNotifiedError(what, where=where, todo=todo)
    return NotNotifiedError(f"{doing} failed", where=where, todo="see that a Docker or Podman API answers there")


_TODO = {
    HTTPStatus.FORBIDDEN: "let the agent list, inspect, restart and signal the containers of its project",
    HTTPStatus.CONFLICT: "see in `docker ps -a` what state the container is in",
}
_FAULTS: tuple[tuple[tuple[type[OSError], ...], str, str], ...] = (
    ((FileNotFoundError, ConnectionRefusedError), "no engine is there", "mount its socket, or better that of a proxy"),
    ((PermissionError,), "the agent may not use this socket", "give the agent the socket's group"),
    ((TimeoutError,), "the engine did not answer in time", "see whether `docker ps` answers"),
)


def _causes(exc: BaseException | None) -> Iterator[Any]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
