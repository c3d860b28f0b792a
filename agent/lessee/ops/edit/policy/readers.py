"""Which apps read a secret, and how far an agent's apps are with a new version of it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Folder, Need, Ref

PROOFS = {
    "published": "its files have it since generation {}",
    "notified": "was notified of it in generation {}",
    "ready": "works with it since generation {}",
}
"""What an app's state proves. Only a probe, `ready`, proves that the app uses the value."""
_FAILED = frozenset({"rejected", "rolled_back"})


class Progress(ImmutableStruct, frozen=True):
    """How far an app is. `error`: why it will not work with the new version, or does not yet."""

    done: bool
    failed: bool = False
    error: str = ""
    generation: int | None = None
    state: str = ""


def reads(need: Need, ref: Ref) -> bool:
    """Whether a template that has this need reads the newest version of the secret."""
    match need:
        case Ref():
            return need == ref
        case Folder():
            return need == ref.folder
        case _:
            return any(each.secret == ref for each in need.inputs)


def readers(needs: Mapping[str, Iterable[Need]], ref: Ref) -> tuple[str, ...]:
    """The names of the apps, in the order of the configuration, of which a need reads the secret."""
    return tuple(name for name, of_app in needs.items() if any(reads(need, ref) for need in of_app))


def progress(apps: Mapping[str, Any], path: str, version: int, known: Collection[str] | None) -> dict[str, Progress]:
    """How far the apps of an agent's status that read the path are with this version, by name.

    `known`: the apps whose templates read it; another one may read the same path at another server. None: not known.
    Raises LookupError, TypeError and AttributeError for a status of an unknown format.
    """
    found = {}
    for name, app in apps.items():
        read = [one for one in app["secrets"] if one["path"] == path]
        if read and (known is None or name in known):
            found[name] = _progress(app, read, version)
    return found


def _progress(app: Mapping[str, Any], read: Iterable[Mapping[str, Any]], version: int) -> Progress:
    number, state, readiness = app["generation"], app["state"], app["readiness"] or {}
    if any((one["version"] or 0) < version for one in read) or app["pending"]:
        error = next((one["error"] for one in read if one["error"]), None) or app["error"] or ""
        return Progress(done=False, error=str(error), generation=number, state=state)
    if state in _FAILED:
        error = app["error"] or readiness.get("error") or state
        return Progress(done=False, failed=True, error=str(error), generation=number, state=state)
    is_pending = app["notify"]["pending"] or readiness.get("pending", False)
    error = app["notify"]["error"] or readiness.get("error") or ""
    return Progress(done=state in PROOFS and not is_pending, error=str(error), generation=number, state=state)
