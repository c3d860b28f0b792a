"""The PostgreSQL that the apps use."""

from collections.abc import Iterator

from lessee.config.grammar.validate import CheckedDatabase
from lessee.ops.validate import postgres
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.results import Teller

_TELL = Teller("database")


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the database of the apps."""
    said = subject.config.validate.database
    block = said or CheckedDatabase()
    yield postgres.check(subject, _TELL, block.secret, block.rights, configured=said is not None)
