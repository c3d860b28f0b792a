"""Random values in KV."""

import secrets
from contextlib import contextmanager


class VaultValues:
    """A JWT secret whose previous value stays in the secret."""

    # Where kinds have a `server`, it names the fixture of a server that tests share: the first argument.
    calls = ()
    """The functions that leave the process, in addition to requests to Vault: `module:Class.function`."""
    counts_reads = True
    """Requests that only read a document count as such a call too."""
    min_calls = 8
    """The least number of such calls in one rotation; fewer mean that the harness misses them."""

    def __init__(self, folder):
        del folder
        keys = {"secret": {"generate": 64, "previous_key": "old"}}
        self.target = {"kind": "vault", "secret": "auth/jwt", "keys": keys}
        self._first = secrets.token_hex(16)

    @classmethod
    @contextmanager
    def started(cls, folder):
        """Start the servers; each test creates a system of its own in them."""
        yield lambda: cls(folder)

    def secrets(self):
        """What is in Vault before the first rotation, by path."""
        return {"auth/jwt": {"secret": self._first, "issuer": "simba"}}

    def accepts(self, fields):
        """Whether the system accepts these credentials, checked without lessee."""
        return len(fields["secret"]) in {32, 64}

    def orphans(self, fields):
        """The names of valid credentials in addition to these, which a rotation must not leave."""
        del fields
        return set()

    def old_is_revoked(self, fields):
        """Whether these credentials, which were published before, are invalid. None: they may stay valid."""
        del fields
