"""What a kind of system must be able to do, so that its credentials can be rotated."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from msgspec import field

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.vault.admin import AdminClient


class SystemUnavailableError(LesseeError):
    """The system that owns the credential does not answer, or cannot serve now: nobody knows what it did."""

    exit_code = 69  # EX_UNAVAILABLE


class SystemRefusedError(LesseeError):
    """The system, or who administers it, refuses what a rotation needs."""

    exit_code = 77  # EX_NOPERM


class Case(ImmutableStruct, frozen=True):
    """One rotation. `current` and `pending` are the secret's keys that change, as they were and as they shall be."""

    hidden = ("current", "pending", "secret")

    id: str
    """Letters and digits; no other rotation has it."""
    secret: Fields
    """All that stands in the secret now: where the system is, and what else the apps read."""
    current: Fields = field(default_factory=dict)
    pending: Fields = field(default_factory=dict)
    handle: str = ""
    """What the system calls the current credential, where that is none of its fields."""
    pending_handle: str = ""
    before: tuple[str, ...] = ()
    """What `look` found before a new value was asked for."""
    retried: bool = False
    """An earlier try of this rotation may have left something in the system."""
    left: tuple[str, ...] = ()
    """What `look` has found now and `before` does not name."""


class Made(ImmutableStruct, frozen=True):
    """A new value: the secret's keys that change, and what the system calls it where that is none of them."""

    hidden = ("fields",)

    fields: Fields
    handle: str = ""


class Kind(Protocol):
    """One target's system. Every method may be called again after a kill, with the same case, and then does no harm.

    They raise SystemUnavailableError where nobody knows what was done, and SystemRefusedError where it will not help to try again
    soon; neither text, nor any other's, holds a value. No call takes longer than `traits.patience`.
    """

    @property
    def traits(self) -> Traits: ...

    def look(self, case: Case) -> tuple[str, ...]:
        """The names of the credentials that the system has now, none of them a secret. () where it makes none.

        Where `case.retried`, only those that an earlier try of this rotation may have left need be among them.
        """
        ...

    def create(self, case: Case) -> Made:
        """A new value.

        Where the system makes it: what `case.left` names, an earlier try of this rotation left, and is removed first,
        unless `case.secret` has it. Nothing else may be, nor may it be looked for here: whoever stood still for long
        would find, and remove, what others have published meanwhile. Elsewhere the system is not asked for anything.
        """
        ...

    def apply(self, case: Case) -> None:
        """Let the system take the pending value, whatever it has now; the current one stays valid if it can."""
        ...

    def prove(self, fields: Fields) -> bool:
        """Whether a login with these, the keys of a whole secret, succeeds. False: the system refuses them."""
        ...

    def retire(self, case: Case) -> None:
        """Take the current value out of use, so that it could be brought back where `traits.keep` says so."""
        ...

    def remove(self, case: Case) -> None:
        """Remove the current value for good; after `retire`, and only where `traits.keep` is not 0."""
        ...

    def discard(self, case: Case) -> None:
        """Take the pending value out of use: it was never published. `case.secret` is what the apps read."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Nobody else changes this target's credential in the system meanwhile, so far as it has such a lock."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Setting(ImmutableStruct, frozen=True):
    """What a kind is made with, beside its own block of the configuration."""

    hidden = ("admin", "environ", "vault")

    name: str
    """The target's."""
    admin: Fields
    """What stands in the admin's secret; empty where there is none."""
    folder: Path
    """The configuration file's: where relative paths begin."""
    environ: Mapping[str, str]
    vault: AdminClient
    """For what Vault itself owns."""
    ask: Callable[[str], str] | None = None
    """Asks a person, without showing what is typed; None where there is none."""
    say: Callable[[str], None] | None = None
    """Shows a text to that person."""
