"""Which apps read a secret, and how far an agent's apps are with a new version of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Folder, Need, Ref

_DONE = frozenset({"published", "notified", "ready"})
_FAILED = frozenset({"rejected", "rolled_back"})


class Progress(ImmutableStruct, frozen=True):
    """How far an app is. `error`: why it will not work with the new version, or does not yet."""

    done: bool
    failed: bool = False
    error: str = ""
    generation: int | None = None


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


def progress(app: Mapping[str, Any], path: str, version: int) -> Progress:
    """How far an app of an agent's status is with this version.

    Raises LookupError, TypeError and AttributeError for a status of an unknown format.
    """
    number = app["generation"]
    # The path begins with the identity's name.
    found = [one for one in app["secrets"] if one["path"] == path or one["path"].endswith(f":{path}")]
    if any((one["version"] or 0) < version for one in found) or app["pending"]:
        error = next((one["error"] for one in found if one["error"]), None) or app["error"] or ""
        return Progress(done=False, error=str(error), generation=number)
    if app["state"] in _FAILED:
        error = app["error"] or (app["readiness"] or {}).get("error") or app["state"]
        return Progress(done=False, failed=True, error=str(error), generation=number)
    pending = app["notify"]["pending"] or (app["readiness"] or {}).get("pending", False)
    error = app["notify"]["error"] or (app["readiness"] or {}).get("error") or ""
    return Progress(done=app["state"] in _DONE and not pending, error=str(error), generation=number)
