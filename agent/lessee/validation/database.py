"""The PostgreSQL that the apps use."""

from collections.abc import Iterator

from lessee.core.config.grammar.validate import CheckedDatabase
from lessee.core.validation.results import Teller
from lessee.validation import postgres
from lessee.validation.checks import Check
from lessee.validation.subject import Subject

_TELL = Teller("database")


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the database of the apps."""
    said = subject.config.validate.database
    block = said or CheckedDatabase()
    yield postgres.check(subject, _TELL, block.secret, block.rights, configured=said is not None)
