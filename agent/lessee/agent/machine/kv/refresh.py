"""A check of secrets that a user requests with `lessee refresh`."""

from lessee.agent.machine.kv.needs import matches
from lessee.agent.machine.kv.polling import members, next_check_of
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.immutable import replace
from lessee.core.paths import Need


def refresh_secrets(tx: Transaction, paths: tuple[str, ...]) -> None:
    """Check all secrets and folders now, or only those with these paths."""

    def is_meant(need: Need) -> bool:
        return not paths or any(matches(need, path) for path in paths)

    for mount_name, mount in tx.mounts.items():
        if not mount.version:
            tx.mounts[mount_name] = replace(mount, next_at=tx.now)
    for name, folder in tx.folders.items():
        contains_meant = any(is_meant(ref) for ref in members(tx, name))
        if (contains_meant or is_meant(name)) and folder.next_at != NEVER:
            tx.folders[name] = replace(folder, next_at=tx.now)
    for need, issuance in tx.issuances.items():
        # An issued secret remains. One that failed is tried again, and a static role is read again.
        held = tx.leases.get(issuance.lease or "")
        if is_meant(need):
            tx.issuances[need] = replace(issuance, next_at=min(issuance.next_at, tx.now))
            if held is not None and held.lease.static:
                tx.leases[held.lease.id] = replace(held, replace_at=tx.now)
    for ref, secret in tx.secrets.items():
        if is_meant(ref) and ref.version is None:
            # The LIST of its folder checks it too, but a failed secret is read itself, whatever the LIST shows.
            is_listed = next_check_of(tx, ref) == NEVER and secret.failure is None
            if not is_listed:
                tx.secrets[ref] = replace(secret, next_at=tx.now)
