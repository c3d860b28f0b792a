"""A check prevents a publication; an app that does not become ready gets the previous generation back."""

import signal
import sys
from contextlib import closing

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import App, eventually, pass_by

FORKED_AGENTS = True
PASSWORD = 'PASSWORD={{{{ secret("{0}/db").password }}}}\n'
# Healthy while it uses the current password, and that is not "wrong".
# It prints what it reads at the start and at each SIGHUP.
SERVICE = """
import ctypes, http.server, signal, sys, threading, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
now = []
def read(*_):
    now[:] = [open(sys.argv[2]).read().strip()]
    print(*now, flush=True)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        unread = now[0] != open(sys.argv[2]).read().strip()
        self.send_response(503 if unread or "wrong" in now[0] else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGHUP, read)
signal.signal(signal.SIGUSR1, lambda *_: print("here", flush=True))
# Otherwise a thread of the server could get a signal, and the main thread would notice it later.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1})
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Health)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGUSR1})
read()
while True:
    time.sleep(0.05)  # Python would notice a signal just before pause(2) only with the next one.
"""


@pytest.fixture
def running(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.env.j2", PASSWORD.format(folder))
    return sidecar


@pytest.fixture
def service(running, folder):
    """An app with a health check, and an agent that probes it."""
    port = free_port()
    running.web["notify"] = {"process": {"name": f"app-{folder}"}}
    running.web["ready"] = {"http": f"http://127.0.0.1:{port}/", "initial_delay": "100ms", "timeout": "2s"}
    running.start()
    one = App(f"app-{folder}", running.directory / "app.env", port, script=SERVICE)
    running.until(lambda s: s["apps"]["web"]["state"] == "ready")
    # It may have started so soon after the publish that it was notified nevertheless.
    one.process.send_signal(signal.SIGUSR1)
    while one.hears() != "here":
        pass
    yield one
    one.close()


def content(sidecar):
    return (sidecar.directory / "app.env").read_text()


def test_a_generation_that_works_becomes_ready(bao, running, service, folder):
    bao.put(f"testing/{folder}/db", password="second")
    assert service.hears() == "PASSWORD='second'"
    running.until(lambda s: s["apps"]["web"]["generation"] == 2 and s["apps"]["web"]["state"] == "ready")
    assert running.status()["totals"]["rollbacks"] == 0


def test_a_generation_that_is_not_ready_is_rolled_back_notified_and_not_tried_again_after_a_restart(
    bao, running, service, folder
):
    bao.put(f"testing/{folder}/db", password="wrong")
    assert service.hears() == "PASSWORD='wrong'"
    assert service.hears() == "PASSWORD='first'", "notified of the previous generation"
    status = running.until(
        lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["readiness"]["pending"]
    )
    assert content(running) == "PASSWORD='first'\n"
    assert any("503" in line and "lessee refresh" in line for line in status["problems"])
    assert "wrong" not in running.log.read_text()

    running.stop(signal.SIGKILL)
    running.start()
    running.until(lambda s: s["apps"]["web"]["last_checked_at"] and s["apps"]["web"]["state"] == "rolled_back")
    assert not running.status()["fresh"]
    bao.put(f"testing/{folder}/db", password="third")
    assert service.hears() == "PASSWORD='third'", "and it got no signal in between"
    running.until(lambda s: s["apps"]["web"]["state"] == "ready")


def test_after_a_kill_during_the_probes_the_next_agent_continues_them(bao, running, service, folder):
    running.web["ready"]["timeout"] = "20s"
    running.stop()
    running.start()
    bao.put(f"testing/{folder}/db", password="wrong")
    assert service.hears() == "PASSWORD='wrong'"
    running.until(lambda s: s["apps"]["web"]["readiness"]["pending"])
    running.stop(signal.SIGKILL)
    running.web["ready"]["timeout"] = "1s"
    running.start()
    while (line := service.hears()) != "PASSWORD='first'":
        assert line == "PASSWORD='wrong'", "notified once more at most"
    running.until(lambda s: s["apps"]["web"]["state"] == "rolled_back")


# Handles no signal; it touches a file once it has started.
STARTED = """
import ctypes, pathlib, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
text = pathlib.Path(sys.argv[2]).read_text()
print(text.strip(), flush=True)
pathlib.Path(sys.argv[3]).touch()
time.sleep(1000)
"""


def test_an_app_whose_supervisor_restarts_it_slowly_is_not_probed_before_it_runs(bao, running, folder):
    sign = running.disk / "up"
    running.web["notify"] = {"process": {"name": f"app-{folder}"}, "action": "restart"}
    running.web["ready"] = {"file": str(sign), "initial_delay": "0s", "timeout": "500ms"}
    running.start()
    words = (f"app-{folder}", running.directory / "app.env", sign)
    with closing(App(*words, script=STARTED)) as first:
        running.until(lambda s: s["apps"]["web"]["state"] == "ready")
        bao.put(f"testing/{folder}/db", password="second")
        first.process.wait()
        pass_by(1.5)  # longer than its readiness timeout
    with closing(App(*words, script=STARTED)) as second:
        assert second.first == "PASSWORD='second'"
        running.until(lambda s: s["apps"]["web"]["generation"] == 2 and s["apps"]["web"]["state"] == "ready")


def test_a_refresh_tries_a_rejected_generation_again(bao, running, service, folder):
    bao.put(f"testing/{folder}/db", password="wrong")
    running.until(lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["readiness"]["pending"])
    assert [service.hears(), service.hears()] == ["PASSWORD='wrong'", "PASSWORD='first'"]
    assert running.command("refresh").returncode == 0
    assert service.hears() == "PASSWORD='wrong'"


CHECK = """
import pathlib, sys
folder, file = sys.argv[1:]
text = pathlib.Path(file).read_text()
assert pathlib.Path(file).parent == pathlib.Path(folder)
print("looks at", text)
sys.exit("wrong" in text)
"""


@pytest.fixture
def checked(running):
    running.web["check"] = [sys.executable, "-c", CHECK, "{directory}", "{file}"]
    return running.start()


def test_a_generation_that_its_check_rejects_is_never_published_and_no_value_is_logged(bao, checked, folder):
    assert content(checked) == "PASSWORD='first'\n"
    bao.put(f"testing/{folder}/db", password="wrong-c4n4ry")
    status = checked.until(lambda s: s["apps"]["web"]["state"] == "rejected")
    assert content(checked) == "PASSWORD='first'\n"
    assert "exited with status 1" in status["apps"]["web"]["error"]
    assert "`lessee status --output web` prints its output, 2 lines" in status["apps"]["web"]["error"]
    assert "looks at PASSWORD=" not in checked.log.read_text() + str(status)
    assert "c4n4ry" not in checked.log.read_text() + str(status)
    folders = [entry for entry in checked.directory.iterdir() if entry.name.startswith("..lessee")]
    assert len(folders) == 1, "the rejected generation is removed"
    bao.put(f"testing/{folder}/db", password="third")
    checked.until_file("app.env", "PASSWORD='third'\n")
    checked.until(lambda s: s["apps"]["web"]["error"] is None)


def test_a_check_that_hangs_is_killed_at_its_timeout_and_delays_no_other_app(running, memory):
    running.web["check"] = {"command": ["sleep", "61"], "timeout": "1s"}
    running.config["apps"]["other"] = {
        "directory": str(memory / "other"),
        "refresh_interval": "200ms",
        "files": [{"template": "app.env.j2"}],
    }
    running.start(wait=False)
    other = memory / "other" / "app.env"
    eventually(other.exists, "the other app's file")
    status = running.until(lambda s: s["apps"]["web"]["state"] == "rejected")
    assert "was killed after 1 s" in status["apps"]["web"]["error"]
    assert not (running.directory / "app.env").exists()


def test_a_missing_check_rejects_the_generation(running):
    running.web["check"] = ["no-such-program-anywhere"]
    running.start(wait=False)
    status = running.until(lambda s: s["apps"]["web"]["state"] == "rejected")
    assert "its check, no-such-program-anywhere, was not started" in status["apps"]["web"]["error"]


def test_a_render_rejected_by_its_check_exits_with_65(running):
    running.web["check"] = ["false"]
    running.write_config()
    done = running.command("render")
    assert done.returncode == 65
    assert "its check, false, exited with status 1" in done.stderr
