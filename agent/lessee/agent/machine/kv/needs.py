"""Which KV secrets and folders the apps need, and which apps need one of them."""

from collections.abc import Mapping

from lessee.agent.machine.affected import apps_that_need
from lessee.agent.machine.kv.polling import lists_metadata, members, new_secret
from lessee.agent.machine.kv.state import KvFolder, KvMount, KvSecret
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.protocol.app_spec import AppSpec


def configure_kv(tx: Transaction, specs: Mapping[str, AppSpec]) -> None:
    """Read what the apps need. What was read before and is still needed remains; everything else is dropped."""
    intervals: dict[Ref | Folder, float] = {}
    for spec in specs.values():
        for need in spec.needs:
            if not isinstance(need, DynamicSecret):
                intervals[need] = min(spec.refresh_interval, intervals.get(need, spec.refresh_interval))
    for name in {need.mount for need in intervals}:
        tx.mounts.setdefault(name, KvMount())
    tx.folders.replace_all(_folders(tx, intervals))
    needed = {need for need in intervals if isinstance(need, Ref)}
    needed |= {ref for folder in tx.folders for ref in members(tx, folder)}
    tx.secrets.replace_all({ref: _secret(tx, ref) for ref in sorted(needed, key=str)})


def _secret(tx: Transaction, ref: Ref) -> KvSecret:
    known = tx.secrets.get(ref)
    if known is None:
        return new_secret(tx, ref)
    folder = tx.folders.get(ref.folder)
    if folder is None or folder.lists_metadata or ref.version is not None:
        return known
    return replace(known, next_at=_at_the_latest(tx, known.next_at, folder.refresh_interval))


def _folders(tx: Transaction, intervals: Mapping[Ref | Folder, float]) -> dict[Folder, KvFolder]:
    refs_in: dict[Folder, list[Ref]] = {}
    for need in intervals:
        if isinstance(need, Folder):
            refs_in.setdefault(need, [])
        elif need.version is None:
            refs_in.setdefault(need.folder, []).append(need)
    return {folder: _folder(tx, folder, refs, intervals) for folder, refs in refs_in.items()}


def _folder(tx: Transaction, folder: Folder, refs: list[Ref], intervals: Mapping[Ref | Folder, float]) -> KvFolder:
    needs: list[Ref | Folder] = [folder, *refs]
    interval = min(intervals[need] for need in needs if need in intervals)
    reads_all = folder in intervals
    known = tx.folders.get(folder)
    if known is not None and known.reads_all == reads_all and (len(known.refs) > 1) == (len(refs) > 1):
        next_at = NEVER if known.next_at == NEVER else _at_the_latest(tx, known.next_at, interval)
        return replace(known, refresh_interval=interval, refs=tuple(sorted(refs)), next_at=next_at)
    by_list = lists_metadata(tx, folder, refs, reads_all=reads_all)
    next_at = tx.now if reads_all or by_list else NEVER
    blocked = not tx.mounts[folder.mount].version
    return KvFolder(interval, tuple(sorted(refs)), reads_all, by_list, blocked, next_at=next_at)


def _at_the_latest(tx: Transaction, at: float, refresh_interval: float) -> float:
    """The next check, which is sooner if `refresh_interval` has become shorter."""
    return min(at, tx.now + refresh_interval)


def matches(need: Need, path: str) -> bool:
    """Whether a user means this secret or folder by `path`: as in a template, or with the prefix and the mount."""
    full_path = need.path if isinstance(need, DynamicSecret) else str(need)
    return f"/{full_path}".rstrip("/").endswith(f"/{path.rstrip('/')}")


def input_values(state: StateView, need: DynamicSecret) -> Mapping[str, object] | None:
    """The parameters of a request that are fields of secrets, with None for a field that a secret does not have.

    None while a secret is not known or not current.
    """
    values: dict[str, object] = {}
    for each in need.inputs:
        known = state.secrets.get(each.secret)
        if known is None or known.secret is None or known.stale or known.failure is not None:
            return None
        value: object = known.secret.data
        for key in each.keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        values[each.name] = value
    return values


def mark_dirty(tx: Transaction, need: Need) -> None:
    """Render the apps that need this again."""
    for name in apps_that_need(tx, need):
        if not tx.apps[name].dirty:
            tx.apps[name] = replace(tx.apps[name], dirty=True)
