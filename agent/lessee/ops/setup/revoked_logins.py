"""Finds the secret_ids that an emergency has destroyed, so that `lessee setup --output` replaces their files."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lessee.config import Config
from lessee.core.emergencies import note_path, revoked_roles
from lessee.core.errors import DeniedError, VaultRequestError
from lessee.core.failures import Kind as Failed
from lessee.ops.setup.policy.objects import Object
from lessee.vault.admin import AdminClient

Revoked = Mapping[str, float]
"""When an emergency revoked the logins of roles, in seconds since 1970, by the role's API path."""


def find_revoked(client: AdminClient, configs: Mapping[str, Config]) -> Revoked:
    """What emergencies have noted; nothing where the token may not read that. Raises VaultUnreachableError."""
    found: dict[str, float] = {}
    for environment, config in configs.items():
        try:
            note = (client.read(f"{config.secrets.mount}/data/{note_path(environment)}") or {}).get("data")
        except DeniedError:
            continue
        for role in revoked_roles(note if isinstance(note, Mapping) else {}):
            mount, _, name = role.name.rpartition("/")
            found[f"auth/{mount}/role/{name}"] = role.at
    return found


def destroyed(
    client: AdminClient, folder: Path, roles: Iterable[Object], revoked: Revoked, *, wraps: bool
) -> Iterator[Path]:
    """The directories whose secret_id Vault does not know any more. Raises DeniedError and VaultUnreachableError.

    `wraps`: the files hold wrapping tokens, which say nothing of the secret_id. What was written before the emergency
    is then of a login that the emergency has revoked.
    """
    for role in roles:
        place = folder / role.environment / role.name
        if role.path not in revoked:
            continue
        file = place / "secret_id"
        is_valid = _is_newer(file, revoked[role.path]) if wraps else _is_known(client, role, file)
        if not is_valid:
            yield place


def _is_newer(file: Path, at: float) -> bool:
    """A missing file counts as newer: it is written anyway."""
    try:
        return file.stat().st_mtime >= at
    except OSError:
        return True


def _is_known(client: AdminClient, role: Object, file: Path) -> bool:
    """A file that cannot be read counts as known: lessee did not write it."""
    try:
        secret_id = file.read_text(encoding="utf-8").strip()
        if not secret_id:
            return True
        return bool(client.write(f"{role.path}/secret-id/lookup", {"secret_id": secret_id}).data)
    except (OSError, UnicodeDecodeError):
        return True
    except VaultRequestError as exc:
        if exc.kind in {Failed.NOT_FOUND, Failed.INVALID}:
            return False
        raise
