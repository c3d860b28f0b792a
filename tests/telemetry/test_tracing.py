"""Which spans there are, by the standard's own library: each ends, and a round ends with what became of it."""

from typing import get_args

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.paths import Dynamic, Folder, Ref
from lessee.core.secrets import Marker, Secret
from lessee.telemetry.spans import begun
from lessee.telemetry.tracing import Traced

CANARY = "canary-5e0c-value"
REF = Ref("secret", "testing/db")
SECRET = Secret({"password": CANARY}, Marker(7, "then"))
GENERATION = Generation("web", (File("app.env", CANARY.encode(), 0o440),), (("PASSWORD", CANARY),))


@pytest.fixture
def sent():
    """What has ended, and the spans of one identity."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter, Traced(provider.get_tracer("tests"), "1234abcd")
    provider.shutdown()


def outcomes(exporter):
    return [(span.name, span.attributes["lessee.outcome"]) for span in exporter.get_finished_spans()]


def publish(traced, job, *, then=()):
    """As an identity does: a read, its round up to the publish, and in the same turn what follows it."""
    traced.asked(cmd.ReadSecret(job + 100, REF, 2))
    traced.answered(ev.Read(job + 100, SECRET))
    traced.asked(cmd.Render("web", job, None, {REF: SECRET}, {}, {}))
    traced.answered(ev.Rendered("web", job, GENERATION))
    traced.asked(cmd.Publish("web", job, GENERATION, owe=True))
    traced.answered(ev.Published("web", job, number=job, changed=True))
    for command in then:
        traced.asked(command)
    traced.settle()


def test_a_proof_that_nobody_waits_for_any_more_ends_its_round_and_not_that_of_its_successor(sent):
    exporter, traced = sent
    publish(traced, 1, then=[cmd.Prove("web", 50, 0.0, 0.0)])
    publish(traced, 2, then=[cmd.CancelProbe("web", 50), cmd.Prove("web", 51, 0.0, 0.0)])
    rounds = [span for span in exporter.get_finished_spans() if span.name == "round"]
    assert [one.attributes["lessee.generation"] for one in rounds] == [1], "the second is still under way"
    assert ("prove", "given up") in outcomes(exporter)
    traced.answered(ev.ReadinessPassed("web", 51))
    traced.settle()
    last = exporter.get_finished_spans()[-1]
    assert (last.name, last.attributes["lessee.generation"], last.attributes["lessee.outcome"]) == (
        "round", 2, "confirmed",
    )  # fmt: skip


def test_another_try_to_tell_is_linked_to_the_round_that_is_over(sent):
    exporter, traced = sent
    publish(traced, 1, then=[cmd.Notify("web", 50, 0.0)])
    traced.answered(ev.NotificationFailed("web", 50, CANARY, absent=True))
    traced.settle()
    over = exporter.get_finished_spans()[-1]
    assert (over.name, over.attributes["lessee.outcome"], over.status.is_ok) == ("round", "absent", True)
    traced.asked(cmd.Notify("web", 51, 0.0))
    traced.answered(ev.Notified("web", 51, CANARY))
    last = exporter.get_finished_spans()[-1]
    assert (last.name, last.parent) == ("notify", None)
    assert [link.context for link in last.links] == [over.context]
    assert outcomes(exporter).count(("round", "absent")) == 1


def test_what_was_rendered_in_vain_is_a_round_without_changes(sent):
    exporter, traced = sent
    traced.asked(cmd.Render("web", 1, None, {REF: SECRET}, {Folder("secret", "a/"): {"b": SECRET}}, {}))
    traced.answered(ev.Rendered("web", 1, GENERATION))
    traced.settle()
    assert outcomes(exporter) == [("render", "rendered"), ("round", "unchanged")]
    assert exporter.get_finished_spans()[-1].attributes["lessee.secrets"] == 2


def test_a_failure_tells_its_kind_and_none_of_its_words(sent):
    exporter, traced = sent
    traced.asked(cmd.ReadMetadata(1, REF))
    traced.answered(ev.Failed(1, Failure(Kind.DENIED, CANARY)))
    traced.asked(cmd.Render("web", 2, None, {REF: SECRET}, {}, {}))
    traced.answered(ev.RenderFailed("web", 2, CANARY))
    traced.settle()
    assert outcomes(exporter) == [("look", "denied"), ("render", "not rendered"), ("round", "not rendered")]
    assert not any(span.status.is_ok for span in exporter.get_finished_spans())
    assert not any(CANARY in span.to_json() for span in exporter.get_finished_spans())


def test_a_call_that_is_given_up_ends_and_its_late_answer_is_passed_over(sent):
    exporter, traced = sent
    traced.asked(cmd.ReadSecret(1, REF, 2))
    traced.asked(cmd.Abandon(1))
    traced.answered(ev.Read(1, SECRET))
    assert outcomes(exporter) == [("read", "abandoned")]


def test_what_is_under_way_at_the_end_ends(sent):
    exporter, traced = sent
    traced.asked(cmd.Login(9, fresh=True))
    publish(traced, 1, then=[cmd.Prove("web", 50, 0.0, 0.0)])
    traced.close()
    assert outcomes(exporter)[-3:] == [("login", "left"), ("prove", "left"), ("round", "published")]


def test_every_request_to_vault_is_a_span_of_its_own_name():

    shapes = {
        "ref": REF,
        "folder": Folder("secret", "a/"),
        "need": Dynamic("a/creds/b"),
        "mount": "secret",
        "lease_id": "a/b/c",
    }
    names = []
    for kind in get_args(cmd.VaultCommand):
        given = {name: shapes.get(name, 1) for name in kind.__struct_fields__}
        names.append(begun(kind(**given)).name)
    assert len(set(names)) == len(names) == len(get_args(cmd.VaultCommand))
