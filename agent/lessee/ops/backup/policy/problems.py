"""What can be wrong with an archive."""

from lessee.core.errors import LesseeError


class ArchiveError(LesseeError):
    """An archive is not whole, is not ours, or does not open with this key."""

    exit_code = 65  # EX_DATAERR
