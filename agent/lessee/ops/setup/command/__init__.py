"""`lessee setup`: sets up environments, with their policies, roles, engines and initial secrets."""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lessee.audit_trail.operator_actions import OperatorAction, recorded_action
from lessee.config import Config
from lessee.core.errors import ManuallyChangedError, UsageError
from lessee.core.printable import counted
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.project import Project, environments_of, find, load, require_setup
from lessee.ops.setup.apply import PlanExecutor
from lessee.ops.setup.command.prompt import agree, ask
from lessee.ops.setup.credential_files import (
    file_line,
    missing,
    prepare_folder,
    roles_of,
    stale_role_ids,
    write_credentials,
)
from lessee.ops.setup.discovery import Discovery, require_ready
from lessee.ops.setup.initial_values import Values, fetch, weak_values
from lessee.ops.setup.policy.desired_state import (
    Desired,
    InitialSecret,
    desired_for_all,
    desired_for_environment,
)
from lessee.ops.setup.policy.objects import Group
from lessee.ops.setup.policy.plan import (
    Conflict,
    Remove,
    Selection,
    ServerConfigRequired,
    Step,
    Unconfirmed,
    actions,
    environment_of,
    plan,
    removals,
    without_removals,
)
from lessee.ops.setup.policy.plan_report import count, step_lines
from lessee.ops.setup.revoked_logins import destroyed, find_revoked
from lessee.process.hardening import harden
from lessee.vault.admin import AdminClient, admin_client

_MODES: dict[str, tuple[str, ...]] = {
    "init": ("key_shares", "key_threshold", "pgp_key", "root_token_pgp_key"),
    "unseal": (),
    "migrate_from": ("to", "plan", "quiet"),
    "remove": ("yes", "plan"),
}
"""The options that select another mode, each with the options that it allows."""
_SETUP_OPTIONS = ("plan", "force", "yes", "only", "output", "wrap_ttl")


def run(arguments: argparse.Namespace) -> int:
    """0 where the server is as configured, or with --plan; 75 where something was left in place."""
    escape_unknown()  # A character that the terminal cannot encode must not end the command halfway.
    mode = _mode(arguments)
    if mode in {"init", "unseal"}:
        from lessee.ops.setup.command import init

        return init.run(arguments)
    if mode == "migrate_from":
        from lessee.ops.setup.command import migrate

        return migrate.run(arguments)
    harden()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if mode == "remove":
        from lessee.ops.setup.command import remove

        return remove.run(arguments, path, environ)
    _check_wrap_ttl(arguments)
    return _set_up(arguments, path, environ)


def _mode(arguments: argparse.Namespace) -> str | None:
    """The selected mode, None for setting up. Raises UsageError for options that it does not allow."""
    mode = next((name for name in _MODES if getattr(arguments, name) is not None), None)
    allowed = _SETUP_OPTIONS if mode is None else (mode, *_MODES[mode])
    every = dict.fromkeys((*_MODES, *(name for names in _MODES.values() for name in names), *_SETUP_OPTIONS))
    for option in every:
        if getattr(arguments, option) not in (None, False, []) and option not in allowed:
            owner = next((name for name, options in _MODES.items() if option in options), "")
            context = f"with {_spelled(mode)}" if mode else f"without {_spelled(owner)}"
            raise UsageError(f"{_spelled(option)} has no effect {context}", todo="omit it")
    return mode


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _check_wrap_ttl(arguments: argparse.Namespace) -> None:
    if arguments.wrap_ttl is not None and arguments.output is None:
        raise UsageError("--wrap-ttl has no effect without --output", todo="add --output, or omit --wrap-ttl")
    if arguments.wrap_ttl is not None and arguments.wrap_ttl < 1:
        raise UsageError("--wrap-ttl must be at least one second", todo="write it as in --wrap-ttl 10m")


def _set_up(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    require_setup(path)
    projects = _projects(path, environ)
    configs = {name: project.config for name, project in projects.items()}
    selection = _selection(arguments.only or (), configs)
    desired = list(_desired(projects))
    config = next(iter(configs.values()))
    folder = Path(arguments.output).absolute() if arguments.output is not None else None
    with admin_client(config.vault, environ, boot_time) as client:
        require_ready(client)
        state = Discovery(client).state(configs, desired)
        steps = plan(desired, state, selection, force=arguments.force)
        if not (arguments.yes or _agreed(steps, plan_only=arguments.plan)):
            steps = without_removals(steps)
        selected = [item for item in desired if selection.includes(item.environment, _group(item))]
        roles = roles_of(selected)
        revoked = find_revoked(client, configs) if folder is not None else {}
        wraps = arguments.wrap_ttl is not None
        replaced = (
            frozenset(destroyed(client, folder, roles, revoked, wraps=wraps)) if folder is not None else frozenset()
        )
        if arguments.plan:
            _print_plan(steps, folder, selected, replaced)
            # Nothing is asked for, and nothing is written: what is missing shows now.
            _warn_of_weak(fetch(actions(steps), environ, path.parent, lambda _: "{}"))
            return 0
        values = fetch(actions(steps), environ, path.parent, ask)
        _warn_of_weak(values)
        if folder is not None:
            prepare_folder(folder)
        files = 0
        with recorded_action(
            config.audit_trail, environ, "set up", None, config=str(path), server=config.vault.address
        ) as act:
            reporter = _StepReporter(act)
            PlanExecutor(client, configs, state, values).run(steps, selected, reporter.report)
        if folder is not None:
            for file in stale_role_ids(client, folder, roles):
                what = f"{file}: the role was created again since; remove this file and its secret_id"
                print(f"lessee: warning: {what}", file=sys.stderr)
            written = _FileReporter()
            write_credentials(client, folder, roles, arguments.wrap_ttl, written.report, revoked, replaced)
            files = written.count
        print(f"done: {_summary(reporter.steps, files)}")
    _refuse_left(reporter.steps)
    return 0


def _agreed(steps: Sequence[Step], *, plan_only: bool) -> bool:
    """Whether the operator at the terminal agrees to the removals; without a terminal, or for a plan, no."""
    removed = removals(steps)
    if plan_only or not removed:
        return False
    lines = [line for step in removed for line in step_lines(step)]
    what = f"setup created {counted(len(lines), 'object')} that this configuration does not have"
    return agree("\n".join([f"{what}; another file may have them:", *lines]), "remove all of them")


def _warn_of_weak(values: Values) -> None:
    for where, weakness in weak_values(values):
        todo = "`lessee validate` reports it until `lessee set` replaces it"
        print(f"lessee: warning: {where} {weakness}; {todo}", file=sys.stderr)


def set_up_server(
    client: AdminClient,
    project: Project,
    groups: Iterable[Group],
    environ: Mapping[str, str],
    report: Callable[[Step], None],
    is_wanted: Callable[[Desired], bool] = lambda _: True,
) -> None:
    """Set up the environment of one project on a server, whatever address it names. Raises LesseeError.

    It removes nothing: another project of the same environment may have made it. A step that is a `Conflict` or a
    `ServerConfigRequired` is left to the operator.
    """
    configs = {str(project.config.environment): project.config}
    selection = Selection(groups=frozenset(groups))
    every = _desired({str(project.config.environment): project})
    desired = [item for item in every if _group(item) in selection.groups and is_wanted(item)]
    state = Discovery(client).state(configs, desired)
    planned = plan(desired, state, selection, force=False)
    steps = [step for step in planned if not isinstance(step.step if isinstance(step, Conflict) else step, Remove)]
    values = fetch(actions(steps), environ, project.path.parent, ask)
    PlanExecutor(client, configs, state, values).run(steps, desired, report)


def _projects(path: Path, environ: Mapping[str, str]) -> dict[str, Project]:
    """The configuration as the agents of each environment read it."""
    names = environments_of(path, environ)
    blocks = ("setup", "rotation", "monitor")
    loaded = [load(path, environ, environment=name, blocks=blocks, for_child=True) for name in names]
    return {str(project.config.environment): project for project in loaded}


def _desired(projects: Mapping[str, Project]) -> Iterator[Desired]:
    yield from desired_for_all(next(iter(projects.values())).config)
    for project in projects.values():
        yield from desired_for_environment(project.config, project.compiled_apps)


def _group(desired: Desired) -> Group:
    return Group.SECRETS if isinstance(desired, InitialSecret) else desired.group


def _selection(words: Sequence[str], configs: Mapping[str, Config]) -> Selection:
    environments, groups = set(), set()
    for word in words:
        name = word.removeprefix("environment=")
        if name != word and name in configs:
            environments.add(name)
        elif word in Group.__members__.values():
            groups.add(Group(word))
        else:
            names = ", ".join((*Group, *(f"environment={name}" for name in configs)))
            raise UsageError(f"--only {word} selects nothing", todo=f"use one of: {names}")
    return Selection(frozenset(environments), frozenset(groups))


def _print_plan(
    steps: Sequence[Step], folder: Path | None, desired: Iterable[Desired], replaced: Collection[Path]
) -> None:
    reporter = _StepReporter()
    for name in dict.fromkeys(map(environment_of, steps)):
        for step in steps:
            if environment_of(step) == name:
                reporter.report(step)
    written = _FileReporter()
    if folder is not None:
        for _, directory, names in missing(folder, roles_of(desired), replaced):
            written.report(file_line(directory, names))
    changes = sum(1 for _ in actions(steps)) + written.count
    print(f"plan: {changes} change{'s' * (changes != 1)} ({_summary(steps, written.count)})")


def _summary(steps: Iterable[Step], files: int) -> str:
    """The steps by sort, and the number of roles that got files."""
    steps = tuple(steps)
    parts = [count(steps)] if steps or not files else []
    return ", ".join([*parts, *([f"credential files of {files} role{'s' * (files != 1)}"] if files else [])])


class _FileReporter:
    """Prints the directories of credential files below a heading, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def report(self, line: str) -> None:
        if not self.count:
            print("files:")
        self.count += 1
        print(line)


class _StepReporter:
    """Prints steps below a heading for each environment, and records them in the audit trail."""

    def __init__(self, act: OperatorAction | None = None) -> None:
        """`act`: the act under way in the audit trail; None for a plan."""
        self.steps: list[Step] = []
        self._act = act
        self._heading: str | None = None

    def report(self, step: Step) -> None:
        self.steps.append(step)
        if self._act is not None:
            self._act.step(next(iter(step_lines(step))), environment=environment_of(step) or None)
        if isinstance(step, ServerConfigRequired):
            warning = "\n".join(step_lines(step))
            print(f"lessee: warning: {warning.strip()}", file=sys.stderr)
            return
        if environment_of(step) != self._heading:
            self._heading = environment_of(step)
            print(f"{self._heading or 'all environments'}:")
        for line in step_lines(step):
            print(line)


def _refuse_left(steps: Collection[Step]) -> None:
    conflicts = sum(isinstance(step, Conflict) for step in steps)
    unconfirmed = sum(isinstance(step, Unconfirmed) for step in steps)
    what, todo = [], []
    if conflicts:
        what.append(f"{conflicts} manual change{'s' * (conflicts != 1)}")
        todo.append("change the configuration, or use --force to overwrite")
    if unconfirmed:
        what.append(f"{unconfirmed} object{'s' * (unconfirmed != 1)} that this configuration does not have")
        todo.append("run setup with the file that has them, or use --yes to remove them")
    if what:
        raise ManuallyChangedError(f"{' and '.join(what)} left in place (marked with !)", todo="; ".join(todo))
