"""The status as Prometheus reads it; imported when the first scrape comes."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_TOTALS = {
    "requests": "Requests sent to Vault.",
    "failures": "Requests that failed.",
    "logins": "Logins and adopted tokens.",
    "renders": "Renderings of an app's files.",
    "publishes": "Generations published.",
    "notifications": "Apps told of a new generation.",
}


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
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"lessee_{name}", text, value=status["totals"][name])
        yield from _apps(status["apps"])


def _apps(apps: Mapping[str, Any]) -> Iterable[Metric]:
    generation = GaugeMetricFamily("lessee_app_generation", "The generation that readers see.", labels=["app"])
    published = GaugeMetricFamily("lessee_app_published_timestamp_seconds", "When it was published.", labels=["app"])
    owed = GaugeMetricFamily("lessee_app_notification_owed", "The app is still to be told.", labels=["app"])
    failing = GaugeMetricFamily("lessee_app_sources_failing", "Secrets that cannot be read.", labels=["app"])
    for name, app in apps.items():
        generation.add_metric([name], app["generation"] or 0)
        if app["published_at"]:
            published.add_metric([name], datetime.fromisoformat(app["published_at"]).timestamp())
        owed.add_metric([name], app["notify"]["owed"])
        failing.add_metric([name], sum(secret["error"] is not None for secret in app["secrets"]))
    yield from (generation, published, owed, failing)
