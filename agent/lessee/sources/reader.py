"""What a source can do, and how it says what failed."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lessee.core.failures import Failure, Kind
from lessee.core.secrets import excess


class ReadError(Exception):
    """A source cannot be read. The failure's text has no value of a secret."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.failure = Failure(kind, text)


class SourceReader(Protocol):
    """Reads secrets, in any thread. Each method raises ReadError, or LesseeError for a missing library."""

    def check(self) -> None:
        """Raise ReadError if nothing at all can be read."""

    def read(self, path: str) -> Mapping[str, object]:
        """The keys and values of one secret."""

    def names(self, folder: str) -> Sequence[str]:
        """The secrets directly in a folder, which is empty or ends in a slash; none if it does not exist."""


def bounded(data: Mapping[str, object]) -> Mapping[str, object]:
    """The data, unless it is too large to be rendered and redacted: then it raises ReadError."""
    if (what := excess(data)) is not None:
        raise ReadError(Kind.INVALID, f"the secret is too large: {what}; split it into several")
    return data
