"""The status as Prometheus reads it; imported when the first scrape comes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

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


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))
    return generate_latest(registry)


class _Collector:
    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        info = GaugeMetricFamily("lessee_info", "The version.", labels=["version"])
        info.add_metric([status["version"]], 1)
        yield info
        yield GaugeMetricFamily("lessee_ready", "Every app has a generation to read.", value=status["ready"])
        yield GaugeMetricFamily("lessee_fresh", "Every source was looked at in time.", value=status["fresh"])
        reachable = status["vault"]["reachable"]
        yield GaugeMetricFamily("lessee_vault_reachable", "Vault answers.", value=reachable)
        yield GaugeMetricFamily("lessee_problems", "Problems told in the status.", value=len(status["problems"]))
        token = status["token"]
        if token and token["expires_at"]:
            ends = datetime.fromisoformat(token["expires_at"]).timestamp()
            yield GaugeMetricFamily("lessee_token_expiry_timestamp_seconds", "When the token ends.", value=ends)
        for key, (name, text) in _TOTALS.items():
            yield CounterMetricFamily(f"lessee_{name}", text, value=status["totals"][key])
        yield from _leases(status["leases"])
        yield from _apps(status["apps"])


def _leases(leases: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    standings = Counter(lease["state"] for lease in leases)
    count = GaugeMetricFamily("lessee_leases", "Leases, by how they stand.", labels=["state"])
    for standing in _STANDINGS:
        count.add_metric([standing], standings[standing])
    yield count
    left = [lease["expires_in"] for lease in leases if lease["state"] == "held" and lease["expires_in"] is not None]
    if left:
        text = "Time left until the first of the held leases ends."
        yield GaugeMetricFamily("lessee_lease_soonest_end_seconds", text, value=min(left))


def _apps(apps: Mapping[str, Any]) -> Iterable[Metric]:
    generation = GaugeMetricFamily("lessee_app_generation", "The generation that readers see.", labels=["app"])
    published = GaugeMetricFamily("lessee_app_published_timestamp_seconds", "When it was published.", labels=["app"])
    owed = GaugeMetricFamily("lessee_app_notification_owed", "The app is still to be told.", labels=["app"])
    back = GaugeMetricFamily("lessee_app_rolled_back", "The newest generation was taken back.", labels=["app"])
    failing = GaugeMetricFamily("lessee_app_sources_failing", "Secrets that cannot be read.", labels=["app"])
    for name, app in apps.items():
        generation.add_metric([name], app["generation"] or 0)
        if app["published_at"]:
            published.add_metric([name], datetime.fromisoformat(app["published_at"]).timestamp())
        owed.add_metric([name], app["notify"]["owed"])
        back.add_metric([name], app["state"] == "rolled_back")
        failing.add_metric([name], sum(secret["error"] is not None for secret in app["secrets"]))
    yield from (generation, published, owed, back, failing)
    degraded = sum(app["degraded"] is not None for app in apps.values())
    each = GaugeMetricFamily("lessee_app_degraded", "The app runs on less than it wants.", labels=["app"])
    for name, app in apps.items():
        each.add_metric([name], app["degraded"] is not None)
    yield each
    yield GaugeMetricFamily("lessee_apps_degraded", "Apps that run on less than they want.", value=degraded)
