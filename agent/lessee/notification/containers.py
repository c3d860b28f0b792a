"""Notifies the containers of one Compose project, through the API of Docker or Podman."""

import re
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from lessee.config import ContainerTarget
from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import boot_time, boot_times
from lessee.notification.engine import Container, ContainerSummary, Engine, open_engine
from lessee.notification.results import Delivered, DeliveryFailed

_PROJECT, _SERVICE, _ONE_OFF = (f"com.docker.compose.{name}" for name in ("project", "service", "oneoff"))
# A container's first process is up to 0.11 s older than its StartedAt says (measured, Docker 26.1).
_SLACK = 0.15
# Docker and Podman mount these from a folder whose name is the container's id.
_MOUNTED = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
_ID = re.compile(r"[0-9a-f]{64}")


def notify_containers(
    target: ContainerTarget,
    action: str,
    *,
    published_at: float,
    stop_grace_period: float,
    start_period: float,
    signal_in_namespace: Callable[[str], Delivered | DeliveryFailed],
) -> Delivered | DeliveryFailed:
    """Restart or signal each running container of the target, except for the agent's own.

    `published_at` is on CLOCK_BOOTTIME. `signal_in_namespace` is called with a container's full id; with
    `through: engine` the engine signals PID 1 instead, whose signal handlers are unknown. A container that started
    after the publish has read the new files. One that does not run reads them when its restart policy starts it.
    """
    try:
        with open_engine() as engine:
            found = _find(engine, target)

            def notify_container(container: Container) -> Delivered | DeliveryFailed:
                if action == "restart":
                    return _restart(engine, container, stop_grace_period, published_at)
                if target.through_engine:
                    return _signal(engine, container, action, start_period, published_at)
                return signal_in_namespace(container.id)

            return _notify_all(engine, found, notify_container)
    except NotNotifiedError as exc:
        return DeliveryFailed(str(exc))


class _OwnContainer(ImmutableStruct, frozen=True):
    """The container in which the agent runs. Not `certain`: it may be the one whose network namespace it shares."""

    id: str | None
    certain: bool


def _own_container(cgroup: str, mountinfo: str) -> _OwnContainer:
    """Read proc_pid_cgroup(5), which cgroup v2 hides from most containers, and proc_pid_mountinfo(5).

    With `network_mode: service:OTHER` the engine mounts the files of OTHER, so that mountinfo names OTHER's id.
    """
    if ids := _ID.findall(cgroup):
        return _OwnContainer(ids[-1], certain=True)
    for line in mountinfo.splitlines():
        root, mounted_at = line.split(" ")[3:5]
        if mounted_at in _MOUNTED and (ids := _ID.findall(root)):
            return _OwnContainer(ids[-1], certain=False)
    return _OwnContainer(None, certain=True)


def _find(engine: Engine, target: ContainerTarget) -> list[ContainerSummary]:
    """The target's containers, by name. Raises NotNotifiedError where the target is ambiguous."""
    own = _own_container(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    project = target.project or _own_project(engine, own)
    # An engine may misread a filter, so each container that it lists is checked again.
    in_project = [
        container
        for container in engine.list_containers(f"{_PROJECT}={project}")
        if container.label(_PROJECT) == project
    ]
    if target.label is not None:
        labeled = {container.id for container in engine.list_containers(f"{_PROJECT}={project}", target.label)}
        found = [container for container in in_project if container.id in labeled and not _is_one_off(container)]
    elif target.service is not None:
        found = [
            container
            for container in in_project
            if container.label(_SERVICE) == target.service and not _is_one_off(container)
        ]
    else:
        found = [container for container in in_project if container.name == target.name]
    found = _without_own(own, found, in_project, by_label=target.label is not None)
    return sorted(found, key=lambda container: container.name)


def _own_project(engine: Engine, own: _OwnContainer) -> str:
    container = engine.inspect(own.id) if own.id else None
    project = container and (container.config.labels or {}).get(_PROJECT)
    if not project:
        what = "the agent runs in no container of a Compose project that the engine knows"
        raise NotNotifiedError(what, where="notify.container", todo="name the project, as `project: NAME`")
    return project


def _is_one_off(container: ContainerSummary) -> bool:
    """Whether `docker compose run` started it: it has its service's labels, but no restart policy applies to it."""
    return (container.label(_ONE_OFF) or "").lower() == "true"


def _without_own(
    own: _OwnContainer, found: list[ContainerSummary], in_project: Iterable[ContainerSummary], *, by_label: bool
) -> list[ContainerSummary]:
    shared = any(container.host_config.network_mode == f"container:{own.id}" for container in in_project)
    if own.certain or not shared:
        return [container for container in found if container.id != own.id]
    if by_label:
        what = "the agent shares a network namespace, and cannot tell which container with this label is its own"
        raise NotNotifiedError(what, where="notify.container.label", todo="name the service instead")
    return found


def _notify_all(
    engine: Engine,
    found: list[ContainerSummary],
    notify_container: Callable[[Container], Delivered | DeliveryFailed],
) -> Delivered | DeliveryFailed:
    results: dict[str, Delivered | DeliveryFailed] = {}
    not_running: list[str] = []
    for summary in found:
        try:
            container = engine.inspect(summary.id)
            if container is None or container.state.status not in {"running", "paused"}:
                not_running.append(f"{summary.name} is {container.state.status if container else 'removed'}")
            elif container.state.status == "paused":
                results[summary.name] = DeliveryFailed(f"{summary.name} is paused; docker unpause {summary.name}")
            else:
                results[summary.name] = notify_container(container)
        except NotNotifiedError as exc:
            results[summary.name] = DeliveryFailed(f"{summary.name}: {exc}")
    if not results:
        return DeliveryFailed(", ".join(not_running) or "the project has no such container", absent=True)
    return _merged(results)


def _merged(results: Mapping[str, Delivered | DeliveryFailed]) -> Delivered | DeliveryFailed:
    if len(results) == 1:
        return next(iter(results.values()))
    failed = [result for result in results.values() if isinstance(result, DeliveryFailed)]
    if not failed:
        return Delivered(", ".join(result.how for result in results.values() if isinstance(result, Delivered)))
    notified = [name for name, result in results.items() if isinstance(result, Delivered)]
    return DeliveryFailed(
        "; ".join([result.reason for result in failed] + [f"notified: {', '.join(notified)}"] * bool(notified)),
        absent=not notified and all(result.absent for result in failed),
        retry_in=min((result.retry_in for result in failed if result.retry_in is not None), default=None),
        would_terminate=any(result.would_terminate for result in failed),
    )


def _restart(engine: Engine, container: Container, stop_grace_period: float, published_at: float) -> Delivered:
    if _started_after(published_at, container):
        return Delivered(f"{container.title} started after the publish and has read the new files")
    engine.restart(container.id, stop_grace_period)
    return Delivered(f"restarted {container.title}")


def _signal(
    engine: Engine, container: Container, action: str, start_period: float, published_at: float
) -> Delivered | DeliveryFailed:
    if _started_after(published_at, container):
        return Delivered(f"{container.title} started after the publish and has read the new files")
    if objection := _objection(container, action):
        return DeliveryFailed(f"{container.title}: {objection}")
    wait = boot_times(_timestamp(container.state.started_at))[-1] + start_period - boot_time()
    if 0 < wait <= start_period:
        return DeliveryFailed(f"{container.title} is still starting and may not catch {action} yet", retry_in=wait)
    engine.kill(container.id, action)
    return Delivered(f"sent {action} to {container.title} through the engine")


def _started_after(published_at: float, container: Container) -> bool:
    # Of two moments the earlier one: a needless notification does less harm than a missing one. A start in the future
    # was recorded before the clock was set back, and tells nothing.
    return published_at + _SLACK < boot_times(_timestamp(container.state.started_at))[0] <= boot_time() + _SLACK


def _objection(container: Container, action: str) -> str | None:
    """Why the engine must not send the signal: it takes most signals for a stop by the user (measured, Docker 26.1).

    It then no longer restarts the container after a crash. A Config.StopSignal that names another signal prevents
    that, except with `unless-stopped`. Podman (5.4) takes every signal so, and writes the stop signal as a number.
    """
    policy = container.host_config.restart_policy.name
    if policy in {"", "no"}:
        return None
    alternative = "or share a PID namespace with it, and leave out `through: engine`"
    if policy == "unless-stopped":
        what = f"after {action} through the engine, `restart: unless-stopped` would not restart it after a crash"
        return f"{what}; write `restart: always` and `stop_signal: SIGTERM` in its service, {alternative}"
    stop = container.config.stop_signal
    if stop and stop.isdigit():
        what = f"after {action} through the engine, Podman would not restart it after a crash"
        return f"{what}; if this is Docker, write the stop_signal of its service by name, {alternative}"
    if not stop or _number(stop) == _number(action):
        what = f"after {action} through the engine, `restart: {policy}` would not restart it after a crash"
        other = "another stop_signal" if stop else "`stop_signal: SIGTERM`"
        return f"{what}; write {other} in its service, {alternative}"
    return None


def _number(name: str) -> int | str:
    """The number of `HUP` or `SIGHUP`; a name that Python does not know, such as RTMIN+3, stays as it is."""
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    return signal.Signals.__members__.get(full, full)


def _timestamp(moment: str) -> float:
    """Seconds since 1970, of RFC 3339; Docker writes nanoseconds, of which Python keeps microseconds."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0
