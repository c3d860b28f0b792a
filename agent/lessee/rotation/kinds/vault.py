"""Random values in KV: nobody but Vault and the apps has to know them."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from lessee.core.config.grammar.rotation import InVault as Said
from lessee.core.rotation.deciding import Traits
from lessee.core.rotation.journal import Fields
from lessee.core.setup.values import ALPHABET
from lessee.rotation.kinds.kind import Case, Made, Setting


class InVault:
    """Keys of a secret, each with a new random value."""

    traits = Traits()

    def __init__(self, said: Said, setting: Setting) -> None:
        del setting
        self._keys = said.keys

    def look(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def create(self, case: Case) -> Made:
        return Made(dict(self._values(case.secret)))

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

    def _values(self, secret: Fields) -> Iterator[tuple[str, str]]:
        for key, said in self._keys.items():
            alphabet = said.alphabet or ALPHABET
            yield key, "".join(secrets.choice(alphabet) for _ in range(said.generate))
            if said.previous is not None:
                yield said.previous, str(secret.get(key, ""))
