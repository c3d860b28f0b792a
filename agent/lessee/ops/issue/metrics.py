"""The metrics of `lessee issue`, derived from its status; imported at the first scrape."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from lessee.telemetry import exposition as ex


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("issuer", status)
    yield from ex.gauge("lessee_issuer_problems", "Problems listed in the status.", len(status["problems"]))
    counts = [([name], role["issued"]) for name, role in status["roles"].items()]
    yield ex.counters("lessee_issuer_issued", "secret_ids that agents got.", ["role"], counts)
    text = "Requests that were refused; the same one is counted once a minute."
    yield ex.counters("lessee_issuer_refused", text, [], [([], status["refused"])])
    yield from ex.audit_trail(status)
