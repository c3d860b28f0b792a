"""What would be done, and whether it could be: nothing is changed."""

import sys
import time
from collections.abc import Iterable
from functools import partial

from lessee.core.consumers import ConfirmationStatus, confirmation_status
from lessee.core.errors import LesseeError, RefusedError
from lessee.host.console import say
from lessee.ops.rotate.command.context import Patience, foreseen, told
from lessee.ops.rotate.command.rotate import How
from lessee.ops.rotate.confirmations import confirmations
from lessee.ops.rotate.documents import Kept
from lessee.ops.rotate.journals import read_journal
from lessee.ops.rotate.policy import dry_run as o
from lessee.ops.rotate.policy.report import not_due
from lessee.ops.rotate.policy.selection import Wish, refuse_too_often, wish
from lessee.ops.rotate.targets import Project, rotator
from lessee.vault.admin import AdminClient


def dry_run(project: Project, client: AdminClient, how: How, patience: Patience, names: Iterable[str]) -> int:
    """The worst exit code of what would fail."""
    code = 0
    for name in names:
        try:
            with foreseen():
                text, problems = patience.ask(partial(_look, project, client, how, name))
        except LesseeError as exc:
            text, problems = "", [exc]
        if text:
            say(text)
        for problem in problems:
            code = max(code, problem.exit_code)
            print(f"lessee: {project.redactor.clean(told(name, problem))}", file=sys.stderr, flush=True)
    return code


def _look(project: Project, client: AdminClient, how: How, name: str) -> tuple[str, list[LesseeError]]:
    said, target = project.said(name), project.target(name)
    mount, prefix = project.config.secrets.mount, project.config.secrets.prefix
    journal = read_journal(project, target, client)
    wished = wish(said, journal, time.time()) if how.due_only and not how.force else Wish.ROTATE
    if wished is Wish.NOTHING:
        return not_due(name, said, journal, time.time()), []
    secret = Kept(client, mount).read(target.path)
    project.redactor.learn(f"secret {name}", secret.fields.values())
    seen = _standing(project, client, name, secret.version)
    path = f"{mount}/{target.path}"
    outlook = o.Outlook(name, said, wished, path, secret.version, secret.fields, journal, seen, time.time())
    problems = list(_lacking(client, o.needed(mount, prefix, target.path, name)))
    try:
        if wished is Wish.ROTATE and not how.force:
            refuse_too_often(name, said, journal)
        with foreseen(), rotator(project, name, client):
            pass  # The admin's secret is there, and the kind has all that it needs.
    except LesseeError as exc:
        problems.append(exc)
    return "\n".join(o.lines(outlook)), problems


def _standing(project: Project, client: AdminClient, name: str, version: int) -> ConfirmationStatus | None:
    secrets, target = project.config.secrets, project.target(name)
    try:
        found = confirmations(client, secrets.mount, secrets.prefix)()
    except RefusedError:
        return None  # It is told with what the token lacks.
    return confirmation_status(found, target.secret, version, target.consumers)


def _lacking(client: AdminClient, wanted: o.Rights) -> Iterable[LesseeError]:
    granted = client.write("sys/capabilities-self", {"paths": list(wanted)}).data
    for path, missing in o.lacking(wanted, granted).items():
        yield RefusedError(f"the token may not {', '.join(missing)}", where=path, todo="add it to its policy")
