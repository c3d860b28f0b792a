"""The agent's status as Prometheus reads it; imported when the first scrape comes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from lessee.telemetry import exposition as ex

_TOTALS = {
    "requests": ("requests", "Requests sent to Vault."),
    "failures": ("failures", "Requests that failed."),
    "logins": ("logins", "Logins and adopted tokens."),
    "issued": ("issued", "Dynamic secrets that Vault issued."),
    "lease_renewals": ("lease_renewals", "Renewals of leases."),
    "revoked": ("leases_revoked", "Leases that were revoked."),
    "renders": ("renders", "Renderings of an app's files."),
    "publishes": ("publishes", "Generations published."),
    "notifications": ("notifications", "Apps told of a new generation."),
    "confirmations": ("confirmations", "Generations that apps were seen to work with."),
    "rollbacks": ("rollbacks", "Generations taken back, because an app did not work with them."),
}
_STANDINGS = ("held", "expired", "retiring")
_STATES = ("waiting", "published", "notified", "confirmed", "rolled_back", "refused")


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("agent", status)
    yield from ex.gauge("lessee_ready", "Every app has a generation to read.", status["ready"])
    yield from ex.gauge("lessee_fresh", "Every source was looked at in time.", status["fresh"])
    yield from ex.gauge("lessee_problems", "Problems told in the status.", len(status["problems"]))
    yield from _standing(status["identities"])
    for key, (name, text) in _TOTALS.items():
        yield ex.counter(f"lessee_{name}", text, status["totals"][key])
    yield from _leases(status["leases"])
    yield from _apps(status["apps"])
    yield from _events(status.get("events"))
    yield from ex.trail(status)


def _standing(identities: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Of several identities the worst: each may have a Vault of its own."""
    reachable = all(identity["vault"]["reachable"] for identity in identities)
    yield from ex.gauge("lessee_vault_reachable", "Vault answers.", reachable)
    tokens = [identity["token"] for identity in identities]
    yield from ex.gauge("lessee_logged_in", "There is a token.", all(tokens))
    ends = [end for token in tokens if token and (end := ex.moment(token["expires_at"])) is not None]
    text = "When the token ends that ends first."
    yield from ex.gauge("lessee_token_expiry_timestamp_seconds", text, min(ends, default=None))


def _leases(leases: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    count = Counter(lease["state"] for lease in leases)
    text = "Leases, by how they stand."
    yield ex.gauges("lessee_leases", text, "state", {standing: count[standing] for standing in _STANDINGS})
    failing = sum(lease["error"] is not None for lease in leases)
    yield from ex.gauge("lessee_leases_failing", "Leases that could not be renewed or revoked.", failing)
    left = [lease["expires_in"] for lease in leases if lease["state"] == "held" and lease["expires_in"] is not None]
    text = "Time left until the first of the held leases ends."
    yield from ex.gauge("lessee_lease_soonest_end_seconds", text, min(left, default=None))


def _apps(apps: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    def each(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
        return ex.gauges(f"lessee_app_{name}", text, "app", values)

    text = "1 at the state in which the app is."
    states = {name: app["state"] for name, app in apps.items()}
    yield ex.standings("lessee_app_state", text, ["app", "state"], _STATES, states)
    text = "The generation that readers see; 0: none."
    yield each("generation", text, {name: app["generation"] or 0 for name, app in apps.items()})
    text = "When it was published."
    yield each("published_timestamp_seconds", text, {n: ex.moment(app["published_at"]) for n, app in apps.items()})
    text = "Every source of the app was looked at in time."
    yield each("fresh", text, {name: app["fresh"] for name, app in apps.items()})
    text = "When the KV source was looked at that was looked at longest ago."
    yield each("looked_timestamp_seconds", text, {n: ex.moment(app["looked_at"]) for n, app in apps.items()})
    failing = {name: sum(secret["error"] is not None for secret in app["secrets"]) for name, app in apps.items()}
    yield each("sources_failing", "Secrets that cannot be read.", failing)
    text = "The app runs on less than it wants."
    yield each("degraded", text, {name: app["degraded"] is not None for name, app in apps.items()})
    text = "The app is still to be told."
    yield each("notification_owed", text, {name: app["notify"]["owed"] for name, app in apps.items()})
    text = "When it was last told."
    yield each("told_timestamp_seconds", text, {n: ex.moment(app["notify"]["last"]) for n, app in apps.items()})


def _events(events: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Of an agent that hears of changes."""
    if events is not None:
        yield from ex.gauge("lessee_events_live", "Changes are heard of before the next look.", events["live"])
        text = "When the last change was heard of."
        yield from ex.gauge("lessee_events_last_timestamp_seconds", text, ex.moment(events.get("last_at")))
