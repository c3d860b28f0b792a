"""Who reads a secret, and which version of it each has published and proved."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from lessee.core.immutable import Record

JOURNALS = "lessee/rotation/"
"""Below an environment's prefix: a journal for each rotated secret."""
FOLDER = "lessee/consumers/"
"""Below an environment's prefix: APP/INSTANCE, a key without data whose custom metadata say what an agent has shown."""
LONGEST_KEY = 128
"""Bytes of a key of custom metadata that KV takes, measured on OpenBao 2.7.2."""
MOST_KEYS = 64
"""Keys of custom metadata that one key takes, as measured there."""
GENERATION = "lessee/generation"
"""The key that says since which generation; below `lessee/` there is no secret of an app's."""


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

    @property
    def is_whole(self) -> bool:
        """Whether all who are known have confirmed."""
        return self.is_known and not self.missing


def place(mount: str, prefix: str, app: str, instance: str) -> str:
    """Where an agent says what its app works with."""
    return f"{mount}/metadata/{prefix}{FOLDER}{app}/{instance}"


def instance_of(host: str, directory: str) -> str:
    """What tells one agent of an app from another: two may run on one host, but not beside one directory."""
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', host)[:60] or 'host'}-{sha256(directory.encode()).hexdigest()[:6]}"


def documents(versions: Mapping[str, int], generation: int) -> Sequence[Mapping[str, str]]:
    """The custom metadata that say it: of many versions in several keys, of none in none."""
    said = sorted((key_of(path), str(version)) for path, version in versions.items())
    most = MOST_KEYS - 1
    pages = [said[first : first + most] for first in range(0, len(said), most)]
    return [{**dict(page), GENERATION: str(generation)} for page in pages]


def key_of(path: str) -> str:
    """The key under which the version of a secret stands: its path, where KV takes so long a key."""
    return path if len(path.encode()) <= LONGEST_KEY else f"sha256:{sha256(path.encode()).hexdigest()}"


def standing(consumers: Iterable[Consumer], path: str, version: int, named: Iterable[str] = ()) -> Standing:
    """`named`: apps that must confirm although none of their agents has yet been heard of."""
    path = key_of(path)
    found = [one for one in consumers if path in one.versions]
    confirmed = [one.name for one in found if one.versions[path] >= version]
    missing = [one.name for one in found if one.versions[path] < version]
    unheard = sorted(set(named) - {one.app for one in found})
    return Standing(tuple(sorted(confirmed)), (*sorted(missing), *unheard))
