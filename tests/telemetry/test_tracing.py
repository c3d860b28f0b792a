"""Spans, by OpenTelemetry's own library: each one ends, and an app update ends with its outcome."""

from typing import get_args

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.telemetry.spans import span_start
from lessee.telemetry.tracing import IdentityTracer

CANARY = "canary-5e0c-value"
REF = Ref("secret", "testing/db")
SECRET = Secret({"password": CANARY}, VersionMetadata(7, "then"))
GENERATION = Generation("web", (File("app.env", CANARY.encode(), 0o440),), (("PASSWORD", CANARY),))


@pytest.fixture
def sent():
    """The exporter of ended spans, and the tracer of one identity."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter, IdentityTracer(provider.get_tracer("tests"), "1234abcd")
    provider.shutdown()


def outcomes(exporter):
    return [(span.name, span.attributes["lessee.outcome"]) for span in exporter.get_finished_spans()]


def publish(tracer, job, *, then=()):
    """A read and its update up to the publication, as an identity does it, and in the same turn what follows."""
    tracer.start(cmd.ReadSecret(job + 100, REF, 2))
    tracer.end(ev.SecretRead(job + 100, SECRET))
    tracer.start(cmd.Render("web", job, None, {REF: SECRET}, {}, {}))
    tracer.end(ev.Rendered("web", job, GENERATION))
    tracer.start(cmd.Publish("web", job, GENERATION, notify=True))
    tracer.end(ev.Published("web", job, number=job, changed=True))
    for command in then:
        tracer.start(command)
    tracer.end_updates()


def test_a_canceled_probe_ends_its_own_update_and_not_the_next_one(sent):
    exporter, tracer = sent
    publish(tracer, 1, then=[cmd.Probe("web", 50, 0.0, 0.0)])
    publish(tracer, 2, then=[cmd.CancelProbe("web", 50), cmd.Probe("web", 51, 0.0, 0.0)])
    updates = [span for span in exporter.get_finished_spans() if span.name == "update"]
    assert [one.attributes["lessee.generation"] for one in updates] == [1], "the second is still running"
    assert ("probe", "canceled") in outcomes(exporter)
    tracer.end(ev.ReadinessPassed("web", 51))
    tracer.end_updates()
    last = exporter.get_finished_spans()[-1]
    assert (last.name, last.attributes["lessee.generation"], last.attributes["lessee.outcome"]) == (
        "update", 2, "ready",
    )  # fmt: skip


def test_another_notification_attempt_is_linked_to_the_ended_update(sent):
    exporter, tracer = sent
    publish(tracer, 1, then=[cmd.Notify("web", 50, 0.0)])
    tracer.end(ev.NotificationFailed("web", 50, CANARY, absent=True))
    tracer.end_updates()
    ended = exporter.get_finished_spans()[-1]
    assert (ended.name, ended.attributes["lessee.outcome"], ended.status.is_ok) == ("update", "app not running", True)
    tracer.start(cmd.Notify("web", 51, 0.0))
    tracer.end(ev.Notified("web", 51, CANARY))
    last = exporter.get_finished_spans()[-1]
    assert (last.name, last.parent) == ("notify", None)
    assert [link.context for link in last.links] == [ended.context]
    assert outcomes(exporter).count(("update", "app not running")) == 1


def test_a_rendering_without_changes_is_an_unchanged_update(sent):
    exporter, tracer = sent
    tracer.start(cmd.Render("web", 1, None, {REF: SECRET}, {Folder("secret", "a/"): {"b": SECRET}}, {}))
    tracer.end(ev.Rendered("web", 1, GENERATION))
    tracer.end_updates()
    assert outcomes(exporter) == [("render", "rendered"), ("update", "unchanged")]
    assert exporter.get_finished_spans()[-1].attributes["lessee.secrets"] == 2


def test_a_failed_span_has_the_kind_of_the_failure_and_not_its_text(sent):
    exporter, tracer = sent
    tracer.start(cmd.ReadMetadata(1, REF))
    tracer.end(ev.RequestFailed(1, Failure(Kind.DENIED, CANARY)))
    tracer.start(cmd.Render("web", 2, None, {REF: SECRET}, {}, {}))
    tracer.end(ev.RenderFailed("web", 2, CANARY))
    tracer.end_updates()
    assert outcomes(exporter) == [("read metadata", "denied"), ("render", "not rendered"), ("update", "not rendered")]
    assert not any(span.status.is_ok for span in exporter.get_finished_spans())
    assert not any(CANARY in span.to_json() for span in exporter.get_finished_spans())


def test_an_abandoned_request_ends_and_its_late_answer_is_ignored(sent):
    exporter, tracer = sent
    tracer.start(cmd.ReadSecret(1, REF, 2))
    tracer.start(cmd.AbandonRequest(1))
    tracer.end(ev.SecretRead(1, SECRET))
    assert outcomes(exporter) == [("read secret", "abandoned")]


def test_running_spans_end_at_exit(sent):
    exporter, tracer = sent
    tracer.start(cmd.Login(9, fresh=True))
    publish(tracer, 1, then=[cmd.Probe("web", 50, 0.0, 0.0)])
    tracer.close()
    assert outcomes(exporter)[-3:] == [("login", "unfinished"), ("probe", "unfinished"), ("update", "published")]


def test_every_request_to_vault_has_its_own_span_name():

    shapes = {
        "ref": REF,
        "folder": Folder("secret", "a/"),
        "need": DynamicSecret("a/creds/b"),
        "mount": "secret",
        "lease_id": "a/b/c",
    }
    names = []
    for kind in get_args(cmd.VaultCommand):
        given = {name: shapes.get(name, 1) for name in kind.__struct_fields__}
        names.append(span_start(kind(**given)).name)
    assert len(set(names)) == len(names) == len(get_args(cmd.VaultCommand))
