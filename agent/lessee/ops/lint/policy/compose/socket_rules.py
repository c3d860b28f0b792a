"""The rules for read sockets: whether an app's service reaches its socket, and may read there."""

from collections.abc import Iterator
from posixpath import basename, dirname

from lessee.config import App, ReadSocket
from lessee.ops.lint.policy.compose.model import Place, Service
from lessee.ops.lint.policy.compose.stack import Stack, is_holder
from lessee.ops.lint.policy.findings import Finding, Level


def socket_findings(stack: Stack) -> Iterator[Finding]:
    """All findings of these rules."""
    for app in stack.config.apps.values():
        if app.socket is not None and stack.agents:
            stale = tuple(_stale_mounts(stack, app, app.socket))
            yield from stale or _unreachable(stack, app, app.socket)
            yield from _other_users(stack, app, app.socket)


def _unreachable(stack: Stack, app: App, socket: ReadSocket) -> Iterator[Finding]:
    if socket.listen is not None:
        return  # A client without Unix sockets shares the agent's network namespace.
    directory = dirname(socket.path)
    todo = f"mount one tmpfs volume at {directory} in the agent, and read-only in the app"
    agent = stack.agents[0]
    if stack.socket_folder(socket) is None:
        what = (
            f"no mount of service {agent.name} is {directory}, so only the agent reaches the socket of app {app.name}"
        )
    elif not any(True for service in stack.services.values() for _ in _views(stack, service, socket)):
        what = f"no service mounts {directory}, where the agent has the socket of app {app.name}"
    else:
        return
    yield _at(agent.place, "socket-not-mounted", "warning", what, todo, app)


def _stale_mounts(stack: Stack, app: App, socket: ReadSocket) -> Iterator[Finding]:
    volume, folder = stack.socket_folder(socket) or ("?", "")
    for service in stack.services.values():
        for mount in service.mounts:
            if mount.volume == volume and mount.source == folder + basename(socket.path):
                what = f"service {service.name} mounts the socket of app {app.name} alone, and never gets a new one"
                yield _at(mount.place, "stale-mount", "error", what, "mount its directory", app)


def _other_users(stack: Stack, app: App, socket: ReadSocket) -> Iterator[Finding]:
    for service in stack.readers(app):
        if not any(_views(stack, service, socket)) or service.uid is None or not service.uid.isdecimal():
            continue
        group = (service.user or "").partition(":")[2]
        own = {agent.uid for agent in stack.agents} if socket.allows_own_user else set()
        if int(service.uid) in socket.uids or service.uid in own or None in own:
            continue
        if group.isdecimal() and int(group) in socket.gids:
            continue
        what = f"service {service.name} has uid {service.uid}, which may not read at the socket of app {app.name}"
        todo = f"write `uids: [{service.uid}]` in apps.{app.name}.socket"
        yield _at(service.place, "socket-other-user", "error", what, todo, app)


def _views(stack: Stack, service: Service, socket: ReadSocket) -> Iterator[object]:
    if service not in stack.agents and not is_holder(service):
        yield from stack.socket_views(service, socket)


def _at(place: Place, rule: str, level: Level, what: str, todo: str, app: App) -> Finding:
    return Finding(rule, level, what, todo, place.file, place.line, app.name)
