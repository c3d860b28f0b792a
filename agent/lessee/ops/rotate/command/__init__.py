"""`lessee rotate`: rotates credentials in the systems that own them, and in Vault."""

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack

from lessee.audit_trail.operator_actions import recorded_action
from lessee.core.errors import UsageError
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.project import find
from lessee.ops.rotate.command.context import OutageRetry, open_project
from lessee.ops.rotate.command.dry_run import dry_run
from lessee.ops.rotate.command.rotate import RotationRunner, RunOptions
from lessee.ops.rotate.command.status import StatusReport
from lessee.ops.rotate.documents import DocumentStore
from lessee.ops.rotate.lock_owner import started_at
from lessee.ops.rotate.policy.selection import check_enterable, check_restorable, select
from lessee.process.hardening import harden
from lessee.telemetry.logs import log_listener
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 where everything succeeded, otherwise the highest of the errors. SIGTERM acts as Ctrl-C does."""
    requested_at = started_at(boot_time(), time.time())
    _check_arguments(arguments)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.watch:
        from lessee.ops.rotate.command.watch import watch  # Only the service needs it, and its metrics.

        return watch(arguments, path, environ)
    harden()
    escape_unknown("utf-8" if arguments.json else None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    project = open_project(arguments, path, environ)
    rotation = project.config.rotation
    names = select(arguments.targets, rotation) if arguments.targets else tuple(rotation)
    if arguments.enter:
        check_enterable(names, rotation)
    if arguments.to_version is not None:
        check_restorable(names, rotation)
    options = RunOptions(
        due_only=not arguments.targets and not arguments.all,
        force=arguments.force
        or arguments.enter
        or arguments.to_version is not None,  # Otherwise a rotation of a moment ago would ignore what is entered.
        wait=not arguments.no_wait,
        timeout=arguments.timeout,
        requested_at=requested_at,
        to_version=arguments.to_version,
    )
    retry = OutageRetry(arguments.timeout)
    try:
        with ExitStack() as stack:
            client = retry.call(lambda: stack.enter_context(admin_client(project.config.vault, environ, boot_time)))
            retry.call(DocumentStore(client, project.config.secrets.mount).check)
            if arguments.status:
                return StatusReport(project, client, retry).print(arguments, names)
            if arguments.dry_run:
                return dry_run(project, client, options, retry, names)
            config = project.config
            about = {"targets": ", ".join(names), "server": config.vault.address}
            with (
                recorded_action(config.audit_trail, environ, "rotate", config.environment, **about) as action,
                log_listener(lambda event, fields: action.record_event(event, fields, project.redactor)),
            ):
                code = RotationRunner(project, client, options, retry).run(names)
                if code:
                    action.fail(f"exit code {code}")
                return code
    except KeyboardInterrupt:
        print("\nlessee: interrupted: the next `lessee rotate` finishes open rotations", file=sys.stderr)
        raise


def _check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.all and arguments.targets:
        raise UsageError("--all and targets exclude each other", todo="remove --all, or the targets")
    if arguments.watch and (
        arguments.targets or arguments.all or arguments.no_wait or arguments.environment is not None
    ):
        raise UsageError(
            "--watch rotates all targets of the configuration",
            todo="remove the targets, --all, --no-wait and --environment",
        )
    if arguments.json and not arguments.status:
        raise UsageError("--json needs --status", todo="add --status, or remove --json")
    if arguments.enter and (not arguments.targets or arguments.watch or arguments.status or arguments.dry_run):
        raise UsageError("--enter needs the name of a target", todo="lessee rotate NAME --enter")
    if arguments.to_version is not None and (arguments.watch or arguments.status or arguments.enter):
        what = "--to-version sets an earlier credential again"
        raise UsageError(what, todo="remove --watch, --status and --enter, or --to-version")
    if arguments.force and not (arguments.all or arguments.targets):
        raise UsageError("--force needs targets, since it rotates what is not due", todo="name a TARGET, or use --all")
