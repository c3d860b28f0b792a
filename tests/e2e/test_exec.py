"""`lessee exec`: a real program as the child of a real agent, with secrets that no other process sees."""

import json
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import PATIENCE, eventually
from support.programs.terminal import Terminal, as_by_a_person

CANARY = "canary-7f3a"


def python(script, *words):
    return sys.executable, "-u", "-c", script, *words


# Prints what it was given, and runs until it is asked to stop.
TELLS = """
import json, os, resource, signal, sys
fields = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "environ": dict(os.environ), "core": resource.getrlimit(resource.RLIMIT_CORE), "umask": os.umask(0o22),
    "blocked": int(fields["SigBlk"], 16), "file": open(sys.argv[1]).read(),
}))
signal.pause()
"""
# Says its password and its pid; it leaves behind what holds the pipe open.
SHOWS = 'echo "$PASSWORD $$"; sleep 1000 & wait'
CATCHES = """
import signal, sys, time
def say(number, _):
    print(signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit(9)
for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], say)
print("up")
while True:
    time.sleep(0.05)  # Python hears of a signal just before pause(2) with the next one only.
"""

ORPHANS = """
import os
for _ in range(40):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
print("made")
input()
"""


class Exec:
    """`lessee exec` over a sidecar's configuration."""

    def __init__(self, sidecar):
        self.sidecar, self.process = sidecar, None

    def __call__(self, *command, options=(), env=None, umask=0o022):
        self.sidecar.write_config()
        with self.sidecar.log.open("ab") as log:
            self.process = self.sidecar.process = subprocess.Popen(
                as_by_a_person(sys.executable, "-m", "lessee", "exec", "--app", "web", *options, "--", *command),
                cwd=self.sidecar.disk,
                env=self.sidecar.environ | (env or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                umask=umask,
                start_new_session=True,
            )
        return self

    def line(self):
        """What the child says next."""
        said = b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, f"the child says nothing\n{self.sidecar.log.read_text()}"
            # Byte by byte: what a buffer holds of the next line, select does not see.
            byte = os.read(self.process.stdout.fileno(), 1)
            assert byte, f"no process can print more\n{self.sidecar.log.read_text()}"
            said += byte
        return said.decode().rstrip("\n")

    def child(self):
        """Its pid; the child may speak before the agent tells of it."""
        return eventually(lambda: self.sidecar.events_named("child started"), "a child")[-1]["pid"]

    def ends(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self.sidecar.log.read_text()}") from None

    def close(self):
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            for event in self.sidecar.events_named("child started"):
                with suppress(ProcessLookupError):
                    os.killpg(event["pid"], signal.SIGKILL)
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()


@pytest.fixture
def execute(bao, sidecar, folder):
    """Of an app that has one secret in a file and in its environment."""
    bao.put(f"testing/{folder}/db", password=CANARY)
    sidecar.template("app.txt.j2", f'{{{{ secret("{folder}/db").password }}}}\n')
    (sidecar.disk / "environ.j2").write_text(f'PASSWORD={{{{ secret("{folder}/db").password }}}}\nMODE=rendered\n')
    sidecar.web["env_template"] = "environ.j2"
    sidecar.events_named = lambda name: [e for e in log_of(sidecar) if e["event"] == name]
    execute = Exec(sidecar)
    yield execute
    execute.close()


def log_of(sidecar):
    """The complete events in the log, to which the child may write too."""
    for line in sidecar.log.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def test_the_child_has_its_files_and_environment_and_nothing_of_the_agents(execute, sidecar):
    tells = execute(
        *python(TELLS, str(sidecar.directory / "app.txt")),
        env={"MODE": "own", "RETAINED": "yes", "BAO_TOKEN": "x", "LESSEE_LOG_LEVEL": "debug"},
        umask=0o027,
    )
    printed = json.loads(tells.line())
    assert printed["file"] == f"{CANARY}\n"
    environ = printed["environ"]
    assert (environ["PASSWORD"], environ["MODE"], environ["RETAINED"]) == (CANARY, "rendered", "yes")
    assert not [name for name in environ if name.startswith(("VAULT_", "BAO_", "LESSEE_"))]
    assert printed["umask"] == 0o027
    assert tuple(printed["core"]) == resource.getrlimit(resource.RLIMIT_CORE)
    assert printed["blocked"] == 0


def test_a_secret_of_the_environment_is_in_no_file_no_argv_and_no_log(execute, sidecar):
    del sidecar.web["files"]
    sidecar.environ["LESSEE_LOG_LEVEL"] = "debug"
    execute("sh", "-c", SHOWS)
    assert execute.line().startswith(CANARY)
    files = [path for top in (sidecar.disk, sidecar.memory) for path in top.rglob("*") if path.is_file()]
    assert sidecar.log in files
    kept = [path for path in files if CANARY.encode() in path.read_bytes()]
    assert kept == []
    for pid in (execute.process.pid, execute.child()):
        assert CANARY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert CANARY.encode() not in Path(f"/proc/{execute.process.pid}/environ").read_bytes()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exec_exits_like_its_child(execute, script, code):
    assert execute("sh", "-c", script).ends() == code


def test_a_missing_program_is_127_and_one_that_is_not_executable_126(execute, sidecar):
    assert execute("lessee-no-such-program").ends() == 127
    execute.close()
    assert execute(str(sidecar.disk / "lessee.yaml")).ends() == 126
    said = [event["reason"] for event in sidecar.events_named("child not started")]
    assert [("No such file" in said[0], "Permission denied" in said[1])] == [(True, True)]


def test_stdin_and_stdout_pass_through_untouched(execute):
    execute("cat")
    assert execute.process.communicate("one\ntwo", timeout=PATIENCE)[0] == "one\ntwo"
    assert execute.process.returncode == 0


def test_signals_are_forwarded_and_sigterm_ends_exec_with_the_childs_code(execute, sidecar):
    sidecar.config["exec"] = {"restart": {"max_attempts": 5, "window": "60s"}}
    names = ["SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGQUIT", "SIGTERM"]
    execute(*python(CATCHES, *names))
    assert execute.line() == "up"
    for name in names:
        execute.process.send_signal(signal.Signals[name])
        assert execute.line() == name
    assert execute.ends() == 9
    assert len(sidecar.events_named("child started")) == 1


def test_a_sigterm_before_the_child_starts_ends_exec_with_143(execute, sidecar):
    sidecar.config["vault"]["address"] = f"http://127.0.0.1:{free_port()}"
    execute("echo", "started")
    sidecar.until(lambda status: status["vault"]["reachable"] is False)
    execute.process.send_signal(signal.SIGTERM)
    assert execute.ends() == 143
    assert execute.process.stdout.read() == ""


@pytest.mark.thorough
@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
def test_without_its_files_no_child_starts_and_the_error_is_printed(execute, bao, sidecar, folder, options):
    codes = {}

    def end(why, timeout="30s"):
        codes[why] = execute("echo", "started", options=("--timeout", timeout, *options)).ends()
        assert execute.process.stdout.read() == ""
        execute.close()

    (sidecar.disk / "environ.j2").write_text(f'X={{{{ secret("{folder}/none").password }}}}\n')
    end("missing")
    sidecar.log_in_by_approle(bao, 'path "secret/data/testing/nothing" { capabilities = ["read"] }')
    end("refused")
    sidecar.config["vault"] = {"address": f"http://127.0.0.1:{free_port()}"}
    end("away", "2s")
    assert codes == {"missing": 65, "refused": 77, "away": 69}
    assert "did not provide its secrets in time" in sidecar.log.read_text()


@pytest.mark.usefixtures("execute")
def test_no_program_is_a_usage_error_and_an_unknown_app_a_configuration_error(sidecar):
    sidecar.write_config()
    run = sidecar.command("exec", "--app", "web", "--")
    assert (run.returncode, "CMD" in run.stderr) == (64, True)
    run = sidecar.command("exec", "--app", "other", "--", "true")
    assert (run.returncode, "its apps are: web" in run.stderr) == (78, True)


@pytest.fixture
def restarted(execute, sidecar):
    """One whose child is restarted when its secrets change."""
    sidecar.web["notify"] = {"child": True, "action": "restart", "stop_grace_period": "5s"}
    return execute


def test_a_rotation_restarts_the_child_with_the_new_environment(restarted, bao, sidecar, folder):
    # A restart that is asked for is no failure: one is allowed, and there are three.
    sidecar.config["exec"] = {"restart": {"max_attempts": 1, "window": "600s"}}
    restarted("sh", "-c", SHOWS)
    password, pid = restarted.line().split()
    assert password == CANARY
    for word in ("second", "third", "fourth"):
        bao.put(f"testing/{folder}/db", password=word)
        password, new = restarted.line().split()
        assert (password, new != pid) == (word, True)
        assert (sidecar.directory / "app.txt").read_text() == f"{word}\n"
        assert not [p for p in processes() if p["group"] == int(pid)]
        pid = new
        sidecar.until(lambda status: not status["apps"]["web"]["notify"]["pending"])
    assert len(sidecar.events_named("child started")) == 4
    restarted.process.send_signal(signal.SIGTERM)
    assert restarted.ends() == 143


FAILS_WITH_A_WRONG_ONE = """
echo "$PASSWORD"
test "$PASSWORD" != wrong || exit 3
touch "$1"
exec sleep 1000
"""


@pytest.mark.thorough
@pytest.mark.parametrize("restart", [None, {"max_attempts": 5, "window": "60s"}])
def test_a_child_that_fails_with_a_wrong_password_is_rolled_back_immediately(restarted, bao, sidecar, folder, restart):
    if restart is not None:
        sidecar.config["exec"] = {"restart": restart}
    sign = sidecar.disk / "up"
    sidecar.web["ready"] = {"file": str(sign), "timeout": "60s"}
    restarted("sh", "-c", FAILS_WITH_A_WRONG_ONE, "sh", str(sign))
    assert restarted.line() == CANARY
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "ready")
    bao.put(f"testing/{folder}/db", password="wrong")
    assert restarted.line() == "wrong"
    assert restarted.line() == CANARY
    sidecar.until(lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["readiness"]["pending"])
    assert (sidecar.directory / "app.txt").read_text() == f"{CANARY}\n"
    bao.put(f"testing/{folder}/db", password="third")
    assert restarted.line() == "third"
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "ready")


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace_period(restarted, bao, sidecar, folder):
    sidecar.web["notify"]["stop_grace_period"] = "3s"
    restarted("sh", "-c", 'trap "echo no" TERM; echo "$PASSWORD"; while :; do sleep 0.05; done')
    assert restarted.line() == CANARY
    bao.put(f"testing/{folder}/db", password="second")
    assert restarted.line() == "no"
    assert restarted.line() == "second"


def test_a_child_is_stopped_by_its_stop_signal(restarted, bao, sidecar, folder):
    sidecar.web["notify"] |= {"stop_grace_period": "60s", "stop_signal": "SIGUSR1"}
    restarted(
        "sh", "-c", 'trap "" TERM; trap "echo drained; exit" USR1; echo "$PASSWORD"; while :; do sleep 0.05; done'
    )
    assert restarted.line() == CANARY
    bao.put(f"testing/{folder}/db", password="second")
    assert restarted.line() == "drained"
    assert restarted.line() == "second"
    restarted.process.send_signal(signal.SIGKILL)


def test_an_edit_of_the_environment_template_restarts_the_child(restarted, sidecar):
    restarted("sh", "-c", 'echo "$MODE"; exec sleep 1000')
    assert restarted.line() == "rendered"
    template = sidecar.disk / "environ.j2"
    new = sidecar.disk / "new"
    new.write_text(template.read_text().replace("rendered", "edited"))
    new.replace(template)
    assert restarted.line() == "edited"
    sidecar.until(lambda status: not status["apps"]["web"]["notify"]["pending"])
    assert len(sidecar.events_named("child started")) == 2


def test_a_failing_child_is_restarted_up_to_max_attempts_and_exec_exits_with_its_code(execute, sidecar):
    sidecar.config["exec"] = {"restart": {"max_attempts": 3, "window": "60s"}}
    execute("sh", "-c", "echo up; exit 3")
    assert execute.ends() == 3
    assert execute.process.stdout.read() == "up\n" * 4
    (event,) = sidecar.events_named("child failed too often")
    assert event["level"] == "error"
    assert [round(event["retry_in"], 1) for event in sidecar.events_named("child failed")] == [0.1, 0.2, 0.4]


def test_a_child_that_succeeds_at_its_second_attempt_ends_exec_with_0(execute, sidecar):
    sidecar.config["exec"] = {"restart": {"max_attempts": 3, "window": "60s"}}
    execute("sh", "-c", f"test -e {sidecar.disk}/tried && exit 0; touch {sidecar.disk}/tried; kill -9 $$")
    assert execute.ends() == 0
    assert len(sidecar.events_named("child started")) == 2


def test_once_replaces_itself_with_the_program(execute, sidecar):
    execute(*python(TELLS, str(sidecar.directory / "app.txt")), options=("--once",), umask=0o027)
    printed = json.loads(execute.line())
    assert (printed["environ"]["PASSWORD"], printed["file"]) == (CANARY, f"{CANARY}\n")
    assert not [name for name in printed["environ"] if name.startswith(("VAULT_", "BAO_", "LESSEE_"))]
    assert (printed["umask"], tuple(printed["core"])) == (0o027, resource.getrlimit(resource.RLIMIT_CORE))
    assert TELLS.encode() in Path(f"/proc/{execute.process.pid}/cmdline").read_bytes()
    assert [p for p in processes() if p["parent"] == execute.process.pid] == []
    execute.process.send_signal(signal.SIGTERM)
    assert execute.ends() == -signal.SIGTERM


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["exec", "once"])
def test_signal_dispositions_are_as_without_an_agent(execute, options):
    ours = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP]
    execute("grep", "-E", "SigIgn|SigCgt|SigBlk", "/proc/self/status", options=options)
    masks = {name: int(mask, 16) for name, mask in (execute.line().split(":\t") for _ in range(3))}
    assert {name: [one.name for one in ours if mask >> (one - 1) & 1] for name, mask in masks.items()} == {
        "SigBlk": [], "SigIgn": [], "SigCgt": [],
    }  # fmt: skip


@pytest.mark.usefixtures("execute")
def test_once_is_rejected_with_leases_that_need_renewal(sidecar):
    sidecar.config["vault"]["address"] = f"http://127.0.0.1:{free_port()}"  # no request is sent
    (sidecar.disk / "environ.j2").write_text('X={{ dynamic("database/creds/simba").username }}\n')
    sidecar.write_config()
    run = sidecar.command("exec", "--app", "web", "--once", "--", "echo", "started")
    assert (run.returncode, run.stdout) == (64, "")
    assert "database/creds/simba" in run.stderr
    assert "omit --once" in run.stderr


@pytest.mark.parametrize("wish", ["keep", "revoke"])
def test_the_token_is_revoked_at_the_end_if_configured(execute, bao, sidecar, wish):
    sidecar.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    sidecar.config["leases"] = {"on_stop": wish}
    execute("sh", "-c", "echo up; read line; exit 5")
    assert execute.line() == "up"
    accessor = sidecar.until(lambda status: status["ready"])["token"]["accessor"]
    execute.process.stdin.write("go\n")
    execute.process.stdin.flush()
    assert execute.ends() == 5
    known = bao.ask("LIST", "auth/token/accessors")["data"]["keys"]
    assert (accessor in known) is (wish == "keep")


def test_orphans_of_the_child_are_reaped(execute):
    execute(*python(ORPHANS))
    assert execute.line() == "made"
    agent, child = execute.sidecar.pid, execute.child()

    def below():
        return [p["pid"] for p in processes() if p["parent"] == agent]

    eventually(lambda: below() == [child], "nothing but the child")


@pytest.mark.usefixtures("execute")
def test_on_a_terminal_the_child_reads_it_and_ctrl_c_ends_exec_without_a_restart(sidecar):
    sidecar.config["exec"] = {"restart": {"max_attempts": 3, "window": "60s"}}
    sidecar.write_config()
    command = (sys.executable, "-m", "lessee", "exec", "--app", "web", "--", "cat")
    with closing(Terminal(*command, cwd=sidecar.disk, env=sidecar.environ)) as terminal:
        terminal.until("child started")
        terminal.type("hello\n")
        terminal.until("hello\r\nhello\r\n")
        terminal.type("\x03")
        assert terminal.end() == 130


def processes():
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent, group = (entry / "stat").read_text().rpartition(") ")[2].split()[:3]
                found.append({"pid": int(entry.name), "state": state, "parent": int(parent), "group": int(group)})
    return found
