"""The interface of a kind of system, through which its credentials are rotated."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec import field

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.vault.admin import AdminClient


class SystemUnavailableError(LesseeError):
    """The system that owns the credential does not answer, or cannot serve: it is not known what it has done."""

    exit_code = 69  # EX_UNAVAILABLE


class SystemRefusedError(LesseeError):
    """The system, or the admin's permissions in it, refuse what a rotation needs."""

    exit_code = 77  # EX_NOPERM


class Case(ImmutableStruct, frozen=True):
    """One rotation. `current` and `pending` are the secret's keys that change, with their old and new values."""

    hidden = ("current", "pending", "secret")

    id: str
    """Letters and digits; no other rotation has this id."""
    secret: Fields
    """The whole secret as it is now, which also has the system's address."""
    current: Fields = field(default_factory=dict)
    pending: Fields = field(default_factory=dict)
    handle: str = ""
    """What the system calls the current credential, where no field names it."""
    pending_handle: str = ""
    existing: tuple[str, ...] = ()
    """What `list_credentials` returned before a new credential was requested."""
    retried: bool = False
    """An earlier attempt of this rotation may have left credentials in the system."""
    leftovers: tuple[str, ...] = ()
    """What `list_credentials` returns now, without `existing`."""


class NewCredential(ImmutableStruct, frozen=True):
    """A new credential: the secret's keys that change, and what the system calls it where no field names it."""

    hidden = ("fields",)

    fields: Fields
    handle: str = ""


class Unconfirmed(ImmutableStruct, frozen=True):
    """The credential is set, but not all servers are known to have loaded it.

    `missing`: those that have not. `confirmed`: those that have, where others may not have reported yet.
    """

    missing: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    since: float = 0.0
    """When lessee last wrote what they accept, in seconds since 1970; 0: it is not known."""


class Kind(Protocol):
    """One target's system. Each method can be called again after a kill, with the same case, without harm.

    Methods raise SystemUnavailableError where it is not known what was done, and SystemRefusedError where an early
    retry would not help. No error text holds a value. No call takes longer than `traits.timeout`.
    """

    @property
    def traits(self) -> Traits: ...

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """The names of the system's credentials, which are not secret. () where lessee generates the value.

        Where `case.retried`, those that an earlier attempt of this rotation may have left are enough.
        """
        ...

    def create(self, case: Case) -> NewCredential:
        """A new credential.

        Where the system creates it, the method first deletes `case.leftovers`, which an earlier attempt of this
        rotation left, unless `case.secret` has them. It must delete nothing else, and must not list credentials: a
        process that was suspended for long would find and delete what others have published since. Where lessee
        generates the value, the system is not asked.
        """
        ...

    def apply(self, case: Case) -> None:
        """Set the pending value in the system, whatever it has now. The current one stays valid where possible."""
        ...

    def verify(self, fields: Fields) -> bool | Unconfirmed:
        """Whether a login with these fields of a whole secret succeeds. False: the system rejects them.

        Unconfirmed: servers that load it from Vault have not all confirmed it.
        """
        ...

    def revoke(self, case: Case) -> bool:
        """Revoke the current credential, or disable it where `traits.delete_delay` is not 0.

        False: no old credential exists, or lessee is not the one that revokes it.
        """
        ...

    def delete(self, case: Case) -> None:
        """Delete the current credential. Called after a `revoke` that returned True, with a `traits.delete_delay`."""
        ...

    def discard(self, case: Case) -> None:
        """Revoke the pending credential, which was never published. `case.secret` is what the apps read."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other rotators from changing the target's credential, where the system has such a lock."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class KindDefaults:
    """What many kinds do: lessee generates the value, `revoke` leaves nothing, and the journal's lock is enough."""

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def delete(self, case: Case) -> None:
        """There is nothing to delete."""

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """Nothing is open between calls."""


@runtime_checkable
class Placing(Protocol):
    """A kind that puts the credential itself where its clients read it."""

    def place(self, case: Case) -> None:
        """Put the pending credential there, before it is published. The current one stays valid."""
        ...


class KindContext(ImmutableStruct, frozen=True):
    """What a kind gets in addition to its block of the configuration."""

    hidden = ("admin", "environ", "vault")

    name: str
    """The target's name."""
    admin: Fields
    """The fields of the admin's secret; empty where the target has no admin."""
    folder: Path
    """The configuration file's directory, to which paths are relative."""
    environ: Mapping[str, str]
    vault: AdminClient
    """For credentials that Vault itself owns."""
    mount: str = ""
    """Of the secrets."""
    prefix: str = ""
    """Of the environment's secrets."""
    immediate: bool = False
    """After a leak: nothing of the old credential stays valid."""
    ask: Callable[[str], str] | None = None
    """Asks the user at the terminal without echo; None where there is no terminal."""
    say: Callable[[str], None] | None = None
    """Prints a text for that user."""
