"""Every kind of notification reaches the app once per generation, unless the signal would terminate it."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.programs.sidecar import PATIENCE, eventually

FORKED_AGENTS = True
PASSWORD = 'PASSWORD={{{{ secret("{0}/db").password }}}}\n'
# It reads its file at the start, and handles no signal.
DEAF = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
print(open(sys.argv[2]).read().strip(), flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def running(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.env.j2", PASSWORD.format(folder))
    return sidecar


@pytest.fixture
def supervisor(tmp_path):
    """Restarts a program whenever it ends, and collects its output."""
    loops = []

    def start(*command):
        log = (tmp_path / "supervised.log").open("wb")
        loop = 'while true; do "$@"; done'
        loops.append(subprocess.Popen(["sh", "-c", loop, "sh", *command], stdout=log, start_new_session=True))
        log.close()
        return lambda: (tmp_path / "supervised.log").read_text().splitlines()

    yield start
    for one in loops:
        os.killpg(one.pid, signal.SIGKILL)
        one.wait()


class RequestHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.requests.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.answers)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """An HTTP server that records its requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler) as server:
        server.requests, server.answers = [], 204
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def notifications(sidecar):
    return [event for event in sidecar.events() if event["event"] == "app notified"]


def test_an_app_that_the_signal_would_terminate_is_reported_and_lives(bao, running, app, folder):
    running.web["notify"] = {"process": {"name": f"app-{folder}"}, "start_period": "0s"}
    running.start()
    deaf = app(f"app-{folder}", running.directory / "app.env", script=DEAF)
    bao.put(f"testing/{folder}/db", password="second")
    status = running.until(lambda s: "would terminate" in (s["apps"]["web"]["notify"]["error"] or ""))
    assert status["apps"]["web"]["notify"]["pending"]
    assert deaf.process.poll() is None
    running.until_file("app.env", "PASSWORD='second'\n")


@pytest.mark.parametrize("how", [{"action": "restart"}, {"action": "SIGHUP", "on_unhandled_signal": "restart"}])
def test_an_app_that_handles_no_signal_is_stopped_so_that_its_supervisor_restarts_it(
    bao, running, supervisor, folder, how
):
    running.web["notify"] = {
        "process": {"name": f"app-{folder}"},
        "start_period": "0s",
        "stop_grace_period": "5s",
    } | how
    running.start()
    says = supervisor(sys.executable, "-c", DEAF, f"app-{folder}", str(running.directory / "app.env"))
    running.until(lambda s: not s["apps"]["web"]["notify"]["pending"])
    bao.put(f"testing/{folder}/db", password="second")
    eventually(lambda: says()[-1] == "PASSWORD='second'", "a start with the new file")
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    ends = [event for event in notifications(running) if "by SIGTERM" in event["how"]]
    assert "by SIGTERM" in notifications(running)[-1]["how"]
    eventually(lambda: len(says()) == 1 + len(ends), "one more start than stops")


# It ends on SIGQUIT alone, as nginx drains its connections on it.
DRAINING = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
print(open(sys.argv[2]).read().strip(), flush=True)
while (number := signal.sigwait((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))) != signal.SIGQUIT:
    print("ignored", number, flush=True)
print("drained", flush=True)
"""


def test_an_app_that_ends_on_its_own_stop_signal_is_restarted_by_it(bao, running, supervisor, folder):
    pid_file = running.disk / "app.pid"
    running.web["notify"] = {
        "pid_file": str(pid_file), "action": "restart", "stop_signal": "QUIT", "stop_grace_period": "60s"
    }  # fmt: skip
    running.start()
    program = f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n{DRAINING}"
    says = supervisor(sys.executable, "-c", program, f"draining-{folder}", str(running.directory / "app.env"))
    running.until(lambda s: not s["apps"]["web"]["notify"]["pending"])
    bao.put(f"testing/{folder}/db", password="second")
    eventually(lambda: says()[-1] == "PASSWORD='second'", "a start with the new file")
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    assert "by SIGQUIT within" in [event for event in notifications(running) if "stopped" in event["how"]][-1]["how"]
    assert "drained" in says()
    assert not any(line.startswith("ignored") for line in says())


def test_an_app_is_found_by_its_command_line(bao, running, app, folder):
    running.web["notify"] = {"process": {"cmdline": f"worker-{folder}"}}
    running.start()
    reader = app("python", running.directory / "app.env", f"{os.devnull}", script=WORKER.format(folder))
    bao.put(f"testing/{folder}/db", password="second")
    assert reader.hears() == "PASSWORD='second'"


WORKER = """
import signal, sys, time  # worker-{0}
def say(*_):
    print(open(sys.argv[2]).read().strip(), flush=True)
signal.signal(signal.SIGHUP, say)
say()
while True:
    time.sleep(0.05)  # Python would notice a signal just before pause(2) only with the next one.
"""


def test_a_command_notifies_the_app_and_gets_none_of_the_agents_variables(bao, running, tmp_path, folder):
    output = tmp_path / "output"
    script = f'env > {output}; cat "$LESSEE_DIRECTORY/app.env" >> {output}; echo notified'
    running.web["notify"] = {"command": ["sh", "-c", script]}
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    bao.put(f"testing/{folder}/db", password="second")
    eventually(lambda: "PASSWORD='second'" in output.read_text(), "the command")
    assert "LESSEE_APP=web" in output.read_text()
    assert "VAULT_TOKEN" not in output.read_text()
    running.until(lambda s: s["apps"]["web"]["generation"] == 2 and s["apps"]["web"]["state"] == "notified")
    exits = [event for event in running.events() if event["event"] == "notify command exited"]
    assert {(event["status"], event["lines"]) for event in exits} == {(0, 1)}


def test_a_failed_command_keeps_the_notification_pending_and_is_tried_again(running, tmp_path, folder):
    switch = tmp_path / "switch"
    running.web["notify"] = {"command": ["sh", "-c", f"echo {folder}; test -e {switch}"]}
    running.start()
    status = running.until(lambda s: s["apps"]["web"]["notify"]["error"])
    assert status["apps"]["web"]["notify"]["error"] == (
        "sh exited with status 1; `lessee status --output web` prints its output, 1 line"
    )
    switch.touch()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")


def test_a_request_notifies_the_app_with_a_header_from_a_file(running, web, tmp_path):
    (tmp_path / "key").write_text("Bearer not-a-secret\n")
    url = f"http://127.0.0.1:{web.server_port}/reload?x=1"
    running.web["notify"] = {"http": {"url": url, "header_files": {"Authorization": str(tmp_path / "key")}}}
    web.answers = 503
    running.start()
    status = running.until(lambda s: s["apps"]["web"]["notify"]["error"])
    assert "503" in status["apps"]["web"]["notify"]["error"]
    web.answers = 204
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    assert set(web.requests) == {("/reload?x=1", "Bearer not-a-secret")}
    assert "not-a-secret" not in running.log.read_text()


def test_a_slow_notification_delays_no_other_app(bao, running, app, folder, memory):
    running.config["apps"]["other"] = {
        "directory": str(memory / "other"),
        "refresh_interval": "200ms",
        "files": [{"template": "app.env.j2"}],
        "notify": {"process": {"name": f"app-{folder}"}},
    }
    running.web["notify"] = {"command": ["sleep", f"60.{folder[1:]}"], "timeout": "60s"}
    running.start()
    reader = app(f"app-{folder}", memory / "other" / "app.env")
    for password in ("second", "third"):
        bao.put(f"testing/{folder}/db", password=password)
        assert reader.hears() == f"PASSWORD='{password}'"
    running.stop()
    words = f"sleep\x0060.{folder[1:]}\x00".encode()
    alive = [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if _read(entry) == words]
    assert not alive, "the agent's end kills its programs"


def _read(path):
    try:
        return path.read_bytes()
    except OSError:  # It has ended meanwhile.
        return b""


def test_an_app_that_started_after_the_publish_is_not_signaled_by_the_next_agent(bao, running, app, folder):
    running.web["notify"] = {"process": {"name": f"app-{folder}"}}
    running.start()
    bao.put(f"testing/{folder}/db", password="second")
    running.until(lambda s: s["apps"]["web"]["generation"] == 2 and s["apps"]["web"]["notify"]["error"])
    running.stop(signal.SIGKILL)
    reader = app(f"app-{folder}", running.directory / "app.env")
    assert reader.first == "PASSWORD='second'"
    running.start()
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    found = eventually(lambda: notifications(running), "a line in the log")
    assert "started after the publish" in found[-1]["how"]
    bao.put(f"testing/{folder}/db", password="third")
    assert reader.hears() == "PASSWORD='third'", "and it got no signal before"


@pytest.mark.parametrize("action", ["SIGHUP", "restart"])
def test_run_refuses_a_child_which_is_for_exec(running, action):
    running.web["notify"] = {"child": True, "action": action}
    running.start(wait=False)
    assert running.process.wait(PATIENCE) == 78
    assert "lessee exec --app web" in running.log.read_text()


# It takes the signal for its end, as many programs do.
DIES = DEAF.replace(
    "while True:", "import os, signal; signal.signal(signal.SIGHUP, lambda *_: os._exit(3))\nwhile True:"
)


@pytest.mark.thorough
@pytest.mark.parametrize("action", ["restart", "SIGHUP"])
def test_an_app_that_ends_after_a_signal_and_is_not_back_is_reported_until_it_is(bao, running, app, folder, action):
    name = f"app-{folder}"
    running.web["notify"] = {"process": {"name": name}, "action": action, "start_period": "500ms"}
    running.start()
    script = DEAF if action == "restart" else DIES
    first = app(name, running.directory / "app.env", script=script)
    assert running.command("status").returncode == 0
    bao.put(f"testing/{folder}/db", password="second")
    first.process.wait(PATIENCE)
    status = running.until(lambda s: s["apps"]["web"]["ended_at"])
    assert status["ready"]  # The agent has done its work.
    assert any("web ended after it was notified, and is not back" in line for line in status["problems"])
    done = running.command("status")
    assert done.returncode == 1
    assert ", web ENDED, NOT BACK" in done.stdout.splitlines()[0]
    assert "restart:" in done.stdout
    [warning] = [event for event in running.events() if event["event"] == "app ended"]
    assert (warning["level"], warning["app"]) == ("warning", "web")
    second = app(name, running.directory / "app.env", script=script)
    assert second.first == "PASSWORD='second'"
    running.until(lambda s: s["apps"]["web"]["ended_at"] is None)
    done = running.command("status")
    assert (done.returncode, "ENDED" in done.stdout) == (0, False)


def test_an_app_that_its_supervisor_starts_again_is_not_reported(bao, running, supervisor, folder):
    name = f"app-{folder}"
    running.web["notify"] = {"process": {"name": name}, "action": "restart", "start_period": "1s"}
    running.start()
    starts = supervisor(sys.executable, "-c", DEAF, name, str(running.directory / "app.env"))
    eventually(lambda: len(starts()) == 1, "its first start")
    for number, password in enumerate(("second", "third"), 2):
        bao.put(f"testing/{folder}/db", password=password)
        eventually(lambda number=number: len(starts()) == number, "its next start")
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")
    assert not [event for event in running.events() if event["event"] == "app ended"]
