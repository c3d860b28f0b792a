"""An agent with OTEL_* variables sends traces to a real collector, and never the value of a secret."""

import re
import socket
import subprocess
import sys

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import PATIENCE, App, eventually
from support.servers.otel_collector import Collector

CANARY = "canary-7d21-"
PASSWORD = 'PASSWORD={{{{ secret("{0}/db").password }}}}\n'
POLICY = """
path "secret/*" {{ capabilities = ["read", "list"] }}
path "{0}/issue/web" {{ capabilities = ["update"] }}
path "auth/token/create" {{ capabilities = ["update"] }}
"""
TLS = """
{{%- set c = certificate("{0}/issue/web", common_name="web.local", ttl="1h", key="server") %}}
{{{{ c.certificate }}}}
{{{{ c.private_key }}}}
"""
# Healthy unless its file contains "wrong".
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
    """An agent with a secret and an app, not started yet."""
    bao.put(f"testing/{folder}/db", password=f"{CANARY}first")
    sidecar.template("app.env.j2", PASSWORD.format(folder))
    sidecar.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    return sidecar


def traced(sidecar, url):
    sidecar.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    sidecar.environ["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{CANARY}collector"
    return sidecar


def with_readiness(sidecar):
    """Configure a check, a notification and a readiness probe; returns the app's port."""
    port = free_port()
    sidecar.web["check"] = {"command": [sys.executable, "-c", "pass"], "timeout": "20s"}
    sidecar.web["notify"] = {"command": [sys.executable, "-c", "pass"], "timeout": "20s"}
    sidecar.web["ready"] = {"http": f"http://127.0.0.1:{port}/", "initial_delay": "0s", "timeout": "5s"}
    return port


@pytest.mark.thorough
def test_an_update_and_a_rollback_are_traced_without_the_value_of_a_secret(bao, running, collector, folder):
    bao.ask("POST", f"sys/mounts/{folder}", {"type": "pki"})
    bao.ask("POST", f"{folder}/root/generate/internal", {"common_name": "an authority", "ttl": "24h"})
    bao.ask("POST", f"{folder}/roles/web", {"allow_any_name": True, "ttl": "1h"})
    running.log_in_by_approle(bao, POLICY.format(folder))
    running.template("tls.pem.j2", TLS.format(folder))
    port = with_readiness(running)
    one = App(f"app-{folder}", running.directory / "app.env", port, script=SERVICE)
    try:
        traced(running, collector.url).start(wait=False)
        running.until(lambda s: s["apps"]["web"]["state"] == "ready")
        bao.put(f"testing/{folder}/db", password=f"{CANARY}wrong")
        running.until(
            lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["readiness"]["pending"]
        )
    finally:
        one.close()
    key = (running.directory / "tls.pem").read_text().split("-----BEGIN RSA PRIVATE KEY-----")[1].split()
    # The agent has only a moment to send what is running at its end.
    eventually(
        lambda: len(collector.named("probe")) >= 3 and len(collector.named("update", app="web")) >= 2, "the spans"
    )
    running.stop()

    path = f"secret/testing/{folder}/db"
    first, second = collector.named("update", app="web")
    (issue,) = collector.named("issue secret", path=f"{folder}/issue/web")
    for one, version, outcome, steps in (
        (first, 1, "ready", ["render", "check", "publish", "notify", "probe"]),
        (second, 2, "rolled back", ["render", "check", "publish", "notify", "probe", "roll back", "notify", "probe"]),
    ):
        (read,) = collector.named("read secret", path=path, version=version)
        inside = sorted((span for span in collector.spans if span.parent == one.id), key=lambda span: span.started)
        assert [span.name for span in inside] == steps
        assert {span.trace for span in inside} == {one.trace}
        reads = [read, issue] if version == 1 else [read]
        assert sorted(one.links) == sorted(span.id for span in reads)
        assert one.started == min(span.started for span in reads), "it started with the read"
        assert one.ended >= max(span.ended for span in inside)
        assert (one.outcome, one.attributes["lessee.generation"]) == (outcome, version)
    assert [first.failed, second.failed] == [False, True]
    assert [span.outcome for span in collector.named("probe")] == ["ready", "not ready", "ready"]
    assert collector.named("login")[0].outcome == "done"
    assert collector.named("read metadata", path=path) or collector.named("list folder")
    assert all(span.ended >= span.started > 0 for span in collector.spans)

    resource = collector.resources[0]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("lessee", "testing")
    assert collector.headers[0]["authorization"] == f"Bearer {CANARY}collector"
    secret_id = (running.disk / "secret_id").read_text()
    for body in collector.bodies:
        assert not any(secret.encode() in body for secret in (CANARY, secret_id, *key[:3]))
        assert not re.search(rb"\b(hv)?s\.[A-Za-z0-9]{20}", body), "no token"
    assert CANARY not in running.log.read_text()


def test_without_a_collector_the_agent_warns_once_and_sends_when_it_is_available(bao, running, folder):
    port = free_port()
    traced(running, f"http://127.0.0.1:{port}")
    running.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    running.start()
    bao.put(f"testing/{folder}/db", password=f"{CANARY}second")
    running.until_file("app.env", f"PASSWORD='{CANARY}second'\n")
    lines = eventually(
        lambda: [line for line in running.events() if line["event"].startswith(("trace export", "tracing"))],
        "a warning",
    )
    with Collector(port) as collector:
        eventually(
            lambda: collector.named("update") or collector.named("read metadata") or collector.named("list folder"),
            "a span",
        )
        eventually(lambda: "trace export recovered" in running.log.read_text(), "the recovery")
    lines = [line["event"] for line in running.events() if line["event"].startswith(("trace export", "tracing"))]
    assert lines[:2] == ["trace export failed", "trace export recovered"]
    assert CANARY not in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_a_collector_that_never_answers_delays_nothing(bao, running, folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traced(running, f"http://127.0.0.1:{silent.getsockname()[1]}").start()
        silent.settimeout(PATIENCE)
        with silent.accept()[0]:
            bao.put(f"testing/{folder}/db", password=f"{CANARY}second")
            running.until_file("app.env", f"PASSWORD='{CANARY}second'\n")
            assert running.stop() == 0
    assert running.events()[-1]["event"] == "agent stopped"


def test_without_the_libraries_the_agent_warns_once_and_works(running, collector):
    # Python runs this at its start; the libraries cannot be imported after it.
    (running.disk / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    running.environ["PYTHONPATH"] = str(running.disk)
    traced(running, collector.url).start()
    assert running.stop() == 0
    (warning,) = [line for line in running.events() if line["event"] == "tracing disabled"]
    assert "opentelemetry" in warning["reason"]
    assert "lessee[otel]" in warning["todo"]
    assert not collector.bodies


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{url}/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_EXPORTER_OTLP_HEADERS": f"{CANARY}no-header"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_only_requested_traces_are_sent_and_load_the_libraries(running, collector, variables, sent):
    running.environ |= {name: value.format(url=collector.url) for name, value in variables.items()}
    warned = {"grpc", "-1"}.intersection(variables.values())
    if sent or warned:
        running.start()
        if sent:
            eventually(lambda: collector.bodies, "traces")
        assert running.stop() == 0
    else:
        assert not loads_the_libraries(running)
    assert bool(collector.bodies) == sent
    lines = [line for line in running.events() if line["event"].startswith(("trace export", "tracing"))]
    assert [line["level"] for line in lines] == ["warning"] * len(warned)
    assert CANARY not in running.log.read_text()
    if sent:
        assert {one["service.name"] for one in collector.resources} == {variables.get("OTEL_SERVICE_NAME", "lessee")}


def loads_the_libraries(sidecar):
    """Whether a sidecar has loaded them when it has published its files."""
    code = (
        "import atexit, sys; from lessee.cli import main;"
        "atexit.register(lambda: print([name for name in sys.modules if 'opentelemetry' in name]));"
        "sys.exit(main(['run']))"
    )
    sidecar.write_config()
    with sidecar.log.open("ab") as log:
        process = sidecar.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=sidecar.disk,
            env=sidecar.environ,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process.stdout:
        sidecar.until(lambda s: s["ready"])
        assert sidecar.stop() == 0
        return process.stdout.read().strip() != "[]"


def test_exec_is_traced_and_its_child_has_the_variables(running, collector):
    traced(running, collector.url).write_config()
    child = [sys.executable, "-c", "import os; print(os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'])"]
    done = running.command("exec", "--app", "web", "--", *child)
    assert (done.returncode, done.stdout) == (0, f"{collector.url}\n"), done.stderr
    assert [span.outcome for span in collector.named("update", app="web")] == ["published"]
    assert not any(CANARY.encode() in body for body in collector.bodies)
