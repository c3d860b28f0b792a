"""The rules for Compose files, on their own and together with a configuration."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product

from yaml.nodes import MappingNode

from lessee.config import App, Child, CmdlineTarget, ContainerTarget, NameTarget, PidFileTarget
from lessee.config.grammar.nodes import line_of_key
from lessee.core.immutable import replace
from lessee.core.sensitive.literals import is_secret
from lessee.ops.lint.policy.app_rules import configured_issue, relies_on_sighup, sighup_not_handled
from lessee.ops.lint.policy.compose import fixes
from lessee.ops.lint.policy.compose.broker_rules import broker_notes
from lessee.ops.lint.policy.compose.fixes import NO_REMEDY, Remedy
from lessee.ops.lint.policy.compose.label_rules import label_findings, without_references
from lessee.ops.lint.policy.compose.model import Place, Service
from lessee.ops.lint.policy.compose.reader import ComposeReader
from lessee.ops.lint.policy.compose.shadowed_variables import rendered_variables, shadowed_variables
from lessee.ops.lint.policy.compose.sharing_rules import sharing_findings
from lessee.ops.lint.policy.compose.socket_rules import socket_findings
from lessee.ops.lint.policy.compose.stack import ComposeFiles, Stack, is_holder
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.project import CheckResult
from lessee.ops.lint.policy.signals import UVICORN_WORKERS, issue_of_command, names_in


def check_compose(
    paths: Iterable[str],
    checked: CheckResult,
    load: Callable[[str], str],
    load_env: Callable[[str], str | None],
    configuration: str = ComposeFiles().configuration,
) -> Iterator[Finding]:
    """All findings in Compose files.

    `load` returns the text of a Compose file or raises ConfigError, `load_env` that of an `env_file` if it exists.
    `configuration` is the path of lessee.yaml, relative to the directory of the first Compose file.
    """
    reader, paths = ComposeReader(load), tuple(paths)
    services = reader.services(paths)
    yield from reader.findings
    yield from literal_secrets(services.values())
    if checked.valid is not None:
        files = ComposeFiles(paths, reader.volumes, reader.root, frozenset(reader.interpolated), configuration)
        rendered = {app: rendered_variables(app, checked.texts) for app in checked.valid.config.apps}
        stack = Stack(services, checked.valid.config, files, rendered, checked.valid.root)
        yield from project_findings(stack, checked.valid.root, checked.file)
        yield from label_findings(stack)
        yield from shadowed_variables(stack, checked.texts, load_env)
        yield from broker_notes(stack, checked.texts, load_env)


def project_findings(stack: Stack, root: MappingNode, file: str) -> Iterator[Finding]:
    """Findings in the services together with a configuration; `root` is its YAML, and `file` its name."""
    yield from _unknown_apps(stack)
    yield from sharing_findings(stack)
    yield from socket_findings(stack)
    for app in stack.config.apps.values():
        yield from chain(
            _unknown_service(stack, app, root, file),
            _sighup_issues(stack, app, root, file),
            _writable_mounts(stack, app),
            _hidden_files(stack, app),
            _stale_mounts(stack, app),
            _same_user(stack, app),
            _no_shared_pid(stack, app),
            _no_stop_signal(stack, app),
        )


def literal_secrets(services: Iterable[Service]) -> Iterator[Finding]:
    """Variables with literal secrets, without their values."""
    seen = set()
    for service in services:
        for kind, variables in (("environment", service.environment), ("build", service.build_args)):
            for name, variable in variables.items():
                # An anchor or `extends` repeats a variable, which the file has only once.
                if (name, variable.place) in seen or not looks_secret(name, variable.value or ""):
                    continue
                seen.add((name, variable.place))
                what = f"{name} in the {kind} of service {service.name} is a literal that looks like a secret"
                todo = f"{_in_vault(service, name)}, or write ${{{name}}}"
                yield _at(variable.place, "literal-secret", "warning", what, todo)


def _unknown_apps(stack: Stack) -> Iterator[Finding]:
    for name, found in stack.execs.items():
        if found.app in stack.config.apps or not found.app or "$" in found.app:
            continue
        service = stack.services[name]
        words = service.entrypoint if service.command is None else service.command
        place = words.place if words is not None else service.place
        what = f"service {name} runs `lessee exec --app {found.app}`, but the configuration has no such app"
        todo = f"its apps are: {', '.join(stack.config.apps) or 'none'}"
        yield _at(place, "unknown-app", "error", what, todo, remedy=fixes.nearest_app(stack, service, found.app))


def _unknown_service(stack: Stack, app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    target = _container(app)
    if target is None or target.service is None or target.service in stack.services:
        return
    what = f"the Compose file has no service {target.service}"
    todo = f"its services are: {', '.join(stack.services) or 'none'}"
    line = line_of_key(root, ("apps", app.name, "notify", "container", "service"))
    fix = fixes.nearest_service(stack, app, target.service, file).fix
    yield Finding("unknown-service", "error", what, todo, file, line, app.name, fix=fix)


def _sighup_issues(stack: Stack, app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    if not relies_on_sighup(app) or configured_issue(app) is not None:
        return
    for service, command in _notified_commands(stack, app):
        environ = {name: variable.value or "" for name, variable in service.environment.items()}
        if (issue := issue_of_command(command, environ)) is not None:
            finding = sighup_not_handled(app, issue, root, file, f", which service {service.name} runs,")
            patient = fixes.worker_patience(stack, service) if issue == UVICORN_WORKERS else NO_REMEDY
            yield finding if patient.fix is None else replace(finding, fix=patient.fix, lines=patient.lines)


def _notified_commands(stack: Stack, app: App) -> Iterator[tuple[Service, tuple[str, ...]]]:
    """The services and commands that start the process to notify."""
    target = app.notify.target if app.notify is not None else None
    for service in stack.readers(app):
        found = stack.execs.get(service.name)
        command = service.words if found is None else found.child
        match target:
            case Child() if found is not None and found.app == app.name:
                yield service, command
            case ContainerTarget(service=name) if name == service.name and found is None:
                yield service, command
            case NameTarget(name) if name in names_in(command):
                yield service, command
            case CmdlineTarget(pattern) if re.search(pattern, " ".join(command)):
                yield service, command
            case _:
                pass


def _writable_mounts(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.readers(app):
        if service in stack.agents or is_holder(service):
            continue
        for view in stack.views(service, app):
            if not view.mount.read_only:
                what = f"service {service.name} may write to the directory of app {app.name}"
                remedy = fixes.read_only(stack, service, view.mount)
                yield _at(
                    view.mount.place, "writable-mount", "warning", what, "mount it read-only (`:ro`)", app, remedy
                )


def _hidden_files(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.services.values():
        for view in stack.views(service, app):
            for target, place in service.secrets:
                if f"{target}/".startswith(view.path):
                    what = f"service {service.name} mounts a secret at {target}, in the directory of app {app.name}"
                    yield _at(place, "hidden-files", "error", what, "move one of the two to another path", app)


def _stale_mounts(stack: Stack, app: App) -> Iterator[Finding]:
    for service in stack.services.values():
        for mount in stack.stale_mounts(service, app):
            what = f"service {service.name} mounts a part of the directory of app {app.name}, and never gets new files"
            todo = f"mount the whole directory, {app.directory}"
            yield _at(mount.place, "stale-mount", "error", what, todo, app, fixes.whole_directory(stack, app, mount))


def _no_shared_pid(stack: Stack, app: App) -> Iterator[Finding]:
    target = app.notify.target if app.notify is not None else None
    readers = list(stack.readers(app))
    match target:
        case NameTarget() | CmdlineTarget() | PidFileTarget():
            pass
        case ContainerTarget(service=name, through_engine=False) if app.notify and app.notify.action != "restart":
            readers = [service for service in readers if service.name == name]
        case _:
            return
    if not stack.agents or not readers or any(_sees(agent, item) for agent in stack.agents for item in readers):
        return
    agent, reader = stack.agents[0], readers[0]
    what = f"app {app.name} is notified by a signal, but {agent.name} cannot see processes of service {reader.name}"
    todo = "give both the `pid: service:…` of a third service that holds the PID namespace (compose/README.md)"
    yield _at(reader.place, "no-shared-pid", "error", what, todo, app, fixes.namespace(stack, agent, reader))


def _same_user(stack: Stack, app: App) -> Iterator[Finding]:
    for agent, service in product(stack.agents, stack.viewers(app)):
        if agent.uid is None or agent.uid != service.uid:
            continue
        what = f"services {agent.name} and {service.name}, which reads app {app.name}, have the same user: {agent.uid}"
        if agent.uid == "0":
            todo = f"give {service.name} a `user` of its own"
        else:  # Of another uid than 0, a container gets no capability from `cap_add`.
            todo = f'write `user: "0:GID"` for {agent.name} with the app\'s group, `cap_drop: [ALL]`, and '
            todo += "`cap_add: [KILL]` to send signals (compose/README.md)"
        remedy = fixes.other_user(stack, app, agent, service)
        yield _at(agent.place, "same-user", "warning", what, todo, app, remedy)


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
    what = f"after {action} through the engine, Docker would not restart service {service.name} after a crash"
    remedy = fixes.stop_signal(stack, service, always=service.restart == "unless-stopped")
    todo += ", or let them share a PID namespace"
    yield _at(service.place, "no-stop-signal", "error", what, todo, app, remedy)


def _container(app: App) -> ContainerTarget | None:
    """The container of the same project that is notified."""
    target = app.notify.target if app.notify is not None else None
    return target if isinstance(target, ContainerTarget) and target.project is None else None


def _at(
    place: Place, rule: str, level: Level, what: str, todo: str, app: App | None = None, remedy: Remedy = NO_REMEDY
) -> Finding:
    name = "" if app is None else app.name
    return Finding(rule, level, what, todo, place.file, place.line, name, fix=remedy.fix, lines=remedy.lines)


def _in_vault(service: Service, name: str) -> str:
    """How the secret gets into Vault and from there into a file; a person chooses the path."""
    path, key = f"applications/{service.name}", name.lower()
    template = f'{name}={{{{ secret("{path}").{key} }}}}'
    return f"store it: `lessee set --create {path} {key}`, render it: `{template}`"


_LOGIN = re.compile(r"[A-Z][A-Z0-9+.-]*://[^\s/@:]*:(?P<password>[^\s/@]+)@", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{\w+(?:(?P<operator>:?[-?+])(?P<other>[^{}]*))?\}|\w+)")
_ELSEWHERE = "\0"
"""Replaces a variable whose value is not in the file."""
_NO_VALUES = frozenset({"", "true", "false", "yes", "no", "on", "off"})
_PATHS = ("/", "./", "../")


def looks_secret(name: str, value: str) -> bool:
    """Whether a literal value is a secret: by the name of its variable, or as a URL or a header with a password."""
    literal = _VARIABLE.sub(_literal_part, without_references(value, _ELSEWHERE).replace("$$", "\1"))
    login = _LOGIN.search(literal)
    if login is not None:
        return _ELSEWHERE not in login["password"]
    if _ELSEWHERE in literal or literal.lower() in _NO_VALUES or literal.startswith(_PATHS):
        return False
    return is_secret(name, literal)


def _literal_part(variable: re.Match[str]) -> str:
    """A variable's default, which is in the file."""
    is_default = (variable["operator"] or "").endswith("-")
    return variable["other"] if is_default and variable["other"] else _ELSEWHERE
