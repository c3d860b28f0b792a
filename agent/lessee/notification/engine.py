"""A client for the parts of Docker's and Podman's API that find a container and notify it."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from msgspec import ValidationError, convert

from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import ImmutableStruct, resolve_types

_TIMEOUT = 15


class SummaryHostConfig(ImmutableStruct, frozen=True, rename="pascal"):
    network_mode: str = ""


class ContainerSummary(ImmutableStruct, frozen=True, rename="pascal"):
    """One row of `GET /containers/json`."""

    id: str
    names: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    host_config: SummaryHostConfig = SummaryHostConfig()

    @property
    def name(self) -> str:
        # /NAME; if another container links to this one, /OTHER/ALIAS too.
        own = (name[1:] for name in self.names or () if name.count("/") == 1)
        return next(own, self.id[:12])

    def label(self, key: str) -> str | None:
        return (self.labels or {}).get(key)


class ContainerState(ImmutableStruct, frozen=True, rename="pascal"):
    status: str
    started_at: str
    pid: int = 0


class ContainerConfig(ImmutableStruct, frozen=True, rename="pascal"):
    stop_signal: str | None = None
    labels: dict[str, str] | None = None


class RestartPolicy(ImmutableStruct, frozen=True, rename="pascal"):
    name: str = ""


class HostConfig(ImmutableStruct, frozen=True, rename="pascal"):
    restart_policy: RestartPolicy = RestartPolicy()


class Container(ImmutableStruct, frozen=True, rename="pascal"):
    """The fields of `GET /containers/ID/json` that lessee uses."""

    id: str
    name: str
    state: ContainerState
    config: ContainerConfig
    host_config: HostConfig

    @property
    def title(self) -> str:
        """Its name, without the leading slash."""
        return self.name.lstrip("/")


resolve_types(ContainerSummary, Container)


class Engine:
    """Requests to the engine. Each raises NotNotifiedError."""

    def __init__(self, client: Any) -> None:
        self._api = client

    def list_containers(self, *labels: str) -> list[ContainerSummary]:
        """The containers that have all of these labels, running or not."""
        with _translated_errors("listing containers"):
            return convert(self._api.containers(all=True, filters={"label": [*labels]}), list[ContainerSummary])

    def inspect(self, container_id: str) -> Container | None:
        """None where there is no such container."""
        try:
            with _translated_errors("inspecting a container"):
                return convert(self._api.inspect_container(container_id), Container)
        except _ContainerNotFoundError:
            return None

    def restart(self, container_id: str, stop_grace_period: float) -> None:
        """Restart it; the engine sends SIGKILL after so many seconds."""
        with _translated_errors("restarting a container"):
            # The library adds the timeout to its own.
            self._api.restart(container_id, timeout=math.ceil(stop_grace_period))

    def kill(self, container_id: str, action: str) -> None:
        """Send PID 1 of the container a signal."""
        with _translated_errors("signaling a container"):
            self._api.kill(container_id, signal=action)


@contextmanager
def open_engine() -> Iterator[Engine]:
    """The engine of $DOCKER_HOST, else the one at the default socket."""
    with _translated_errors("asking for its version"):
        # docker: 17 MB and 100 ms, only for apps that run in a container.
        from lessee.notification.engine_client import open_client  # noqa: PLC0415

        client = open_client(_TIMEOUT)
    try:
        yield Engine(client)
    finally:
        client.close()


class _ContainerNotFoundError(NotNotifiedError):
    """The container does not exist, or exists no longer."""


@contextmanager
def _translated_errors(doing: str) -> Iterator[None]:
    try:
        from docker.errors import DockerException  # noqa: PLC0415  # As above.
    except ImportError:
        raise NotNotifiedError("the Docker SDK for Python is not installed", todo="pip install docker") from None
    try:
        yield
    # requests raises OSError. No text of these errors is passed on: they may quote the environment.
    except (DockerException, OSError, ValidationError, ValueError) as exc:
        raise _translated(exc, doing) from None


def _translated(exc: BaseException, doing: str) -> NotNotifiedError:
    where = "DOCKER_HOST" if "DOCKER_HOST" in os.environ else "/var/run/docker.sock"
    causes = list(_causes(exc))
    status = next((cause.status_code for cause in causes if getattr(cause, "status_code", None)), None)
    if status == HTTPStatus.NOT_FOUND:
        return _ContainerNotFoundError("the engine has no such container", where=where)
    if status is not None:
        todo = _TODO.get(status, "see the engine's own log")
        return NotNotifiedError(
            f"{doing} failed: the engine, or a proxy in front of it, answered {status}", where=where, todo=todo
        )
    for kinds, what, todo in _CONNECTION_ERRORS:
        if any(isinstance(cause, kinds) for cause in causes):
            return NotNotifiedError(what, where=where, todo=todo)
    from lessee.host.answer_limits import broken_limit  # noqa: PLC0415  # Only engines need it in a sidecar.

    broken = broken_limit(exc)
    what = f"{doing} failed: {broken}" if broken else f"{doing} failed"
    return NotNotifiedError(what, where=where, todo="check that a Docker or Podman API answers there")


_TODO = {
    HTTPStatus.FORBIDDEN: "let the agent list, inspect, restart and signal the containers of its project",
    HTTPStatus.CONFLICT: "see the container's state in `docker ps -a`",
}
_CONNECTION_ERRORS: tuple[tuple[tuple[type[OSError], ...], str, str], ...] = (
    (
        (FileNotFoundError, ConnectionRefusedError),
        "no engine listens here",
        "mount its socket, or better that of a socket proxy",
    ),
    ((PermissionError,), "the agent may not use this socket", "give the agent the socket's group"),
    ((TimeoutError,), "the engine did not answer in time", "check whether `docker ps` answers"),
)


def _causes(exc: BaseException | None) -> Iterator[Any]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
