"""Reads the journals of targets, without what it needs to rotate them."""

import time

from lessee.ops.rotate.documents import Kept, journal_in
from lessee.ops.rotate.policy.journal import Journal
from lessee.ops.rotate.ports import Target
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import AdminClient


def read_journal(project: Project, target: Target, client: AdminClient) -> Journal:
    """Raises RefusedError, also where it is no journal, and VaultUnreachableError."""
    mount = project.config.secrets.mount
    document = Kept(client, mount).read(target.journal)
    journal = journal_in(document, f"{mount}/{target.journal}").as_of(time.time())
    values = [value for some in (journal.current, journal.pending) for value in some.values()]
    project.redactor.learn(f"journal {target.name}", values)
    return journal
