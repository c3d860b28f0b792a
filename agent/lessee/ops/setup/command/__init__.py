"""`lessee setup`: environments, who may do what in them, and what stands there at first."""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lessee.audit_trail.operator_acts import Doing, acting
from lessee.config import Config
from lessee.core.errors import ManuallyChangedError, UsageError
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.project import Project, environments_of, find, load
from lessee.ops.setup.apply import PlanExecutor
from lessee.ops.setup.command.modes import mode
from lessee.ops.setup.command.prompt import ask
from lessee.ops.setup.credential_files import write_credentials, line_of, missing, roles_of, stale
from lessee.ops.setup.discovery import Discovery, require_ready
from lessee.ops.setup.initial_values import fetch
from lessee.ops.setup.policy import desired_state as wanting
from lessee.ops.setup.policy.desired_state import InitialSecret, Desired
from lessee.ops.setup.policy.objects import Group
from lessee.ops.setup.policy.plan import ServerConfigRequired, Conflict, Selection, Step, actions, environment_of, plan
from lessee.ops.setup.policy.plan_report import count, step_lines
from lessee.process.hardening import make_private
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 where all is as wanted, or --plan told what would be done; 75 where something was left as by hand."""
    escape_unknown()  # What a terminal cannot spell is no reason to end half way.
    if (asked := mode(arguments)) in {"init", "unseal"}:
        from lessee.ops.setup.command import init

        return init.run(arguments)
    if asked == "migrate_from":
        from lessee.ops.setup.command import migrate

        return migrate.run(arguments)
    make_private()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.remove is not None:
        from lessee.ops.setup.command import remove

        return remove.run(arguments, path, environ)
    _check_options(arguments)
    return _set_up(arguments, path, environ)


def _set_up(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    projects = _projects(path, environ)
    configs = {name: project.config for name, project in projects.items()}
    only = _only(arguments.only or (), configs)
    wanted = list(_wanted(projects))
    config = next(iter(configs.values()))
    with admin_client(config.vault, environ, boot_time) as client:
        require_ready(client)
        state = Discovery(client).state(configs, wanted)
        steps = plan(wanted, state, only, force=arguments.force)
        selected = [one for one in wanted if only.includes(one.environment, _group(one))]
        folder = Path(arguments.output).absolute() if arguments.output is not None else None
        if arguments.plan:
            _print_plan(steps, folder, selected)
            return 0
        values = fetch(actions(steps), environ, path.parent, ask)
        with acting(config.trail, environ, "set up", None, config=str(path), server=config.vault.address) as doing:
            describe = _StepReporter(doing)
            PlanExecutor(client, configs, state, values).act(steps, selected, describe.tell)
        if folder is not None:
            for file in stale(client, folder, roles_of(selected)):
                print(f"lessee: warning: {file}: the role was made anew; remove it and its secret_id", file=sys.stderr)
            print("files:")
            write_credentials(client, folder, roles_of(selected), arguments.wrap, print)
        print(f"done: {count(describe.describe)}")
    _refuse_conflicts(describe.describe)
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.wrap is not None and arguments.output is None:
        raise UsageError("--wrap says nothing without --output", todo="add it, or leave --wrap out")
    if arguments.wrap is not None and arguments.wrap < 1:
        raise UsageError("--wrap is shorter than a second", todo="write it as in --wrap 10m")


def _projects(path: Path, environ: Mapping[str, str]) -> dict[str, Project]:
    """The configuration as each environment's agents see it."""
    names = environments_of(path, environ)
    loaded = [load(path, environ, environment=name, blocks=("setup", "rotation"), for_child=True) for name in names]
    return {str(project.config.environment): project for project in loaded}


def _wanted(projects: Mapping[str, Project]) -> Iterable[Desired]:
    yield from wanting.desired_for_all(next(iter(projects.values())).config)
    for project in projects.values():
        yield from wanting.desired_for_environment(project.config, project.recipes)


def _group(one: Desired) -> Group:
    return Group.SECRETS if isinstance(one, InitialSecret) else one.group


def _only(words: Sequence[str], configs: Mapping[str, Config]) -> Selection:
    environments, groups = set(), set()
    for word in words:
        name = word.removeprefix("environment=")
        if name != word and name in configs:
            environments.add(name)
        elif word in Group.__members__.values():
            groups.add(Group(word))
        else:
            names = ", ".join((*Group, *(f"environment={name}" for name in configs)))
            raise UsageError(f"--only {word} is nothing to set up", todo=f"there are: {names}")
    return Selection(frozenset(environments), frozenset(groups))


def _print_plan(steps: Sequence[Step], folder: Path | None, wanted: Iterable[Desired]) -> None:
    teller = _StepReporter()
    for name in dict.fromkeys(map(environment_of, steps)):
        for step in steps:
            if environment_of(step) == name:
                teller.tell(step)
    if folder is not None:
        print("files:")
        for _, place, absent in missing(folder, roles_of(wanted)):
            print(line_of(place, absent))
    changes = sum(1 for _ in actions(steps))
    print(f"plan: {changes} change{'s' * (changes != 1)} ({count(steps)})")


class _StepReporter:
    """Prints steps below a heading for each environment."""

    def __init__(self, doing: Doing | None = None) -> None:
        """`doing`: what is told is done, too."""
        self.describe: list[Step] = []
        self._doing = doing
        self._heading: str | None = None

    def tell(self, step: Step) -> None:
        self.describe.append(step)
        if self._doing is not None:
            self._doing.step(next(iter(step_lines(step))), environment=environment_of(step) or None)
        if isinstance(step, ServerConfigRequired):
            warning = "\n".join(step_lines(step))
            print(f"lessee: warning: {warning.strip()}", file=sys.stderr)
            return
        if environment_of(step) != self._heading:
            self._heading = environment_of(step)
            print(f"{self._heading or 'all environments'}:")
        for line in step_lines(step):
            print(line)


def _refuse_conflicts(steps: Iterable[Step]) -> None:
    held = sum(isinstance(step, Conflict) for step in steps)
    if held:
        what = f"{held} thing{'s' * (held != 1)} changed by hand, and left (marked with !)"
        raise ManuallyChangedError(what, todo="change the configuration, or take --force to overwrite")
