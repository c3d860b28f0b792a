"""What is wrong between the services of a Compose file and the apps of a configuration."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from yaml.nodes import MappingNode

from lessee.config import App, ByCmdline, ByContainer, ByName, ByPidFile, Child
from lessee.ops.lint.policy.app_rules import by_notify, deaf_to_sighup, line_of_key, takes_sighup_alone
from lessee.ops.lint.policy.compose.literals import looks_secret
from lessee.ops.lint.policy.compose.model import Place, Service
from lessee.ops.lint.policy.compose.stack import Stack, keeps
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.signals import by_command, names_in


def misfits(stack: Stack, root: MappingNode, file: str) -> Iterator[Finding]:
    """`root` is the configuration as YAML, and `file` what it is called."""
    yield from _unknown_apps(stack)
    for app in stack.config.apps.values():
        yield from chain(
            _unknown_service(stack, app, root, file),
            _deaf(stack, app, root, file),
            _writable_mounts(stack, app),
            _hidden_files(stack, app),
            _no_shared_pid(stack, app),
            _no_stop_signal(stack, app),
        )


def literal_secrets(services: Iterable[Service]) -> Iterator[Finding]:
    """Values are not repeated."""
    told = set()
    for service in services:
        for kind, variables in (("environment", service.environment), ("build", service.build_args)):
            for name, variable in variables.items():
                # What an anchor or `extends` repeats stands there once.
                if (name, variable.place) in told or not looks_secret(name, variable.value or ""):
                    continue
                told.add((name, variable.place))
                what = f"{name} in the {kind} of service {service.name} is spelled out, and looks like a secret"
                todo = f"keep it in Vault and let lessee render it, or write ${{{name}}}"
                yield _at(variable.place, "literal-secret", "warning", what, todo)


def _unknown_apps(stack: Stack) -> Iterator[Finding]:
    for name, found in stack.execs.items():
        if found.app in stack.config.apps or not found.app or "$" in found.app:
            continue
        service = stack.services[name]
        said = service.entrypoint if service.command is None else service.command
        place = said.place if said is not None else service.place
        what = f"service {name} runs `lessee exec --app {found.app}`, and there is no such app"
        yield _at(place, "unknown-app", "error", what, f"there are: {', '.join(stack.config.apps) or 'none'}")


def _unknown_service(stack: Stack, app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    target = _container(app)
    if target is None or target.service is None or target.service in stack.services:
        return
    what = f"there is no service {target.service} in the Compose file"
    todo = f"there are: {', '.join(stack.services) or 'none'}"
    line = line_of_key(root, ("apps", app.name, "notify", "container", "service"))
    yield Finding("unknown-service", "error", what, todo, file, line, app.name)


def _deaf(stack: Stack, app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    if not takes_sighup_alone(app) or by_notify(app) is not None:
        return
    for service, command in _told_commands(stack, app):
        environ = {name: variable.value or "" for name, variable in service.environment.items()}
        if (deaf := by_command(command, environ)) is not None:
            yield deaf_to_sighup(app, deaf, root, file, f", which service {service.name} runs,")


def _told_commands(stack: Stack, app: App) -> Iterator[tuple[Service, tuple[str, ...]]]:
    """Those that start the process which is to be told."""
    target = app.notify.target if app.notify is not None else None
    for service in stack.readers(app):
        found = stack.execs.get(service.name)
        command = service.words if found is None else found.child
        match target:
            case Child() if found is not None and found.app == app.name:
                yield service, command
            case ByContainer(service=name) if name == service.name and found is None:
                yield service, command
            case ByName(name) if name in names_in(command):
                yield service, command
            case ByCmdline(pattern) if re.search(pattern, " ".join(command)):
                yield service, command
            case _:
                pass


def _writable_mounts(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.readers(app):
        if service in stack.agents or keeps(service):
            continue
        for view in stack.views(service, app):
            if not view.mount.read_only:
                what = f"service {service.name} may write where the files of app {app.name} lie"
                yield _at(view.mount.place, "writable-mount", "warning", what, "mount it read-only (`:ro`)", app)


def _hidden_files(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.services.values():
        for view in stack.views(service, app):
            for target, place in service.secrets:
                if f"{target}/".startswith(view.path):
                    what = f"service {service.name} mounts a secret at {target}, where app {app.name} has its files"
                    yield _at(place, "hidden-files", "error", what, "give one of the two another place", app)


def _no_shared_pid(stack: Stack, app: App) -> Iterator[Finding]:
    target = app.notify.target if app.notify is not None else None
    readers = list(stack.readers(app))
    match target:
        case ByName() | ByCmdline() | ByPidFile():
            pass
        case ByContainer(service=name, through_engine=False) if app.notify and app.notify.action != "restart":
            readers = [service for service in readers if service.name == name]
        case _:
            return
    if not stack.agents or not readers or any(_sees(agent, one) for agent in stack.agents for one in readers):
        return
    agent, reader = stack.agents[0], readers[0]
    what = f"app {app.name} is to be told by a signal, and {agent.name} sees no process of service {reader.name}"
    todo = "give both `pid: service:…` of a third service, which holds the namespace (compose/README.md)"
    yield _at(reader.place, "no-shared-pid", "error", what, todo, app)


def _sees(agent: Service, service: Service) -> bool:
    return (
        agent == service
        or agent.pid in {"host", f"service:{service.name}"}
        or service.pid == f"service:{agent.name}"
        or (agent.pid is not None and agent.pid == service.pid)
    )


def _no_stop_signal(stack: Stack, app: App) -> Iterator[Finding]:
    target = _container(app)
    if app.notify is None or target is None or not target.through_engine or app.notify.action == "restart":
        return
    service = stack.services.get(target.service or "")
    if service is None or service.restart in {None, "no"}:
        return
    action, stop = app.notify.action, service.stop_signal
    if service.restart == "unless-stopped":
        todo = "write `restart: always` and `stop_signal: SIGTERM`"
    elif stop is None or stop.removeprefix("SIG") == action.removeprefix("SIG"):
        todo = "write `stop_signal: SIGTERM`"
    else:
        return
    what = f"after {action} through the engine, service {service.name} would not be started again after a crash"
    yield _at(service.place, "no-stop-signal", "error", what, f"{todo}, or let them share a PID namespace", app)


def _container(app: App) -> ByContainer | None:
    """The container of the same project that is told."""
    target = app.notify.target if app.notify is not None else None
    return target if isinstance(target, ByContainer) and target.project is None else None


def _at(place: Place, rule: str, level: Level, what: str, todo: str, app: App | None = None) -> Finding:
    return Finding(rule, level, what, todo, place.file, place.line, "" if app is None else app.name)
