"""Names the command that a shell lacks where the server of `lessee dev` runs, whose certificate no system trusts."""

import os
from contextlib import suppress

from lessee.core.errors import LesseeError

_UNTRUSTED = "certificate is not trusted"
_LOCK = "dev/lessee-dev.lock"
"""The file below the user's state that the server holds locked; the sidecar imports nothing of `ops`."""


def dev_hint(error: str) -> str:
    """A line to print after this error; empty where no server for development of this user runs."""
    if _UNTRUSTED not in error:
        return ""
    # Few errors are about a certificate.
    from lessee.host.directories import hold
    from lessee.host.user_state import user_state

    with suppress(OSError, LesseeError):
        fd = os.open(user_state(dict(os.environ)) / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not hold(fd, shared=True):
                return (
                    'lessee: a server of `lessee dev` runs: `eval "$(lessee dev --export)"` has its certificate trusted'
                )
        finally:
            os.close(fd)
    return ""
