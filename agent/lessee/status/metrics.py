"""The agent's metrics, derived from its status; imported at the first scrape."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from lessee.telemetry import exposition as ex

_TOTALS = {
    "requests": "Requests sent to Vault.",
    "request_failures": "Requests to Vault that failed.",
    "logins": "Logins to Vault and reused tokens.",
    "leases_issued": "Dynamic secrets issued by Vault.",
    "lease_renewals": "Lease renewals.",
    "leases_revoked": "Leases revoked.",
    "renders": "Renderings of an app's files.",
    "publications": "Generations published.",
    "notifications": "Successful notifications of an app.",
    "readiness_passed": "Generations with which an app became ready.",
    "rollbacks": "Generations rolled back because an app did not become ready.",
}
_LEASE_STATES = ("held", "expired", "retiring")
_STATES = ("waiting", "published", "notified", "ready", "rolled_back", "rejected")


def exposition(status: Mapping[str, Any]) -> bytes:
    """The metrics of one status in Prometheus' text format."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("agent", status)
    yield from ex.gauge("lessee_ready", "Whether every app has a published generation.", status["ready"])
    yield from ex.gauge(
        "lessee_fresh", "Whether the files are the newest, and all secrets checked in time.", status["fresh"]
    )
    yield from ex.gauge("lessee_problems", "Number of problems in the status.", len(status["problems"]))
    yield from _identities(status["identities"])
    for name, text in _TOTALS.items():
        yield ex.counter(f"lessee_{name}", text, status["totals"][name])
    text = "Time of a check of all secrets that are due, from the first request until the last answer."
    yield ex.histograms("lessee_round_duration_seconds", text, [], [([], status["rounds"])])
    yield from _leases(status["leases"])
    yield from _apps(status["apps"])
    yield from _events(status.get("events"))
    yield from ex.audit_trail(status)


def _identities(identities: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """The worst of several identities: each may use another Vault server."""
    sources = {name: identity for identity in identities if (name := identity.get("source")) is not None}
    identities = [identity for identity in identities if identity.get("source") is None]
    if sources:
        found = {name: identity["vault"]["reachable"] for name, identity in sources.items()}
        yield ex.gauges("lessee_source_reachable", "Whether a source besides Vault is reachable.", "source", found)
    if sources and not identities:
        return
    reachable = all(identity["vault"]["reachable"] for identity in identities)
    yield from ex.gauge("lessee_vault_reachable", "Whether Vault is reachable.", reachable)
    tokens = [identity["token"] for identity in identities]
    yield from ex.gauge("lessee_logged_in", "Whether the agent has a token.", all(tokens))
    ends = [end for token in tokens if token and (end := ex.timestamp(token["expires_at"])) is not None]
    text = "Expiry time of the token that expires first."
    yield from ex.gauge("lessee_token_expiry_timestamp_seconds", text, min(ends, default=None))


def _leases(leases: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    count = Counter(lease["state"] for lease in leases)
    yield ex.gauges("lessee_leases", "Leases by state.", "state", {state: count[state] for state in _LEASE_STATES})
    failing = sum(lease["error"] is not None for lease in leases)
    yield from ex.gauge("lessee_leases_failing", "Leases that cannot be renewed or revoked.", failing)
    left = [lease["expires_in"] for lease in leases if lease["state"] == "held" and lease["expires_in"] is not None]
    text = "Time until the first lease in use expires."
    yield from ex.gauge("lessee_lease_min_remaining_seconds", text, min(left, default=None))


def _apps(apps: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    def each(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
        return ex.gauges(f"lessee_app_{name}", text, "app", values)

    text = "1 for the app's current state, 0 for the others."
    states = {name: app["state"] for name, app in apps.items()}
    yield ex.state_set("lessee_app_state", text, ["app", "state"], _STATES, states)
    text = "Number of the published generation; 0: none is published."
    yield each("generation", text, {name: app["generation"] or 0 for name, app in apps.items()})
    text = "Time of the last publication."
    published = {name: ex.timestamp(app["published_at"]) for name, app in apps.items()}
    yield each("last_publication_timestamp_seconds", text, published)
    text = "Whether the app's files are the newest, and its secrets checked in time."
    yield each("fresh", text, {name: app["fresh"] for name, app in apps.items()})
    text = "Time of the oldest last check among the app's KV secrets."
    yield each(
        "last_check_timestamp_seconds", text, {n: ex.timestamp(app["last_checked_at"]) for n, app in apps.items()}
    )
    failing = {name: sum(secret["error"] is not None for secret in app["secrets"]) for name, app in apps.items()}
    yield each("secrets_failing", "Number of secrets that cannot be read.", failing)
    text = "Whether the app uses a fallback or an expired lease."
    yield each("degraded", text, {name: app["degraded"] is not None for name, app in apps.items()})
    text = "Whether a notification of the app is pending."
    yield each("notification_pending", text, {name: app["notify"]["pending"] for name, app in apps.items()})
    text = "How often another program had changed the app's published files."
    drifts = [([name], app["drift"]["total"]) for name, app in apps.items()]
    yield ex.counters("lessee_app_drift", text, ["app"], drifts)
    text = "Time of the last successful notification."
    notified = {name: ex.timestamp(app["notify"]["last"]) for name, app in apps.items()}
    yield each("last_notification_timestamp_seconds", text, notified)


def _events(events: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Metrics of an agent with an event source."""
    if events is not None:
        yield from ex.gauge("lessee_events_connected", "Whether the event source is connected.", events["live"])
        text = "Time of the last change event."
        yield from ex.gauge("lessee_events_last_change_timestamp_seconds", text, ex.timestamp(events.get("last_at")))
