"""Keys of a local provider, rotated by lessee's example recipe."""

from contextlib import contextmanager

from support.servers.api_key_provider import Keyring


class ProviderKeys:
    calls = ("lessee.ops.rotate.http:Client.ask",)
    min_calls = 11

    def __init__(self, ring):
        self.ring = ring
        self.target = {
            "kind": "api-key",
            "secret": "api-keys/example",
            "recipe": "example",
            "admin_secret": "admin/example",
        }
        self.first, self._value = ring.create("created manually")
        self.others = {id_ for id_ in ring.keys if id_ != self.first}
        """Keys of other tests and of users."""

    @classmethod
    @contextmanager
    def started(cls, folder):
        del folder
        ring = Keyring()
        try:
            yield lambda: cls(ring)
        finally:
            ring.close()

    def secrets(self):
        return {
            "api-keys/example": {"base_url": self.ring.url, "api_key": self._value},
            "admin/example": {"base_url": self.ring.url, "api_key": self.ring.admin},
        }

    def accepts(self, fields):
        return self.ring.accepts(fields["api_key"])

    def orphans(self, fields):
        return {
            id_
            for id_, key in self.ring.keys.items()
            if key["key"] != fields["api_key"] and id_ not in self.others and not key["disabled"]
        }

    def old_is_revoked(self, fields):
        return not self.accepts(fields)
