"""Prints what a rotation would do, and checks its requirements, without a change."""

import sys
import time
from collections.abc import Iterable
from functools import partial

from lessee.config.grammar.rotation import written_by
from lessee.core.consumers import ConfirmationStatus, confirmation_status
from lessee.core.errors import DeniedError, LesseeError
from lessee.host.console import print_line
from lessee.ops.rotate.command.context import OutageRetry, error_text, translate_unexpected_errors
from lessee.ops.rotate.command.rotate import RunOptions
from lessee.ops.rotate.documents import ConsumerStore, DocumentStore
from lessee.ops.rotate.policy.dry_run import (
    Capabilities,
    Preview,
    describe,
    missing_capabilities,
    required_capabilities,
)
from lessee.ops.rotate.policy.report import not_due
from lessee.ops.rotate.policy.selection import DueOperation, check_period, due_operation
from lessee.ops.rotate.targets import Project, open_rotation, read_journal
from lessee.vault.admin import AdminClient


def dry_run(
    project: Project, client: AdminClient, options: RunOptions, retry: OutageRetry, names: Iterable[str]
) -> int:
    """The highest exit code of what would fail."""
    exit_code = 0
    for name in names:
        try:
            with translate_unexpected_errors():
                text, problems = retry.call(partial(_preview, project, client, options, name))
        except LesseeError as exc:
            text, problems = "", [exc]
        if text:
            print_line(text)
        for problem in problems:
            exit_code = max(exit_code, problem.exit_code)
            print(f"lessee: {project.redactor.clean(error_text(name, problem))}", file=sys.stderr, flush=True)
    return exit_code


def _preview(project: Project, client: AdminClient, options: RunOptions, name: str) -> tuple[str, list[LesseeError]]:
    config, target = project.config_of(name), project.target(name)
    mount, prefix = project.config.secrets.mount, project.config.secrets.prefix
    journal = read_journal(project, target, client)
    operation = DueOperation.ROTATE
    if options.due_only and not options.force:
        operation = due_operation(config, journal, time.time())
    if operation is DueOperation.NOTHING:
        return not_due(name, config, journal, time.time()), []
    secret = DocumentStore(client, mount).read(target.path)
    project.redactor.learn(f"secret {name}", secret.fields.values())
    preview = Preview(
        name=name,
        config=config,
        operation=operation,
        path=f"{mount}/{target.path}",
        version=secret.version,
        fields=secret.fields,
        journal=journal,
        confirmation=_confirmation(project, client, name, secret.version),
        now=time.time(),
    )
    problems = list(_missing(client, required_capabilities(mount, prefix, target.path, name, written_by(config)[1:])))
    try:
        if operation is DueOperation.ROTATE and not options.force:
            check_period(name, config, journal)
        with translate_unexpected_errors(), open_rotation(project, name, client):
            pass  # The admin's secret exists, and the kind has everything that it needs.
    except LesseeError as exc:
        problems.append(exc)
    return "\n".join(describe(preview)), problems


def _confirmation(project: Project, client: AdminClient, name: str, version: int) -> ConfirmationStatus | None:
    secrets, target = project.config.secrets, project.target(name)
    try:
        consumers = ConsumerStore(client, secrets.mount, secrets.prefix).read()
    except DeniedError:
        return None  # It is reported with the missing capabilities.
    return confirmation_status(consumers, target.secret, version, target.consumers)


def _missing(client: AdminClient, required: Capabilities) -> Iterable[LesseeError]:
    granted = client.write("sys/capabilities-self", {"paths": list(required)}).data
    for path, missing in missing_capabilities(required, granted).items():
        todo = "grant them in the token's policy; `lessee check --policy --rotator` prints one"
        yield DeniedError(f"the token lacks the capabilities {', '.join(missing)}", where=path, todo=todo)
