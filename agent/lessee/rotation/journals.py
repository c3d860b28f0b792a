"""Reads the journals of targets, without what it needs to rotate them."""

import secrets
import time

from lessee.core.errors import Refused
from lessee.core.rotation import journal as j
from lessee.core.rotation.journal import Journal
from lessee.rotation.kept import Kept
from lessee.rotation.targets import Project
from lessee.rotation.world import Target
from lessee.vault.operator import Operator


def read_journal(project: Project, target: Target, operator: Operator) -> Journal:
    """Raises Refused, also where it is no journal, and VaultUnreachable."""
    mount = project.config.secrets.mount
    fields = Kept(operator, mount).read(target.journal).fields
    try:
        journal = j.read(fields).as_of(time.time())
    except ValueError as exc:
        todo = "see what it is; if nobody needs it: bao kv metadata delete"
        raise Refused(str(exc), where=f"{mount}/{target.journal}", todo=todo) from None
    values = [value for some in (journal.current, journal.pending) for value in some.values()]
    project.redactor.learn(f"journal {target.name} {secrets.token_hex(4)}", values)
    return journal
