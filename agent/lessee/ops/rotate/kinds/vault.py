"""Random values in KV, which only Vault and the apps need to know."""

import secrets
from collections.abc import Iterator
from typing import Any

from lessee.config.grammar.rotation import VaultValues as Config
from lessee.ops.rotate.kinds.approle import SecretIds
from lessee.ops.rotate.kinds.kind import Case, Kind, KindContext, KindDefaults, NewCredential
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.setup.policy.initial_values import ALPHABET


def in_vault(config: Config, context: KindContext) -> Kind:
    """Random values, and with an AppRole also its secret_id."""
    values = RandomValues(config)
    return SecretIds(config, context, values.new) if config.approle else values


class RandomValues(KindDefaults):
    """Keys of a secret that get new random values."""

    traits = Traits()

    def __init__(self, config: Config) -> None:
        self._keys = config.keys

    def create(self, case: Case) -> NewCredential:
        return NewCredential(dict(self.new(case.secret)))

    def apply(self, case: Case) -> None:
        """The published values need no other system."""

    def verify(self, fields: Fields) -> bool:
        return all(fields.get(key) for key in self._keys)

    def revoke(self, case: Case) -> bool:
        """No other system accepts the old values: they ended with the apps' use of them, except for previous ones."""
        return any(case.current.get(key) and value.previous_key is None for key, value in self._keys.items())

    def discard(self, case: Case) -> None:
        """As `apply`."""

    def new(self, secret: Fields) -> Iterator[tuple[str, Any]]:
        """The keys that change, with their new values.

        A key without a value gets no previous value: an empty key would let any client sign.
        """
        for key, value in self._keys.items():
            alphabet = value.charset or ALPHABET
            yield key, "".join(secrets.choice(alphabet) for _ in range(value.generate))
            if value.previous_key is not None and secret.get(key):
                yield value.previous_key, secret[key]
