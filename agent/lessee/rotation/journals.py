"""Reads the journals of targets, without what it needs to rotate them."""

import time

from lessee.core.rotation.journal import Journal
from lessee.rotation.kept import Kept, journal_in
from lessee.rotation.targets import Project
from lessee.rotation.world import Target
from lessee.vault.operator import Operator


def read_journal(project: Project, target: Target, operator: Operator) -> Journal:
    """Raises Refused, also where it is no journal, and VaultUnreachable."""
    mount = project.config.secrets.mount
    document = Kept(operator, mount).read(target.journal)
    journal = journal_in(document, f"{mount}/{target.journal}").as_of(time.time())
    values = [value for some in (journal.current, journal.pending) for value in some.values()]
    project.redactor.learn(f"journal {target.name}", values)
    return journal
