"""Rotates the stores of an adopted project, and gives them their old passwords back before an undo.

Both run `lessee rotate` in the service lessee-rotator, which reaches the stores. A killed one leaves an open rotation
in its journal in Vault, and the next one finishes it: no store is locked out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lessee.config import Config
from lessee.core.errors import LesseeError, ManuallyChangedError
from lessee.ops.adopt.policy.rotation import StoreTarget
from lessee.ops.adopt.policy.rotator_text import PROFILE, SERVICE, rotator_image
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import AdminClient

if TYPE_CHECKING:
    import subprocess

Compose = Callable[[Sequence[str], float], "subprocess.CompletedProcess[bytes]"]
"""Runs `docker compose` with these words, for so many seconds, with the project's files and the override."""
Say = Callable[[str], None]
Save = Callable[[str, int], None]
"""Records a target and the version of its secret that it had before, before it is rotated."""
_TIMEOUT = 900.0
"""Seconds: the rotation waits at most five minutes for the apps, and for Vault."""
_UNCONFIRMED = ManuallyChangedError.exit_code


class RotationFailedError(LesseeError):
    """A store was not rotated; its journal says how far it is."""

    exit_code = 69  # EX_UNAVAILABLE


def first_rotation(
    client: AdminClient,
    config: Config,
    compose: Compose,
    targets: Iterable[StoreTarget],
    rotated: Mapping[str, int],
    save: Save,
    say: Say,
) -> tuple[str, ...]:
    """Rotate the targets that are not in `rotated`. Returns what is left to a person. Raises RotationFailedError.

    `rotated`: the targets of earlier runs with the version of the secret before. One that a killed run has begun is
    finished: the rotator continues what its journal says.
    """
    left = []
    for target in targets:
        version = rotated.get(target.name)
        if version is None:
            version = _newest(client, config, target.path)
            save(target.name, version)
        elif _newest(client, config, target.path) > version and _is_closed(client, config, target.name):
            continue
        say(f"rotating {target.name}: the old password ends")
        if not _rotate(compose, target, ()):
            todo = f"see its log, then run `docker compose run --rm {SERVICE} rotate {target.name}`"
            left.append(f"{target.name}: not all services are known to use the new password; {todo}")
    return tuple(left)


def restore_rotated(
    client: AdminClient,
    config: Config,
    compose: Compose,
    targets: Iterable[StoreTarget],
    rotated: Mapping[str, int],
    say: Say,
) -> None:
    """Set the passwords of before the first rotation again, in the stores and in Vault, while the stack runs.

    It can run again after a kill. Raises RotationFailedError; then the files must keep the rendered passwords.
    """
    # In the opposite order: an administrator is restored after the logins that it changes.
    for target in reversed(tuple(targets)):
        if (version := rotated.get(target.name)) is not None:
            _require_version(client, config, target, version)
            say(f"setting the old password of {target.name} again")
            _rotate(compose, target, ("--to-version", str(version)))


def require_image(run: Callable[[Sequence[str]], "subprocess.CompletedProcess[bytes]"], image: str) -> None:
    """Raises LesseeError where the Engine does not have the rotator's image. `run`: runs a command."""
    name = rotator_image(image)
    if run(("docker", "image", "inspect", "--format", "{{.Id}}", name)).returncode:
        what = f"the Engine has no image {name}, which rotates passwords"
        todo = f"build it: docker build -f compose/Dockerfile --build-arg EXTRAS=rotate -t {name} ."
        raise LesseeError(what, where=name, todo=todo)


def _rotate(compose: Compose, target: StoreTarget, options: Sequence[str]) -> bool:
    """Whether all services confirmed the new password. Raises RotationFailedError."""
    words = ("--profile", PROFILE, "run", "--rm", "--no-deps", "-T", SERVICE, "rotate", target.name, *options)
    done = compose(words, _TIMEOUT)
    if done.returncode not in {0, _UNCONFIRMED}:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = next((line for line in reversed(lines) if line.startswith("lessee: ")), "")
        what = last.removeprefix("lessee: ") or f"`docker compose run {SERVICE}` failed with {done.returncode}"
        todo = "correct the cause, and run this command again: it continues"
        raise RotationFailedError(what, where=target.service, todo=todo)
    if target.restarts:
        again = compose(("restart", target.service), _TIMEOUT)
        if again.returncode:
            todo = f"run `docker compose restart {target.service}`: it reads its new password when it starts"
            raise RotationFailedError("it could not be started again", where=target.service, todo=todo)
    return done.returncode == 0


def _newest(client: AdminClient, config: Config, path: str) -> int:
    found = client.read(_path(config, "metadata", path)) or {}
    return int(found.get("current_version") or 0)


def _is_closed(client: AdminClient, config: Config, name: str) -> bool:
    """Whether no rotation of the target is open, and one has ended."""
    found = (client.read(_path(config, "data", f"lessee/rotation/{name}")) or {}).get("data") or {}
    return found.get("step") in {"idle", "retaining"} and bool(found.get("rotated_at"))


def _require_version(client: AdminClient, config: Config, target: StoreTarget, version: int) -> None:
    """Raises RotationFailedError where Vault has deleted the version, as it does after ten others."""
    found = client.read(_path(config, "data", target.path), {"version": str(version)})
    if not (found or {}).get("data"):
        what = f"Vault does not have version {version} of {target.path} any more"
        todo = f"set the old password of {target.service} yourself, and run this again with its name removed"
        raise RotationFailedError(what, where=target.name, todo=todo)


def _path(config: Config, which: str, path: str) -> str:
    scope = path_scope_of(config)
    return f"{scope.mount}/{which}/{config.secrets.prefix}{path}"
