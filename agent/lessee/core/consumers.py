"""Consumers of a secret, and which version of it each has published and uses."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from lessee.core.immutable import ImmutableStruct

JOURNAL_FOLDER = "lessee/rotation/"
"""Below an environment's prefix: a journal for each rotated secret."""
CONSUMER_FOLDER = "lessee/consumers/"
"""Below an environment's prefix: APP/INSTANCE, a key without data whose custom metadata hold an agent's report."""
MAX_KEY_BYTES = 128
"""The longest key of custom metadata that KV accepts, measured on OpenBao 2.7.2."""
MAX_KEYS = 64
"""The most keys of custom metadata that one secret can have, measured on OpenBao 2.7.2."""
GENERATION_KEY = "lessee/generation"
"""The key that holds the generation number; no app has secrets below `lessee/`."""


class Consumer(ImmutableStruct, frozen=True):
    """An app next to one agent, and the versions of the secrets that it uses, by their path below the prefix."""

    app: str
    instance: str
    versions: Mapping[str, int]

    @property
    def name(self) -> str:
        return f"{self.app}/{self.instance}"


class ConfirmationStatus(ImmutableStruct, frozen=True):
    """The consumers that have confirmed one version of a secret, and those that have not."""

    confirmed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether any consumer is known."""
        return bool(self.confirmed or self.missing)

    @property
    def is_complete(self) -> bool:
        """Whether all known consumers have confirmed."""
        return self.is_known and not self.missing


def metadata_path(mount: str, prefix: str, app: str, instance: str) -> str:
    """The path in Vault at which an agent reports the versions that its app uses."""
    return f"{mount}/metadata/{prefix}{CONSUMER_FOLDER}{app}/{instance}"


def instance_name(host: str, directory: str) -> str:
    """A name that differs between agents of one app: two can run on one host, but not with the same directory."""
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', host)[:60] or 'host'}-{sha256(directory.encode()).hexdigest()[:6]}"


def custom_metadata(versions: Mapping[str, int], generation: int) -> Sequence[Mapping[str, str]]:
    """The report as custom metadata: several documents if there are many versions, and none without versions."""
    pairs = sorted((metadata_key(path), str(version)) for path, version in versions.items())
    most = MAX_KEYS - 1
    pages = [pairs[first : first + most] for first in range(0, len(pairs), most)]
    return [{**dict(page), GENERATION_KEY: str(generation)} for page in pages]


def metadata_key(path: str) -> str:
    """The key that holds the version of a secret: its path, or a hash of a path that is too long for KV."""
    return path if len(path.encode()) <= MAX_KEY_BYTES else f"sha256:{sha256(path.encode()).hexdigest()}"


def confirmation_status(
    consumers: Iterable[Consumer], path: str, version: int, named: Iterable[str] = ()
) -> ConfirmationStatus:
    """Sort the consumers of a secret. `named`: apps that must confirm even if none of their agents has reported."""
    key = metadata_key(path)
    readers = [consumer for consumer in consumers if key in consumer.versions]
    confirmed = [consumer.name for consumer in readers if consumer.versions[key] >= version]
    missing = [consumer.name for consumer in readers if consumer.versions[key] < version]
    unreported = sorted(set(named) - {consumer.app for consumer in readers})
    return ConfirmationStatus(tuple(sorted(confirmed)), (*sorted(missing), *unreported))
