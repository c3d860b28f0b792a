"""The part of an app's configuration that the state machine needs."""

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Need


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
    keeps_files: bool = False
    """What other programs change in the app's directory is restored."""
