"""Random values in KV: nobody but Vault and the apps has to know them."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lessee.config.grammar.rotation import InVault as Said
from lessee.ops.rotate.kinds.approle import SecretIds
from lessee.ops.rotate.kinds.kind import Case, Kind, Made, Setting
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.setup.policy.initial_values import ALPHABET


def in_vault(said: Said, setting: Setting) -> Kind:
    """Random values, and with an AppRole its secret_id beside them."""
    values = RandomValues(said)
    return SecretIds(said, setting, values.new) if said.approle else values


class RandomValues:
    """Keys of a secret, each with a new random value."""

    traits = Traits()

    def __init__(self, said: Said) -> None:
        self._keys = said.keys

    def look(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def create(self, case: Case) -> Made:
        return Made(dict(self.new(case.secret)))

    def apply(self, case: Case) -> None:
        """What is published is all there is."""

    def prove(self, fields: Fields) -> bool:
        return all(fields.get(key) for key in self._keys)

    def retire(self, case: Case) -> None:
        """As `apply`."""

    def remove(self, case: Case) -> None:
        """As `apply`."""

    def discard(self, case: Case) -> None:
        """As `apply`."""

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """There is nothing to close."""

    def new(self, secret: Fields) -> Iterator[tuple[str, Any]]:
        """The keys that change, with their values. One without a value has no previous one.

        Published empty, that would be a key that everybody can sign with.
        """
        for key, said in self._keys.items():
            alphabet = said.alphabet or ALPHABET
            yield key, "".join(secrets.choice(alphabet) for _ in range(said.generate))
            if said.previous is not None and secret.get(key):
                yield said.previous, secret[key]
