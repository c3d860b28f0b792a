"""Keys of a provider that the tests run, by the recipe that lessee has as an example."""

from contextlib import contextmanager

from support.servers.api_key_provider import Keyring


class ProviderKeys:
    calls = ("lessee.ops.rotate.http:Client.ask",)
    crossings_least = 11

    def __init__(self, ring):
        self.ring = ring
        self.target = {"kind": "api-key", "secret": "api-keys/example", "recipe": "example", "admin": "admin/example"}
        self.first, self._value = ring.make("made by hand")
        self.others = {made for made in ring.keys if made != self.first}
        """Of other tests, and of people."""

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
            "admin/example": {"api_key": self.ring.admin},
        }

    def lets_in(self, fields):
        return self.ring.lets_in(fields["api_key"])

    def orphans(self, fields):
        return {
            made
            for made, one in self.ring.keys.items()
            if one["key"] != fields["api_key"] and made not in self.others and not one["disabled"]
        }

    def old_is_over(self, fields):
        return not self.lets_in(fields)
