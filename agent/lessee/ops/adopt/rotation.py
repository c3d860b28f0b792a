"""Rotates the stores of an adopted project, and gives them their old passwords back before an undo.

Both run `lessee rotate` in the service lessee-rotator, which reaches the stores. A killed one leaves an open rotation
in its journal in Vault, and the next one finishes it: no store is locked out.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from lessee.core.errors import LesseeError, ManuallyChangedError
from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import ManualStep
from lessee.ops.adopt.policy.rotation import RotatedStore, StoreTarget
from lessee.ops.adopt.policy.rotator_text import PROFILE, SERVICE
from lessee.ops.adopt.record import Record
from lessee.ops.adopt.store import Store

if TYPE_CHECKING:
    import subprocess

Compose = Callable[[Sequence[str], float], "subprocess.CompletedProcess[bytes]"]
"""Runs `docker compose` with these words, for so many seconds, with the project's files and the override."""
Say = Callable[[str], None]
_TIMEOUT = 900.0
"""Seconds: the rotation waits at most five minutes for the apps, and for Vault."""
_UNCONFIRMED = ManuallyChangedError.exit_code


class RotationFailedError(LesseeError):
    """A store was not rotated; its journal says how far it is."""

    exit_code = 69  # EX_UNAVAILABLE


def first_rotation(
    store: Store,
    compose: Compose,
    targets: Iterable[StoreTarget],
    record: Record,
    save: Callable[[RotatedStore], None],
    say: Say,
) -> tuple[ManualStep, ...]:
    """Rotate the targets, except those that the record has. Returns what is left to a person.

    `save` records a target before it is rotated, and when it is done, in the place of the same one. One that a killed
    run has begun is finished: the rotator continues what its journal says. Raises RotationFailedError.
    """
    left = []
    recorded = {one.name: one for one in record.rotated}
    for target in targets:
        known = recorded.get(target.name)
        if known is not None and known.is_done:
            continue
        version = record.versions.get(target.path) or store.version(target.path)
        begun = RotatedStore(target.name, target.service, target.path, version, target.restarts)
        save(begun)
        is_old = store.version(target.path) <= version
        if known is None or is_old or not _is_closed(store, target.name):
            say(f"rotating {target.name}: the old password ends")
            # Forced: after an undo, the journal has a rotation that is not due again.
            if not _rotate(compose, target, ("--force",) if is_old else ()):
                what = f"not all services are known to use the new password of {target.name}"
                left.append(ManualStep(target.service, what, f"see its log, and `{_spelled(target.name)}`"))
        _start_again(compose, target)
        save(replace(begun, is_done=True))
    return tuple(left)


def restore_rotated(
    store: Store, compose: Compose, record: Record, forget: Callable[[RotatedStore], None], say: Say
) -> None:
    """Set the passwords of before the first rotation again, in the stores and in Vault, while the stack runs.

    It can run again after a kill. Raises RotationFailedError; then the files must keep the rendered passwords.
    """
    # In the opposite order: an administrator is restored before the logins that it changes.
    for rotated in reversed(record.rotated):
        if not store.has_version(rotated.path, rotated.version):
            what = f"Vault does not have version {rotated.version} of {rotated.path} any more"
            todo = f"set the old password of {rotated.service} by `{_spelled(rotated.name)} --to-version N`"
            raise RotationFailedError(what, where=rotated.service, todo=todo)
        say(f"setting the old password of {rotated.name} again")
        _rotate(compose, rotated, ("--to-version", str(rotated.version)))
        _start_again(compose, rotated)
        forget(rotated)


def _rotate(compose: Compose, target: StoreTarget | RotatedStore, options: Sequence[str]) -> bool:
    """Whether all services confirmed the new password. Raises RotationFailedError."""
    words = ("--profile", PROFILE, "run", "--rm", "--no-deps", "-T", SERVICE, "rotate", target.name, *options)
    done = compose(words, _TIMEOUT)
    if done.returncode not in {0, _UNCONFIRMED}:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = next((line for line in reversed(lines) if line.startswith("lessee: ")), "")
        what = last.removeprefix("lessee: ") or f"`docker compose run {SERVICE}` failed with {done.returncode}"
        todo = "correct the cause, and run this command again: it continues"
        raise RotationFailedError(what, where=target.service, todo=todo)
    return done.returncode == 0


def _start_again(compose: Compose, target: StoreTarget | RotatedStore) -> None:
    """Start a store that reads its password when it starts. Raises RotationFailedError."""
    if target.restarts:
        again = compose(("restart", target.service), _TIMEOUT)
        if again.returncode:
            todo = f"run `docker compose restart {target.service}`: it reads its new password when it starts"
            raise RotationFailedError("it could not be started again", where=target.service, todo=todo)


def _is_closed(store: Store, name: str) -> bool:
    """Whether no rotation of the target is open, and one has ended."""
    found = store.existing(f"lessee/rotation/{name}")
    return found.get("step") in {"idle", "retaining"} and bool(found.get("rotated_at"))


def _spelled(name: str) -> str:
    return f"docker compose run --rm {SERVICE} rotate {name}"
