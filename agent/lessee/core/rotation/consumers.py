"""Who reads a secret, and which version of it each has published and proved."""

from collections.abc import Iterable, Mapping

from lessee.core.record import Record

FOLDER = "lessee/consumers/"
"""Below an environment's prefix: APP/INSTANCE, a key without data whose custom metadata say what an agent has shown."""
LONGEST_KEY = 128
"""Bytes of a key of custom metadata that KV takes, measured on OpenBao 2.7.2."""


class Consumer(Record, frozen=True):
    """An app beside one agent, and the versions of the secrets that it works with, by their path below the prefix."""

    app: str
    instance: str
    versions: Mapping[str, int]

    @property
    def name(self) -> str:
        return f"{self.app}/{self.instance}"


class Standing(Record, frozen=True):
    """What is known of the consumers of one version of one secret."""

    confirmed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether anybody is known at all."""
        return bool(self.confirmed or self.missing)


def standing(consumers: Iterable[Consumer], path: str, version: int, named: Iterable[str] = ()) -> Standing:
    """`named`: apps that must confirm although none of their agents has yet been heard of."""
    found = [one for one in consumers if path in one.versions]
    confirmed = [one.name for one in found if one.versions[path] >= version]
    missing = [one.name for one in found if one.versions[path] < version]
    unheard = sorted(set(named) - {one.app for one in found})
    return Standing(tuple(sorted(confirmed)), (*sorted(missing), *unheard))
