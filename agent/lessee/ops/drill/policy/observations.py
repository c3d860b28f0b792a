"""What an app noticed during a scene, from what its stand-in reported."""

from collections.abc import Iterable, Sequence

from lessee.core.immutable import ImmutableStruct


class Report(ImmutableStruct, frozen=True):
    """A line of a stand-in. `at`: seconds of the monotonic clock; `uses`: how often it has used its credential."""

    at: float
    event: str
    """`notified`, `loaded`, `missing` or `alive`."""
    changed: bool
    """Loaded files that differ from the last ones."""
    uses: int


class Change(ImmutableStruct, frozen=True):
    """A new version of a secret that these apps read. `revoked_at`: when the old credential ended; None: it did not."""

    secret: str
    apps: frozenset[str]
    published_at: float
    revoked_at: float | None = None


class Felt(ImmutableStruct, frozen=True):
    """What an app noticed. Times are in seconds."""

    app: str
    notifications: int
    loads: int
    """How often it loaded files that were different."""
    uses: int
    stale_uses: int
    """Uses of a value while Vault had a newer one."""
    stale_for: float
    without_credential: float
    """How long the credential that it used was not valid any more."""
    missing: int
    """How often its files could not be read."""


def felt(app: str, reports: Sequence[Report], changes: Iterable[Change], begin: float, end: float) -> Felt:
    """What the app noticed between two moments. An app whose files did not change does not use what changed."""
    during = [report for report in reports if begin <= report.at <= end]
    loads = [report.at for report in during if report.event == "loaded" and report.changed]
    stale: list[_Span] = []
    without: list[_Span] = []
    for change in changes:
        if app in change.apps and loads:
            reaction = min((at for at in loads if at >= change.published_at), default=end)
            stale.append((change.published_at, reaction))
            if change.revoked_at is not None:
                without.append((change.revoked_at, reaction))
    stale_uses = sum(_uses_at(reports, last) - _uses_at(reports, first) for first, last in _merged(stale))
    return Felt(
        app=app,
        notifications=sum(report.event == "notified" for report in during),
        loads=len(loads),
        uses=round(_uses_at(reports, end) - _uses_at(reports, begin)),
        stale_uses=round(stale_uses),
        stale_for=_length(stale),
        without_credential=_length(without),
        missing=sum(report.event == "missing" for report in during),
    )


_Span = tuple[float, float]


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for first, last in sorted(span for span in spans if span[0] < span[1]):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _length(spans: Iterable[_Span]) -> float:
    return sum(last - first for first, last in _merged(spans))


def _uses_at(reports: Sequence[Report], moment: float) -> float:
    """The counter at a moment, between the reports before and after it."""
    before = Report(moment, "", changed=False, uses=0)
    for report in reports:
        if report.at > moment:
            share = (moment - before.at) / (report.at - before.at)
            return before.uses + share * (report.uses - before.uses)
        before = report
    return before.uses
