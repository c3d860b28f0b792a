"""`lessee doctor`: a report for a bug report, which has no secret, whatever the server, the files and the names say."""

import contextlib
import http.server
import json
import socketserver
import threading
from pathlib import Path

import pytest
import yaml

from lessee.ops.doctor.policy.configuration_keys import keys_set
from support.programs.sidecar import pass_by
from support.servers.fault_proxy import Edit
from support.servers.hostile_server import ATTACKS

FORKED_AGENTS = True
POLICY = 'path "secret/*" { capabilities = ["read", "list"] }\npath "sys/mounts" { capabilities = ["read"] }'
CANARY = "c4n4ryHunter2"
EXAMPLE = Path(__file__).parents[1] / "config/test_config_example.yaml"


@pytest.fixture
def project(bao, sidecar, folder):
    """An agent that logs in by an AppRole, with a secret in each place that a configuration has for one."""
    bao.put(f"testing/{folder}/db", password=f"{CANARY}-of-vault")
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\nOWN={CANARY}-of-template\n')
    sidecar.log_in_by_approle(bao, POLICY)
    sidecar.config["events"] = {"redis": f"redis://lessee:{CANARY}-of-redis@127.0.0.1:1/0"}
    sidecar.web["notify"] = {"http": {"url": "http://127.0.0.1:1/reload", "header_files": {"Authorization": "header"}}}
    sidecar.web["files"].append({"contents": f"KEY={CANARY}-of-contents\n", "name": "inline.env"})
    (sidecar.disk / "header").write_text(f"Bearer {CANARY}-of-header")
    sidecar.environ |= {
        "DATABASE_PASSWORD": f"{CANARY}-of-environ",
        "OTEL_EXPORTER_OTLP_HEADERS": f"a={CANARY}-of-otel",
    }
    sidecar.write_config()
    return sidecar


def secrets_of(project):
    """All that no report may have."""
    files = [(project.disk / name).read_text() for name in ("role_id", "secret_id")]
    return [CANARY, project.environ["VAULT_TOKEN"], *files]


def reports(project, *arguments, **more):
    """The report as data, and as text; both have the same exit code."""
    text = project.command("doctor", *arguments, **more)
    data = project.command("doctor", "--json", *arguments, **more)
    assert text.returncode == data.returncode, text.stderr
    assert (text.stderr, data.stderr) == ("", "")
    for secret in secrets_of(project):
        assert secret not in text.stdout + data.stdout
    assert all(line.isprintable() for line in text.stdout.splitlines())
    return json.loads(data.stdout), text


def test_the_report_has_what_a_bug_report_needs_and_no_secret(project):
    project.start()
    project.until(lambda status: status["apps"]["web"]["generation"])
    report, text = reports(project, "--log", str(project.log))
    assert report["lessee"]["version"]
    assert report["lessee"]["jinja2"]
    assert report["system"]["kernel"].startswith("Linux ")
    assert report["kernel"]["pidfd"] is True
    assert report["kernel"]["directories in memory"] == 2
    assert "VAULT_TOKEN" in report["environment"]["variables that are set"]
    assert report["configuration"]["keys that are set"]["vault.auth.secret_id_file"] == 1
    assert report["configuration"]["keys that are set"]["apps.NAME.files[].contents"] == 1
    [vault] = report["vault"].values()
    assert (vault["sealed"], vault["initialized"], vault["active"]) == (False, True, True)
    assert vault["version"]
    [agent] = report["agent"].values()
    assert agent["apps"]["web"]["number of secrets"] == 1
    events = [event["event"] for event in report["last log events"]]
    assert "agent starting" in events
    assert "pidfd: yes" in text.stdout


def test_no_request_has_a_token_and_none_is_a_login(project, proxy):
    project.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
    project.write_config()
    reports(project)
    assert {request.path for request in proxy.requests} == {"/v1/sys/health"}
    names = {name.lower() for request in proxy.requests for name in request.headers}
    assert not names & {"x-vault-token", "authorization", "cookie", "x-vault-namespace"}


def test_a_sealed_server_and_one_that_is_away_are_problems(project, server):
    project.config["vault"]["address"] = server.address
    project.write_config()
    server.ask("PUT", "sys/seal")
    report, text = reports(project)
    assert text.returncode == 1
    assert f"Vault at {server.address}: it is sealed" in report["problems"]
    project.config["vault"]["address"] = "http://127.0.0.1:1"
    project.write_config()
    report, _ = reports(project)
    assert "Vault at http://127.0.0.1:1: connection refused" in report["problems"]


@pytest.mark.thorough(each=8)
@pytest.mark.parametrize("name", sorted(name for name, (where, _) in ATTACKS.items() if not where))
def test_a_hostile_server_neither_delays_nor_fills_the_report(project, proxy, name):
    proxy.fault = ATTACKS[name][1]
    project.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
    project.write_config()
    done = project.command("doctor", "--json", timeout=60)
    assert done.returncode in {0, 1}, done.stderr
    assert len(done.stdout) < 100_000
    assert json.loads(done.stdout)["vault"]


def test_what_a_server_says_acts_on_no_terminal(project, proxy):
    def lie(answer):
        answer |= {"version": "\x1b]0;owned\x07\u202e" + "9" * 100_000, "initialized": True}

    proxy.fault = Edit(lie)
    project.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
    project.write_config()
    report, _ = reports(project)
    [vault] = report["vault"].values()
    assert vault["version"].startswith("\\u001b]0;owned\\u0007\\u202e999")
    assert len(vault["version"]) < 500


class Impostor:
    """A socket of the agent's user that answers what the test says."""

    def __init__(self, path, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with contextlib.suppress(OSError):  # The client may be gone.
                    answer(self)

            def log_message(self, *_):
                """It has no log."""

            def address_string(self):
                return "socket"

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def whole(body):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drip(handler):
    """A byte each second."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        pass_by(1)


def huge():
    apps = {f"\x1b[2J{number}": {"state": "\u202e" * 1000, "secrets": [1] * 100} for number in range(20_000)}
    status = {"version": "x" * 1_000_000, "ready": True, "apps": apps, "problems": ["\x9b" * 1000] * 10_000}
    return json.dumps(status).encode()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "make",
    [
        lambda: whole(huge()),
        lambda: whole(b" " * (64 << 20)),
        lambda: whole(b"[" * 1_000_000),
        lambda: whole(b'{"apps":' + b'{"a":' * 900 + b"1" + b"}" * 901),
        lambda: whole(json.dumps({"ready": True, "problems": ["hvs." + "Ab1" * 9]}).encode()),
        lambda: drip,
    ],
    ids=["huge", "endless", "deep", "deep object", "a token", "slow"],
)
def test_a_status_that_is_huge_hostile_or_slow_is_bounded(project, memory, make):
    path = memory / "impostor.sock"
    impostor = Impostor(path, make())
    try:
        report, text = reports(project, "--socket", str(path), timeout=60)
    finally:
        impostor.close()
    assert len(text.stdout) < 300_000
    assert "Ab1Ab1" not in text.stdout
    assert list(report["agent"]) == [str(path)]


def test_a_log_with_values_and_escapes_gives_events_alone(project, tmp_path):
    line = {"time": "2026-01-01T00:00:00Z", "level": "info", "event": "notified \x1b[2J", "path": CANARY, "a\x07b": 1}
    log = tmp_path / "app.log"
    log.write_bytes(
        b"\xff\xfe not a log " + CANARY.encode() + b"\n" + b"[" * 100_000 + b"\n" + json.dumps(line).encode()
    )
    report, _ = reports(project, "--log", str(log))
    assert report["last log events"] == [
        {
            "time": "2026-01-01T00:00:00Z",
            "level": "info",
            "event": "notified \\u001b[2J",
            "fields": "path, a\\u0007b",
        }
    ]
    for missing in ("missing.log", "/proc/self/mem", str(tmp_path)):
        report, _ = reports(project, "--log", missing)
        assert report["last log events"].startswith("not readable: ")


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize(
    "text",
    [
        f"vault: {{adress: '{CANARY}'}}\n",
        f"apps: {{web: {{directory: /d, mode: '{CANARY}', files: [{{template: a.j2, format: {CANARY}}}]}}}}\n",
        f"password: {CANARY}\napps: [{CANARY}]\n",
        f"vault: {{auth: {{method: approle, secret_id: {CANARY}}}}}\n",
        f"{CANARY}",
        f"- {CANARY}",
        f"a: [{CANARY}\n",
        f"a: !!python/object:{CANARY} x\n",
        f"events: {{redis: 'redis://:{CANARY}@', pol: 1}}\n",
        "",
        "\x00",
        "a: &a [*a]\n",
        "x: " + "[" * 10_000,
        f"x0: &x0 [{CANARY}]\n" + "".join(f"x{at}: &x{at} [{', '.join([f'*x{at - 1}'] * 9)}]\n" for at in range(1, 20)),
    ],
)
def test_a_wrong_configuration_is_reported_without_its_text(project, text):
    (project.disk / "lessee.yaml").write_text(text)
    report, done = reports(project)
    assert done.returncode == 1
    assert any("lessee check" in problem for problem in report["problems"])


def test_without_a_configuration_the_rest_is_reported(project):
    (project.disk / "lessee.yaml").unlink()
    report, done = reports(project)
    assert done.returncode == 1
    assert report["configuration"]["file"] == "not found"
    assert report["lessee"]["version"]


PLACES = {"address", "addresses", "socket", "state_dir", "directory", "name", "template", "listen"}
"""Keys of paths, names and addresses, which a report has on purpose."""


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path


@pytest.mark.thorough
def test_no_value_of_any_key_is_in_the_report_wherever_a_secret_was_written(project):
    """Each value of a configuration with every key is a secret once, as after a mistake."""
    document = yaml.safe_load(EXAMPLE.read_text())
    assert len(keys_set(document, json.loads(project.command("check", "--schema").stdout))) > 150
    texts = []
    for path in leaves(document):
        changed = yaml.safe_load(EXAMPLE.read_text())
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = f"{CANARY}:/{{"
        texts.append((path, yaml.safe_dump(changed)))
    # The keys of the same kind have the same messages: a sample of them is enough.
    for path, text in texts[::7]:
        (project.disk / "lessee.yaml").write_text(text)
        done = project.command("doctor", "--json")
        if not PLACES & set(map(str, path)):
            assert CANARY not in done.stdout + done.stderr, path


def test_a_configuration_of_sources_alone_has_no_problem_of_vault(project, tmp_path):
    (tmp_path / "db").write_text("x")
    project.web["files"] = [{"contents": 'PASSWORD={{ secret("db", source="mounted").value }}\n', "name": "app.env"}]
    project.config["sources"] = {"mounted": {"kind": "directory", "directory": str(tmp_path)}}
    del project.config["vault"]
    project.write_config()
    report, _ = reports(project)
    assert report["vault"] == "not asked, because no server is configured"
    assert not any("Vault" in problem for problem in report["problems"])
    project.environ["VAULT_ADDR"] = "http://127.0.0.1:1"
    report, _ = reports(project)
    assert any(problem.startswith("Vault at http://127.0.0.1:1") for problem in report["problems"])


def test_a_problem_of_a_server_is_listed_once_for_all_apps_that_use_it(project):
    web = project.web | {"notify": None, "files": [{"contents": "a", "name": "a.txt"}]}
    project.config["apps"] |= {name: web | {"directory": str(project.memory / name)} for name in ("one", "two")}
    project.config["apps"]["two"]["vault"] = {"auth": {"method": "token"}}
    project.config["vault"]["address"] = "http://127.0.0.1:1"
    project.write_config()
    report, _ = reports(project)
    [problem] = [line for line in report["problems"] if "127.0.0.1:1" in line]
    assert problem == "Vault at http://127.0.0.1:1: connection refused"
