"""Random values in KV."""

import secrets
from contextlib import contextmanager


class InVault:
    """A JWT secret whose predecessor stays valid for a while."""

    calls = ()
    """What leaves the process, beside the requests to Vault: `module:Class.function`, as a plain function."""
    reads = True
    """What but reads a document counts as such a call too."""
    crossings_least = 8
    """So many calls leave the process in one rotation at least; else the harness sees nothing."""

    def __init__(self, folder):
        del folder
        keys = {"secret": {"generate": 64, "previous": "old"}}
        self.target = {"kind": "vault", "secret": "auth/jwt", "keys": keys}
        self._first = secrets.token_hex(16)

    @classmethod
    @contextmanager
    def started(cls, folder):
        """The servers; each test makes a system of its own in them."""
        yield lambda: cls(folder)

    def secrets(self):
        """What is in Vault before the first rotation, by path."""
        return {"auth/jwt": {"secret": self._first, "issuer": "simba"}}

    def lets_in(self, fields):
        """Whether the system takes these credentials; found out by other means than lessee's."""
        return len(fields["secret"]) in {32, 64}

    def orphans(self, fields):
        """Names of credentials that open the system beside those in these fields; each is one too many."""
        del fields
        return set()

    def old_is_over(self, fields):
        """Whether these, which were published before, are of no use any more. None: they need not be."""
        del fields
