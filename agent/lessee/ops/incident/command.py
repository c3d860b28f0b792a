"""`lessee emergency`: after a leak, revokes all access to an environment, rotates, and lists the manual steps."""

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
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import Redactor
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.progress import Progress, progress
from lessee.host.project import find, read, template_of, text_of
from lessee.ops.incident.discovery import discover, find_affected_policies
from lessee.ops.incident.follow_up import follow_up, note_emergency
from lessee.ops.incident.policy.findings import Findings
from lessee.ops.incident.policy.manual_steps import manual_steps
from lessee.ops.incident.policy.plan import Change, Step, plan, rotated_secrets, target_rotations, vault_rotations
from lessee.ops.incident.policy.report import (
    access_report,
    done_report,
    failure_report,
    manual_report,
    next_steps,
    plan_report,
)
from lessee.ops.incident.record import RecordFile
from lessee.ops.incident.response import respond
from lessee.ops.incident.rotation import rotate_immediately
from lessee.ops.rotate.targets import Project
from lessee.process.hardening import harden
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler
from lessee.telemetry.logs import open_log
from lessee.vault.admin import AdminClient, admin_client

_INCOMPLETE = NotNotifiedError.exit_code  # EX_TEMPFAIL: correct the problems, and run it again.


class _Response(ImmutableStruct, frozen=True):
    """What the response is about. `unread`: why the templates' dynamic paths are not known."""

    findings: Findings
    changes: tuple[Change, ...]
    unread: tuple[str, ...]
    record: str


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 where everything was done, and 75 where something could not be done."""
    if arguments.dry_run and arguments.record:
        raise UsageError("--record and --dry-run exclude each other", todo="remove one of them")
    others = ("path", "protect", "dry_run", "yes", "record")
    if arguments.follow_up and any(getattr(arguments, name) for name in others):
        raise UsageError("--follow-up changes nothing, and is about the whole environment", todo="omit the others")
    harden()
    escape_unknown()
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, environment=arguments.environment, blocks=("rotation",))
    _check_environment(config, arguments.environment)
    if arguments.follow_up:
        with admin_client(config.vault, environ, boot_time) as client:
            text, is_complete = follow_up(client, config, arguments.environment)
        print(text, end="")
        return 0 if is_complete else _INCOMPLETE
    dynamic_paths, unread = _dynamic_paths(config, path)
    redactor = Redactor()
    redactor.allow(text_of(path))
    open_log(redactor, level="warning")  # Rotations log manual steps as warnings.
    with admin_client(config.vault, environ, boot_time) as client, progress(quiet=arguments.quiet) as shown:
        shown.phase("reading policies")
        policies = find_affected_policies(client, config, arguments.environment, arguments.path, dynamic_paths)
        findings = discover(client, replace(policies, protected=tuple(arguments.protect)), shown)
        shown.done()
        findings = replace(findings, problems=(*findings.problems, *unread))
        exposure = findings.exposure
        rotations = (*vault_rotations(exposure, findings.databases), *target_rotations(exposure, config))
        changes = plan(findings, rotations)
        print(access_report(findings), end="")
        print(plan_report(changes, findings, complete=arguments.dry_run), end="")
        if arguments.dry_run:
            rotated = rotated_secrets(
                config, {change.subject: () for change in rotations if change.step is Step.TARGET_ROTATIONS}
            )
            print(manual_report(manual_steps(findings, config.rotation, time.time(), rotated)), end="")
            return _INCOMPLETE if findings.problems else 0
        if not arguments.yes:
            _confirm(arguments.environment)
        about = {"path": arguments.path, "server": config.vault.address}
        if arguments.protect:
            about["protected"] = ", ".join(arguments.protect)
        with recorded_action(config.audit_trail, environ, "emergency", arguments.environment, **about) as action:
            project = Project(config, path, environ, redactor)
            record = arguments.record or _record_name(arguments.environment)
            return _respond(client, project, _Response(findings, changes, unread, record), action, shown)


def _respond(
    client: AdminClient, project: Project, response: _Response, action: OperatorAction, shown: Progress
) -> int:
    findings, unread, unchanged = response.findings, response.unread, dict[str, tuple[str, ...]]()

    def rotate(name: str) -> None:
        unchanged[name] = rotate_immediately(project, name, client)
        action.step(f"rotated {name}")

    began = time.time()
    with RecordFile(response.record) as file:
        file.write("started", **_intent(client, findings, response.changes))
        try:
            result = respond(client, findings, response.changes, file, rotate, shown)
        except KeyboardInterrupt:
            file.write("interrupted")
            print(f"\nlessee: interrupted: not complete; run it again; record: {file.path}", file=sys.stderr)
            raise
        # What could not be checked again is still listed from the first check.
        last = findings if result.after.problems else result.after
        rotated = rotated_secrets(project.config, unchanged)
        steps = manual_steps(last, project.config.rotation, time.time(), rotated)
        for step in steps:
            file.write("manual step", title=step.title, lines=step.lines)
        unnoted = note_emergency(client, project.config, findings, result.results, began)
        file.write("finished", not_done=[*result.not_done, *unread])
        action.step(f"recorded in {file.path}")
        problems = [*result.not_done, *unread, *([file.error] if file.error else [])]
        if problems:
            action.fail(f"{len(problems)} not done: {problems[0]}")
        print(done_report(result.results, findings), end="")
        print(failure_report(problems), end="")
        print(manual_report(steps), end="")
        print(next_steps(findings, unnoted), end="")
        print(f"\nrecord: {file.path}")
    return _INCOMPLETE if problems else 0


def _check_environment(config: Config, environment: str) -> None:
    known = config.setup.environments
    if environment not in known:
        todo = f"the environments of `setup.environments` are: {', '.join(known)}"
        raise UsageError(f"unknown environment {environment!r}", todo=todo)


def _dynamic_paths(config: Config, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dynamic paths that templates read, and why they are not known, which does not stop the response."""
    folder = path.parent / config.template_dir if config.template_dir else path.parent
    inline = config.inline_templates

    def text(name: str) -> str:
        return inline[name].text if name in inline else template_of(folder, name)

    compiler = Compiler(text, path_scope_of(config))
    try:
        compiled_apps = compile_apps(config, compiler, prepare=False)
    except TemplateError as exc:
        return (), tuple(f"cannot determine what templates read: {problem}" for problem in exc.problems)
    references = (reference for app in compiled_apps.values() for reference in app.references)
    # What other identities read is not in this Vault.
    own = [found for found in references if not found.identity]
    return tuple(sorted({found.path for found in own if isinstance(found, DynamicSecret)})), ()


def _confirm(environment: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():  # None: stdin was closed.
        raise UsageError("no terminal to ask for confirmation", todo="add --yes, or --dry-run to change nothing")
    print(
        f"\nThis revokes all access to {environment}, also of its apps. Type {environment} to continue: ",
        end="",
        flush=True,
    )
    try:
        typed = sys.stdin.readline()
    except UnicodeDecodeError:
        typed = ""
    if typed.strip() != environment:
        raise UsageError("not confirmed, and nothing was changed", todo=f"type {environment} to continue")


def _record_name(environment: str) -> str:
    name = time.strftime(f"lessee-emergency-{environment}-%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{name}{f'-{number}' if number else ''}.json" for number in count())
    return next(name for name in names if not os.path.lexists(name))


def _intent(client: AdminClient, findings: Findings, changes: tuple[Change, ...]) -> Mapping[str, object]:
    """What is about to be done, so that an incomplete record lists what may have been done."""
    own = findings.own_token
    return {
        "lessee": __version__,
        "environment": findings.exposure.environment,
        "path": findings.exposure.path,
        "server": client.address,
        "operator": {"accessor": own.accessor, "display_name": own.display_name},
        "policies": [policy.name for policy in findings.affected_policies],
        "leases": findings.leases,
        "planned": {step: [change.name for change in changes if change.step is step] for step in Step},
        "problems": findings.problems,
    }
