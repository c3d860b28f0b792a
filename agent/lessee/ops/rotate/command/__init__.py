"""`lessee rotate`: changes credentials in the systems that own them, and in Vault."""

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack

from lessee.audit_trail.operator_acts import acting
from lessee.core.errors import UsageError
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown
from lessee.host.project import find
from lessee.ops.rotate.command.context import Patience, opened
from lessee.ops.rotate.command.dry_run import dry_run
from lessee.ops.rotate.command.rotate import Acting, How
from lessee.ops.rotate.command.status import Looking
from lessee.ops.rotate.documents import Kept
from lessee.ops.rotate.lock_owner import started_at
from lessee.ops.rotate.policy.selection import meant
from lessee.process.hardening import make_private
from lessee.telemetry.logs import witnessed
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 where all is done, else the worst of what went wrong. SIGTERM ends it as Ctrl-C does."""
    wished_at = started_at(boot_time(), time.time())
    _refuse_senseless(arguments)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.watch:
        from lessee.ops.rotate.command.watch import watch  # Of a service, with its metrics.

        return watch(arguments, path, environ)
    make_private()
    escape_unknown("utf-8" if arguments.json else None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    project = opened(arguments, path, environ)
    rotation = project.config.rotation
    names = meant(arguments.targets, rotation) if arguments.targets else tuple(rotation)
    how = How(
        due_only=not arguments.targets and not arguments.all,
        force=arguments.force,
        waits=not arguments.no_wait,
        timeout=arguments.timeout,
        wished_at=wished_at,
    )
    patience = Patience(arguments.timeout)
    try:
        with ExitStack() as stack:
            client = patience.ask(lambda: stack.enter_context(admin_client(project.config.vault, environ, boot_time)))
            patience.ask(Kept(client, project.config.secrets.mount).check)
            if arguments.status:
                return Looking(project, client, patience).show(arguments, names)
            if arguments.dry_run:
                return dry_run(project, client, how, patience, names)
            config = project.config
            about = {"targets": ", ".join(names), "server": config.vault.address}
            with (
                acting(config.trail, environ, "rotate", config.environment, **about) as doing,
                witnessed(lambda event, fields: doing.hear(event, fields, project.redactor)),
            ):
                code = Acting(project, client, how, patience).act(names)
                if code:
                    doing.fail(f"it ended with {code}")
                return code
    except KeyboardInterrupt:
        print(
            "\nlessee: interrupted: what has begun is noted, and the next `lessee rotate` finishes it", file=sys.stderr
        )
        raise


def _refuse_senseless(arguments: argparse.Namespace) -> None:
    if arguments.all and arguments.targets:
        raise UsageError("--all means all targets", todo="leave it out, or the targets")
    if arguments.watch and (
        arguments.targets or arguments.all or arguments.no_wait or arguments.environment is not None
    ):
        raise UsageError("--watch is for all targets of the configuration", todo="leave the other words out")
    if arguments.json and not arguments.status:
        raise UsageError("--json says nothing without --status", todo="add it, or leave --json out")
    if arguments.force and not (arguments.all or arguments.targets):
        raise UsageError("--force rotates what is not due", todo="name a TARGET, or take --all")
