"""The rules for what an agent and its apps share: the agent itself, directories, volumes, and the order of starts."""

from collections.abc import Iterator

from lessee.config import App, CmdlineTarget, ContainerTarget, NameTarget, PidFileTarget
from lessee.ops.lint.policy.compose import fixes
from lessee.ops.lint.policy.compose.additions import in_containers, missing_agent, missing_mounts
from lessee.ops.lint.policy.compose.agent_service import gid_of, reason_against
from lessee.ops.lint.policy.compose.likely_readers import likely_reader
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.findings import Finding

_PRIVATE, _SHARED = "0700", "0750"


def sharing_findings(stack: Stack) -> Iterator[Finding]:
    """All findings of these rules."""
    if not stack.agents:
        yield from _no_agent(stack)
        return
    for app in in_containers(stack):
        yield from _unmounted(stack, app)
        yield from _no_restart_policy(stack, app)
        yield from _starts_too_early(stack, app)
    yield from _disks(stack)


def _no_agent(stack: Stack) -> Iterator[Finding]:
    apps = in_containers(stack)
    if not apps or not stack.services or any(_is_on_host(stack, app) for app in apps):
        return
    what = f"no service runs the agent, so no container has the files of {', '.join(app.name for app in apps)}"
    if (why := reason_against(stack)) is not None:
        what_for = f"{stack.files.configuration} is not for a container: {why}"
        todo = f"`lessee adopt` adds one with a login of its own; {what_for}"
        yield Finding("no-agent", "warning", what, todo, stack.files.paths[-1], 0)
        return
    is_certain = all(likely_reader(stack, app) is not None for app in apps)
    todo = "add one, and what it shares with the apps" + ("" if is_certain else "; their services are not known here")
    remedy = fixes.adding(stack, "add the agent, and what it shares", missing_agent(stack), is_certain=is_certain)
    yield Finding("no-agent", "warning", what, todo, stack.files.paths[-1], 0, fix=remedy.fix, lines=remedy.lines)


def _is_on_host(stack: Stack, app: App) -> bool:
    """Whether a service mounts the app's directory of the host, where an agent outside of Compose writes it."""
    return any(True for service in stack.services.values() for _ in stack.views(service, app))


def _unmounted(stack: Stack, app: App) -> Iterator[Finding]:
    target = app.notify.target if app.notify is not None else None
    if isinstance(target, ContainerTarget) and target.project is not None:
        return
    if _reads_at_socket(stack, app):
        return
    agent, reader = stack.agents[0], likely_reader(stack, app)
    if stack.shared_folder(app) is None:
        what = f"no mount of service {agent.name} is the directory of app {app.name}, so only the agent has its files"
        place = agent.place
    elif reader is not None and not any(stack.views(reader, app)) and not any(stack.stale_mounts(reader, app)):
        what = f"service {reader.name} does not mount the directory of app {app.name}"
        place = reader.place
    else:
        return
    remedy = fixes.adding(
        stack, f"mount the directory of app {app.name}", missing_mounts(stack, app), is_certain=reader is not None
    )
    todo = f"mount one tmpfs volume at {app.directory} in both"
    yield Finding(
        "app-not-mounted",
        "warning",
        what,
        todo,
        place.file,
        place.line,
        app.name,
        fix=remedy.fix,
        lines=remedy.lines,
    )


def _reads_at_socket(stack: Stack, app: App) -> bool:
    """Whether it has a read socket, and no service mounts its directory."""
    return app.socket is not None and not any(any(stack.views(each, app)) for each in stack.viewers(app))


def _no_restart_policy(stack: Stack, app: App) -> Iterator[Finding]:
    """A process that the agent ends by SIGTERM is started again by the Engine alone."""
    notify = app.notify
    if notify is None or "restart" not in {notify.action, notify.on_unhandled_signal}:
        return
    if not isinstance(notify.target, NameTarget | CmdlineTarget | PidFileTarget):
        return  # The Engine restarts a container by a request, and `lessee exec` its child.
    for service in stack.readers(app):
        if service.restart in {None, "no", "none"} and service not in stack.agents:
            what = f"the agent restarts app {app.name} by ending its process, and nothing starts {service.name} again"
            remedy = fixes.restart_policy(stack, service)
            yield Finding(
                "no-restart-policy",
                "error",
                what,
                "write `restart: unless-stopped`",
                service.place.file,
                service.place.line,
                app.name,
                fix=remedy.fix,
                lines=remedy.lines,
            )


def _starts_too_early(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.readers(app):
        for agent in stack.agents:
            wait = service.depends_on.get(agent.name)
            if wait is not None and wait.condition == "service_started":
                what = f"service {service.name} starts as soon as {agent.name} has started, before its files exist"
                todo = f"write `{agent.name}: {{condition: service_healthy}}`"
                remedy = fixes.condition(stack, service, agent)
                yield Finding(
                    "starts-too-early",
                    "warning",
                    what,
                    todo,
                    wait.place.file,
                    wait.place.line,
                    app.name,
                    fix=remedy.fix,
                    lines=remedy.lines,
                )


def _disks(stack: Stack) -> Iterator[Finding]:
    """The volumes of apps' directories and of the agent's state that the agent refuses, or that an app cannot enter."""
    config = stack.config
    state = {mount.volume for agent in stack.agents for mount in agent.mounts if mount.target == config.state_dir}
    shared = {folder[0]: app for app in in_containers(stack) if (folder := stack.shared_folder(app)) is not None}
    for name, volume in stack.files.volumes.items():
        app = shared.get(name)
        if app is None and (name not in state or config.allow_disk):
            continue
        gid = gid_of(app, None if _reads_at_socket(stack, app) else likely_reader(stack, app)) if app is not None else 0
        whose = f"of app {app.name}'s directory" if app is not None else "of the agent's state"
        of = app.name if app is not None else ""
        place = volume.place
        if not volume.is_tmpfs and not (app is not None and app.allow_disk):
            what = f"volume {name} {whose} is on a disk, where the agent writes no secret"
            todo = f'write `driver_opts: {{type: tmpfs, device: tmpfs, o: "mode={_SHARED if app else _PRIVATE},…"}}`'
            remedy = fixes.in_memory(stack, volume, gid, _SHARED if app is not None else _PRIVATE)
            yield Finding(
                "not-in-memory", "error", what, todo, place.file, place.line, of, fix=remedy.fix, lines=remedy.lines
            )
        elif app is not None and (found := _gid(volume.options.get("o", ""))) not in {None, gid} and gid:
            what = f"volume {name} {whose} belongs to group {found}, and its files to group {gid}"
            remedy = fixes.group(stack, volume, gid)
            todo = f"write `gid={gid}` in its options"
            yield Finding(
                "other-group", "error", what, todo, place.file, place.line, of, fix=remedy.fix, lines=remedy.lines
            )


def _gid(options: str) -> int | None:
    """The group that the options of a tmpfs name."""
    found = [each.partition("=")[2] for each in options.split(",") if each.startswith("gid=")]
    return int(found[-1]) if found and found[-1].isdecimal() else None
