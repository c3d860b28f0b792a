"""`lessee emergency`: after a leak, end all access to an environment, rotate, record, and say what is left to do."""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from lessee import __version__
from lessee.audit_trail.operator_actions import OperatorAction, recorded_action
from lessee.config import Config
from lessee.core.errors import NotNotifiedError, TemplateError, UsageError
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.project import find, read, template_of, text_of
from lessee.ops.incident.discovery import look, look_first
from lessee.ops.incident.policy.findings import Sight
from lessee.ops.incident.policy.manual_steps import by_hand
from lessee.ops.incident.policy.plan import Change, Step, plan, renewed, rotations, targets
from lessee.ops.incident.policy.report import done, following, found, left, planned, undone
from lessee.ops.incident.record import RecordFile
from lessee.ops.incident.response import strike
from lessee.ops.incident.rotation import rotate_at_once
from lessee.ops.rotate.targets import Project
from lessee.process.hardening import make_private
from lessee.rendering.app_templates import compile_recipes, path_scope_of
from lessee.rendering.templates import Compiler
from lessee.telemetry.logs import open_log
from lessee.vault.admin import AdminClient, admin_client

_NOT_ALL_DONE = NotNotifiedError.exit_code  # EX_TEMPFAIL: mend what is in the way, and run it again.


def run(arguments: argparse.Namespace) -> int:
    """0: all is done that can be done here; 75: something could not be done."""
    if arguments.dry_run and arguments.record:
        raise UsageError("--record says nothing with --dry-run", todo="leave one of them out")
    make_private()
    escape_unknown()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, environment=arguments.environment, blocks=("rotation",))
    _refuse_unknown(config, arguments.environment)
    named, unread = _named(config, path)
    redactor = Redactor()
    redactor.allow(text_of(path))
    open_log(redactor, level="warning")  # Kinds tell so of what they leave for people.
    with admin_client(config.vault, environ, boot_time) as client:
        first = look_first(client, config, arguments.environment, arguments.path, named)
        sight = look(client, first)
        sight = replace(sight, problems=(*sight.problems, *unread))
        rotated = (*rotations(sight.exposure, sight.databases), *targets(sight.exposure, config))
        changes = plan(sight, rotated)
        print(found(sight), end="")
        print(planned(changes, sight, all_of_it=arguments.dry_run), end="")
        if arguments.dry_run:
            gone = renewed(config, {change.about: () for change in rotated if change.step is Step.TARGETS})
            print(left(by_hand(sight, config.rotation, time.time(), gone)), end="")
            return _NOT_ALL_DONE if sight.problems else 0
        if not arguments.yes:
            _ask(arguments.environment)
        about = {"path": arguments.path, "server": config.vault.address}
        with recorded_action(config.audit_trail, environ, "emergency", arguments.environment, **about) as action:
            project = Project(config, path, environ, redactor)
            return _strike(client, project, arguments, sight, changes, unread, action)


def _strike(
    client: AdminClient,
    project: Project,
    arguments: argparse.Namespace,
    sight: Sight,
    changes: tuple[Change, ...],
    unread: tuple[str, ...],
    action: OperatorAction,
) -> int:
    same: dict[str, tuple[str, ...]] = {}

    def rotate(name: str) -> None:
        same[name] = rotate_at_once(project, name, client)
        action.step(f"rotated {name}")

    with RecordFile(arguments.record or _file_name(arguments.environment)) as file:
        file.write("begun", **_intent(client, sight, changes))
        try:
            struck = strike(client, sight, changes, file, rotate)
        except KeyboardInterrupt:
            file.write("interrupted")
            print(f"\nlessee: interrupted: not all is done; run it again; record: {file.path}", file=sys.stderr)
            raise
        # What could not be looked at again is still to be told.
        seen = sight if struck.after.problems else struck.after
        rotated = renewed(project.config, same)
        tasks = by_hand(seen, project.config.rotation, time.time(), rotated)
        for task in tasks:
            file.write("by hand", what=task.title, about=task.lines)
        file.write("ended", undone=[*struck.undone, *unread])
        action.step(f"recorded in {file.path}")
        problems = [*struck.undone, *unread, *([file.trouble] if file.trouble else [])]
        if problems:
            action.fail(f"{len(problems)} not done: {problems[0]}")
        print(done(struck.outcomes, sight), end="")
        print(undone(problems), end="")
        print(left(tasks), end="")
        print(following(sight), end="")
        print(f"\nrecord: {file.path}")
    return _NOT_ALL_DONE if problems else 0


def _refuse_unknown(config: Config, environment: str) -> None:
    known = config.setup.environments
    if environment not in known:
        todo = f"there are: {', '.join(known)} (`setup: {{environments: […]}}`)"
        raise UsageError(f"there is no environment {environment!r}", todo=todo)


def _named(config: Config, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dynamic paths that the templates read, and why they could not be told: that stops nothing here."""
    folder = path.parent / config.template_dir if config.template_dir else path.parent
    compiler = Compiler(lambda name: template_of(folder, name), path_scope_of(config))
    try:
        recipes = compile_recipes(config, compiler, prepare=False)
    except TemplateError as exc:
        return (), tuple(f"what templates read is not known: {problem}" for problem in exc.problems)
    needs = {need for recipe in recipes.values() for need in recipe.needs if isinstance(need, DynamicSecret)}
    return tuple(sorted({need.path for need in needs})), ()


def _ask(environment: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():  # None: it was closed.
        raise UsageError("nobody can be asked here", todo="add --yes, or --dry-run to look alone")
    print(
        f"\nAll access to {environment} ends, also that of its apps. Type {environment} to go on: ", end="", flush=True
    )
    try:
        typed = sys.stdin.readline()
    except UnicodeDecodeError:
        typed = ""
    if typed.strip() != environment:
        raise UsageError("nothing was changed", todo=f"type {environment} to go on")


def _file_name(environment: str) -> str:
    name = time.strftime(f"lessee-emergency-{environment}-%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{name}{f'-{number}' if number else ''}.json" for number in count())
    return next(name for name in names if not os.path.lexists(name))


def _intent(client: AdminClient, sight: Sight, changes: tuple[Change, ...]) -> Mapping[str, object]:
    """What is about to be done, so that a record that ends early tells what may have been."""
    return {
        "lessee": __version__,
        "environment": sight.exposure.environment,
        "path": sight.exposure.path,
        "server": client.address,
        "operator": {"accessor": sight.own.accessor, "display_name": sight.own.display_name},
        "policies": [one.policy for one in sight.struck],
        "leases": sight.leases,
        "intended": {step: [change.what for change in changes if change.step is step] for step in Step},
        "problems": sight.problems,
    }
