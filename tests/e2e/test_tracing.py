"""What an agent does is traced where OTEL_* asks for it: to a real receiver, and never with a value."""

import sys

import pytest

from collector import Collector
from lessee.host.openbao import ROOT_TOKEN, free_port
from sidecar import App, eventually

CANARY = "canary-7d21-"
PASSWORD = 'PASSWORD={{{{ secret("{0}/db").password }}}}\n'
# Healthy while what it reads in its file is not "wrong".
SERVICE = """
import ctypes, http.server, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if "wrong" in open(sys.argv[2]).read() else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Health)
print("up", flush=True)
server.serve_forever()
"""


@pytest.fixture
def collector():
    with Collector() as one:
        yield one


@pytest.fixture
def running(bao, sidecar, folder):
    """An agent with a secret, an AppRole and an app that is proved, still to be started."""
    bao.put(f"testing/{folder}/db", password=f"{CANARY}first")
    sidecar.template("app.env.j2", PASSWORD.format(folder))
    sidecar.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    return sidecar


def traced(sidecar, url):
    sidecar.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    sidecar.environ["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{CANARY}collector"
    return sidecar


def proved(sidecar):
    """Its app and how to know whether it works."""
    port = free_port()
    sidecar.web["check"] = {"command": [sys.executable, "-c", "pass"], "timeout": "20s"}
    sidecar.web["notify"] = {"command": [sys.executable, "-c", "pass"], "timeout": "20s"}
    sidecar.web["ready"] = {"http": f"http://127.0.0.1:{port}/", "after": "0s", "within": "5s"}
    return port


def test_a_round_from_the_read_to_confirmed_and_the_way_back_are_traced_without_any_value(
    bao, running, collector, folder
):
    port = proved(running)
    traced(running, collector.url).start(wait=False)
    running.until(lambda s: s["apps"]["web"]["generation"] == 1)
    one = App(f"app-{folder}", running.directory / "app.env", port, script=SERVICE)
    try:
        running.until(lambda s: s["apps"]["web"]["state"] == "confirmed")
        bao.put(f"testing/{folder}/db", password=f"{CANARY}wrong")
        running.until(lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["proof"]["open"])
    finally:
        one.close()
    running.stop()

    path = f"secret/testing/{folder}/db"
    first, second = collector.named("round", app="web")
    for one, version, outcome, steps in (
        (first, 1, "confirmed", ["render", "check", "publish", "notify", "prove"]),
        (second, 2, "rolled back", ["render", "check", "publish", "notify", "prove", "roll back", "notify", "prove"]),
    ):
        (read,) = collector.named("read", path=path, version=version)
        inside = sorted((span for span in collector.spans if span.parent == one.id), key=lambda span: span.began)
        assert [span.name for span in inside] == steps
        assert {span.trace for span in inside} == {one.trace}
        assert one.links == [read.id]
        assert one.began == read.began, "it began with the read"
        assert one.ended >= max(span.ended for span in inside)
        assert (one.outcome, one.attributes["lessee.generation"]) == (outcome, version)
    assert [first.failed, second.failed] == [False, True]
    assert [span.outcome for span in collector.named("prove")] == ["confirmed", "not ready", "confirmed"]
    assert collector.named("login")[0].outcome == "done"
    assert collector.named("look", path=path) or collector.named("list")
    assert all(span.ended >= span.began > 0 for span in collector.spans)

    resource = collector.resources[0]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("lessee", "testing")
    assert collector.headers[0]["authorization"] == f"Bearer {CANARY}collector"
    for secret in (CANARY.encode(), ROOT_TOKEN.encode()):
        assert not any(secret in body for body in collector.bodies)
    assert CANARY not in running.log.read_text()


def test_without_a_collector_the_agent_works_says_so_once_and_sends_when_it_is_there(bao, running, folder):
    port = free_port()
    traced(running, f"http://127.0.0.1:{port}")
    running.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    running.start()
    bao.put(f"testing/{folder}/db", password=f"{CANARY}second")
    running.until_file("app.env", f"PASSWORD='{CANARY}second'\n")
    lines = eventually(lambda: [line for line in running.events() if line["event"].startswith("traces")], "a warning")
    with Collector(port) as collector:
        eventually(lambda: collector.named("round") or collector.named("look") or collector.named("list"), "a span")
        eventually(lambda: "traces are sent again" in running.log.read_text(), "the news")
    lines = [line["event"] for line in running.events() if line["event"].startswith("traces")]
    assert lines[:2] == ["traces are not sent", "traces are sent again"]
    assert CANARY not in running.log.read_text()
    assert "Traceback" not in running.log.read_text()
