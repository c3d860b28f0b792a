"""Tells the containers of one Compose project, through the API of Docker or Podman."""

import re
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from lessee.config import ByContainer
from lessee.core.errors import NotNotifiedError
from lessee.core.immutable import Record
from lessee.host.clock import boot_time, wall_time
from lessee.notification.engine import Engine, Inspected, Listed, open_engine
from lessee.notification.results import DeliveryFailed, Done

_PROJECT, _SERVICE, _ONE_OFF = (f"com.docker.compose.{name}" for name in ("project", "service", "oneoff"))
# A container's first process is up to 0.11 s older than its StartedAt says (measured, Docker 26.1).
_SLACK = 0.15
# Docker and Podman mount these from a folder that is called by the container's id.
_MOUNTED = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
_ID = re.compile(r"[0-9a-f]{64}")


def tell(
    target: ByContainer,
    action: str,
    *,
    published_at: float,
    grace: float,
    boot_grace: float,
    signal_in_namespace: Callable[[str], Done | DeliveryFailed],
) -> Done | DeliveryFailed:
    """Restart or signal all running containers of the target, one after another, but never the agent's own.

    `published_at` is on CLOCK_BOOTTIME. `signal_in_namespace` gets the full id of a container; with `through: engine`
    the engine signals PID 1 instead, of whose handlers nothing can be known. One that started after the publish has
    read the new files. One that does not run is left to its restart policy, and reads them when it starts.
    """
    try:
        with open_engine() as engine:
            found = _find(engine, target)
            published = published_at - boot_time() + wall_time()

            def tell_one(one: Inspected) -> Done | DeliveryFailed:
                if action == "restart":
                    return _restart(engine, one, grace, published)
                if target.through_engine:
                    return _signal(engine, one, action, boot_grace, published)
                return signal_in_namespace(one.id)

            return _tell_all(engine, found, tell_one)
    except NotNotifiedError as exc:
        return DeliveryFailed(str(exc))


class _Myself(Record, frozen=True):
    """The agent's own container; not `sure`: this one, or one that joined its network namespace."""

    id: str | None
    sure: bool


def _myself(cgroup: str, mountinfo: str) -> _Myself:
    """Read proc_pid_cgroup(5), which cgroup v2 hides from most containers, and proc_pid_mountinfo(5), which it cannot.

    With `network_mode: service:OTHER` the files of OTHER are mounted, and so its id is seen.
    """
    if ids := _ID.findall(cgroup):
        return _Myself(ids[-1], sure=True)
    for line in mountinfo.splitlines():
        root, mounted_at = line.split(" ")[3:5]
        if mounted_at in _MOUNTED and (ids := _ID.findall(root)):
            return _Myself(ids[-1], sure=False)
    return _Myself(None, sure=True)


def _find(engine: Engine, target: ByContainer) -> list[Listed]:
    """Those that are meant, by name; raises NotNotifiedError where it is not clear."""
    me = _myself(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    project = target.project or _own_project(engine, me)
    # An engine may take a filter for another than it is meant: what it lists is looked at again.
    everyone = [one for one in engine.having(f"{_PROJECT}={project}") if one.label(_PROJECT) == project]
    if target.label is not None:
        having = {one.id for one in engine.having(f"{_PROJECT}={project}", target.label)}
        found = [one for one in everyone if one.id in having and not _is_one_off(one)]
    elif target.service is not None:
        found = [one for one in everyone if one.label(_SERVICE) == target.service and not _is_one_off(one)]
    else:
        found = [one for one in everyone if one.name == target.name]
    return sorted(_without(me, found, everyone, by_label=target.label is not None), key=lambda one: one.name)


def _own_project(engine: Engine, me: _Myself) -> str:
    own = engine.inspect(me.id) if me.id else None
    project = own and (own.config.labels or {}).get(_PROJECT)
    if not project:
        what = "the agent runs in no container of a Compose project that the engine knows"
        raise NotNotifiedError(what, where="notify.container", todo="name the project, as `project: NAME`")
    return project


def _is_one_off(one: Listed) -> bool:
    """Whether it is one of `docker compose run`, which bears its service's labels and is nobody's to restart."""
    return (one.label(_ONE_OFF) or "").lower() == "true"


def _without(me: _Myself, found: list[Listed], everyone: Iterable[Listed], *, by_label: bool) -> list[Listed]:
    if me.sure or not any(one.host_config.network_mode == f"container:{me.id}" for one in everyone):
        return [one for one in found if one.id != me.id]
    if by_label:
        what = "the agent shares its network namespace, and cannot tell which of the containers with the label it is"
        raise NotNotifiedError(what, where="notify.container.label", todo="name the service instead")
    return found


def _tell_all(
    engine: Engine, found: list[Listed], teller: Callable[[Inspected], Done | DeliveryFailed]
) -> Done | DeliveryFailed:
    outcomes: dict[str, Done | DeliveryFailed] = {}
    resting: list[str] = []
    for listed in found:
        try:
            one = engine.inspect(listed.id)
            if one is None or one.state.status not in {"running", "paused"}:
                resting.append(f"{listed.name} is {one.state.status if one else 'gone'}")
            elif one.state.status == "paused":
                outcomes[listed.name] = DeliveryFailed(f"{listed.name} is paused; docker unpause {listed.name}")
            else:
                outcomes[listed.name] = teller(one)
        except NotNotifiedError as exc:
            outcomes[listed.name] = DeliveryFailed(f"{listed.name}: {exc}")
    if not outcomes:
        return DeliveryFailed(", ".join(resting) or "the project has no such container", absent=True)
    return _together(outcomes)


def _together(outcomes: Mapping[str, Done | DeliveryFailed]) -> Done | DeliveryFailed:
    if len(outcomes) == 1:
        return next(iter(outcomes.values()))
    undone = [one for one in outcomes.values() if isinstance(one, DeliveryFailed)]
    if not undone:
        return Done(", ".join(one.how for one in outcomes.values() if isinstance(one, Done)))
    told = [name for name, one in outcomes.items() if isinstance(one, Done)]
    why = "; ".join([one.why for one in undone] + [f"told: {', '.join(told)}"] * bool(told))
    soonest = min((one.retry_in for one in undone if one.retry_in is not None), default=None)
    absent = not told and all(one.absent for one in undone)
    return DeliveryFailed(why, absent=absent, retry_in=soonest, deadly=any(one.deadly for one in undone))


def _restart(engine: Engine, one: Inspected, grace: float, published: float) -> Done:
    if _started_after(published, one):
        return Done(f"{one.title} started after the publish and has read the new files")
    engine.restart(one.id, grace)
    return Done(f"restarted {one.title}")


def _signal(engine: Engine, one: Inspected, action: str, boot_grace: float, published: float) -> Done | DeliveryFailed:
    if _started_after(published, one):
        return Done(f"{one.title} started after the publish and has read the new files")
    if objection := _objection(one, action):
        return DeliveryFailed(f"{one.title}: {objection}")
    wait = _seconds(one.state.started_at) + boot_grace - wall_time()
    if 0 < wait <= boot_grace:
        return DeliveryFailed(f"{one.title} is still starting: it may not catch {action} yet", retry_in=wait)
    engine.kill(one.id, action)
    return Done(f"{action} to {one.title}, through the engine")


def _started_after(published: float, one: Inspected) -> bool:
    # A start that is yet to come was written down before the clock was set back, and says nothing.
    return published + _SLACK < _seconds(one.state.started_at) <= wall_time() + _SLACK


def _objection(one: Inspected, action: str) -> str | None:
    """Why the engine is not to send it: it takes most signals for the user's wish to stop (measured, Docker 26.1).

    It then no longer restarts the container after a crash; not so where Config.StopSignal names another signal, but
    with `unless-stopped` even then. Podman takes every signal so, and writes the stop signal as a number (tried, 5.4).
    """
    policy = one.host_config.restart_policy.name
    if policy in {"", "no"}:
        return None
    away = "or share a PID namespace with it, and leave out `through: engine`"
    if policy == "unless-stopped":
        what = f"after {action} through the engine, `restart: unless-stopped` would not start it again after a crash"
        return f"{what}; write `restart: always` and `stop_signal: SIGTERM` in its service, {away}"
    stop = one.config.stop_signal
    if stop and stop.isdigit():
        what = f"after {action} through the engine, Podman would not start it again after a crash"
        return f"{what}; if this is Docker, write the stop_signal of its service by name, {away}"
    if not stop or _number(stop) == _number(action):
        what = f"after {action} through the engine, `restart: {policy}` would not start it again after a crash"
        other = "a stop_signal other than that" if stop else "`stop_signal: SIGTERM`"
        return f"{what}; write {other} in its service, {away}"
    return None


def _number(name: str) -> int | str:
    """Of `HUP` or `SIGHUP`; what is unknown here, such as RTMIN+3, stays a word."""
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    return signal.Signals.__members__.get(full, full)


def _seconds(moment: str) -> float:
    """Since 1970, of RFC 3339; Docker writes nanoseconds, of which Python keeps microseconds."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0
