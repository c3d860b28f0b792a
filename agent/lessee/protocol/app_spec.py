"""The part of an app's configuration that the state machine needs, and what other machines supply to the app."""

from collections.abc import Mapping

from lessee.core.failures import Failure
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret


class ReportTarget(ImmutableStruct, frozen=True):
    """The path in KV metadata where an app reports its versions of rotated secrets.

    The report names each secret without `prefix`.
    """

    path: str
    prefix: str


class AppSpec(ImmutableStruct, frozen=True):
    """The spec of one app. `compiled_app` holds its templates and settings: another one renders again."""

    hidden = ("compiled_app",)

    needs: frozenset[Need]
    refresh_interval: float
    notifies: bool
    compiled_app: object
    checks: bool = False
    """A command checks the files before they are published."""
    probes: bool = False
    """A readiness probe decides whether the app works with the published files."""
    falls_back: bool = False
    """A fallback provides the files at a cold start without Vault."""
    saves_snapshots: bool = False
    """That fallback is a last-known-good snapshot, which the agent saves."""
    report_target: ReportTarget | None = None
    """None: the agent reports no versions for this app."""
    sets_environment: bool = False
    """A template renders the environment of the app's process (`env_template`)."""
    sources: frozenset[str] = frozenset()
    """The names under which machines supply the rest of what the templates read: see `supply_name`."""
    optional: frozenset[Need] = frozenset()
    """What the templates can be rendered without."""
    supplies: str | None = None
    """The identity for which this machine supplies the needs to another one; None: they are the app's own."""
    keeps_files: bool = False
    """What other programs change in the app's directory is restored."""


class Supply(ImmutableStruct, frozen=True):
    """What one machine supplies to the machine of an app. The needs name the identity, as in the templates."""

    hidden = ("secrets", "folders", "dynamic")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    missing: Mapping[Need, Failure]
    """Why the others are not available."""
    leases: frozenset[str] = frozenset()
    """The ids of the leases of `dynamic`."""
    live: frozenset[str] = frozenset()
    """The ids of all leases of this app that have not ended."""
    ends: Mapping[DynamicSecret, float] = {}
    """When those of `dynamic` end that do."""


def supply_name(app: str, identity: str) -> str:
    """The name of what an identity supplies to an app. No app's own name contains the sign."""
    return f"{app}@{identity}"


def app_of(name: str) -> str:
    """The app of this name, or to which something of this name is supplied."""
    return name.partition("@")[0]
