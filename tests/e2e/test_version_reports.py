"""The agent reports which versions of rotated secrets an app uses, once it is ready and while it runs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from lessee.host.openbao import free_port
from support.environments.rotation_targets import RotationTarget
from support.programs.forks import PATIENCE, start_lessee
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.fault_proxy import Fault, Late, Proxy
from support.systems import SYSTEMS

FORKED_AGENTS = True
POLICY = """
path "secret/data/testing/{0}/db" {{ capabilities = ["read"] }}
path "secret/metadata/testing/{0}/db" {{ capabilities = ["read"] }}
"""
MAY_SAY = 'path "secret/metadata/testing/lessee/consumers/web/*" { capabilities = ["create", "update", "delete"] }'
FOLDER = "secret/metadata/testing/lessee/consumers/web"


@pytest.fixture
def rotated(bao, folder):
    """Writes as a rotator does."""

    def rotate(password, count, path=f"testing/{folder}/db"):
        return bao.put(path, password=password, rotation_count=count)

    rotate("first", 1)
    return rotate


@pytest.fixture
def running(bao, rotated, sidecar, folder):
    del rotated  # It has written the secret.
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    sweep(bao)
    yield sidecar
    sidecar.close()
    sweep(bao)


def listed(bao, folder=FOLDER):
    try:
        return bao.ask("GET", f"{folder}?list=true")["data"]["keys"]
    except RuntimeError:
        return []  # There is no such folder.


def sweep(bao):
    for name in listed(bao):
        bao.ask("DELETE", f"{FOLDER}/{name}")


def said(bao, folder):
    """By instance."""
    found = [bao.ask("GET", f"{FOLDER}/{name}")["data"]["custom_metadata"] for name in listed(bao)]
    return [one.get(f"{folder}/db") for one in found]


def test_a_version_is_reported_once_the_app_uses_it_and_deleted_with_the_agent(bao, running, rotated, folder):
    running.start()
    eventually(lambda: said(bao, folder) == ["1"], "the confirmation")
    rotated("second", 2)
    eventually(lambda: said(bao, folder) == ["2"], "the confirmation")
    [instance] = listed(bao)
    whole = bao.ask("GET", f"{FOLDER}/{instance}")["data"]
    assert whole["custom_metadata"] == {f"{folder}/db": "2", "lessee/generation": "2"}
    assert whole["current_version"] == 0, "no data"
    running.stop(signal.SIGKILL)
    assert said(bao, folder) == ["2"]
    rotated("third", 3)
    running.start()
    eventually(lambda: said(bao, folder) == ["3"], "the confirmation")
    assert listed(bao) == [instance], "the same agent as before"
    assert running.stop() == 0
    assert listed(bao) == []
    assert "third" not in running.log.read_text()


def test_an_app_that_is_not_ready_reports_nothing(bao, running, folder):
    running.web["ready"] = {"tcp": f"127.0.0.1:{free_port()}", "initial_delay": "0ms", "timeout": "500ms"}
    running.start()
    running.until(lambda s: s["apps"]["web"]["readiness"]["error"])
    assert listed(bao) == []
    with Proxy(bao.port) as up:
        running.web["ready"]["tcp"] = f"127.0.0.1:{up.port}"
        running.write_config()
        eventually(lambda: said(bao, folder) == ["1"], "the confirmation")


def test_a_rolled_back_version_is_not_reported(bao, running, rotated, folder):
    looks = ["grep", "-q", "good", str(running.directory / "app.env")]
    running.web["ready"] = {"command": looks, "initial_delay": "0ms", "timeout": "500ms"}
    rotated("good", 2)
    running.start()
    eventually(lambda: said(bao, folder) == ["2"], "the confirmation")
    rotated("bad", 3)
    running.until(lambda s: s["apps"]["web"]["state"] == "rolled_back" and not s["apps"]["web"]["readiness"]["pending"])
    assert said(bao, folder) == ["2"]
    rotated("good again", 4)
    eventually(lambda: said(bao, folder) == ["4"], "the confirmation")


def test_two_agents_of_an_app_are_two_consumers(bao, running, rotated, folder, tmp_path_factory, memory):
    other = Sidecar(bao.address, tmp_path_factory.mktemp("other"), memory / "other")
    (memory / "other").mkdir()
    other.template("app.env.j2", (running.disk / "app.env.j2").read_text())
    with closing(other):
        running.start()
        other.start()
        eventually(lambda: said(bao, folder) == ["1", "1"], "both confirmations")
        rotated("second", 2)
        eventually(lambda: said(bao, folder) == ["2", "2"], "both confirmations")
        other.stop()
        assert said(bao, folder) == ["2"]


@pytest.mark.thorough
def test_a_denied_report_is_logged_once(bao, running, rotated, folder):
    with Proxy(bao.port) as proxy:
        running.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
        running.log_in_by_approle(bao, POLICY.format(folder))
        running.start()
        status = running.until(lambda s: any("consumers" in line for line in s["problems"]))
        assert f"grant `create`, `update` and `delete` on {FOLDER}/*" in " ".join(status["problems"])
        assert status["ready"]
        pass_by(3.0)
        for count in (2, 3):
            rotated(f"number {count}", count)
            running.until_file("app.env", f"PASSWORD='number {count}'\n")
        running.until(lambda s: s["fresh"])

        def asked():
            return [one for one in proxy.requests if "lessee/consumers" in one.path]

        eventually(lambda: len(asked()) == 3, "one request a version")
        pass_by(2.0)
        assert len(asked()) == 3
        warnings = [event for event in running.events() if event["event"] == "versions not reported"]
        assert len(warnings) == 1
        bao.ask("PUT", f"sys/policies/acl/{running.disk.name}", {"policy": POLICY.format(folder) + MAY_SAY})
        assert running.command("refresh").returncode == 0
        eventually(lambda: said(bao, folder) == ["3"], "the confirmation")
        running.until(lambda s: not s["problems"])
        running.stop()
        assert listed(bao) == []


def test_each_change_of_a_rotated_secret_costs_one_report(bao, running, rotated, folder):
    with Proxy(bao.port) as proxy:
        running.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
        bao.put(f"testing/{folder}/plain", value="one")
        running.web["refresh_interval"] = "100ms"
        running.start()
        for count in range(2, 22):
            rotated(f"number {count}", count)
            eventually(lambda count=count: said(bao, folder) == [str(count)], "the confirmation")
        writes = [one for one in proxy.requests if one.method not in {"GET", "LIST"}]
        assert len(writes) == 21
        running.template("app.env.j2", f'VALUE={{{{ secret("{folder}/plain").value }}}}\n')
        running.until_file("app.env", "VALUE='one'\n")
        eventually(lambda: listed(bao) == [], "it is taken back")
        bao.put(f"testing/{folder}/plain", value="two")
        running.until_file("app.env", "VALUE='two'\n")
        pass_by(0.5)
        assert len([one for one in proxy.requests if one.method not in {"GET", "LIST"}]) == 22


def test_one_shot_commands_report_nothing(bao, running):
    running.write_config()
    assert running.command("render").returncode == 0
    assert running.command("exec", "--app", "web", "--once", "--", "true").returncode == 0
    assert listed(bao) == []


def test_a_hanging_report_delays_neither_the_files_nor_the_stop(bao, running, rotated, folder):
    with Proxy(bao.port) as proxy:
        running.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
        running.start()
        eventually(lambda: said(bao, folder) == ["1"], "the confirmation")
        proxy.on_path("lessee/consumers", Fault.HANG)
        for count in range(2, 6):
            rotated(f"number {count}", count)
            running.until_file("app.env", f"PASSWORD='number {count}'\n")
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 5.0  # A reader's patience; deleting the report has three seconds of it.
        assert said(bao, folder) == ["1"]


def test_a_report_whose_answer_is_under_way_at_the_stop_is_deleted(bao, running, folder):
    with Proxy(bao.port) as proxy:
        running.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
        proxy.on_path("lessee/consumers", Late(0.5))
        running.start()
        eventually(lambda: said(bao, folder) == ["1"], "the confirmation")
        assert running.stop() == 0
        assert listed(bao) == []


def test_a_report_whose_answer_was_lost_is_deleted_at_the_stop(bao, running, folder):
    with Proxy(bao.port) as proxy:
        running.config["vault"]["address"] = f"http://127.0.0.1:{proxy.port}"
        proxy.on_path("lessee/consumers", Fault.CLOSED)
        running.start()
        eventually(lambda: said(bao, folder) == ["1"], "the confirmation")
        proxy.on_path("lessee/consumers", None)
        assert running.stop() == 0
        assert listed(bao) == []


# An agent that is stopped in the moment in which Vault has answered its report.
STOPPED = """
import sys
from lessee.agent import loop
from lessee.cli import main
from lessee.protocol.events import VersionsReported
receive = loop.Agent._receive
def receive_with_stop(agent, wait):
    messages = receive(agent, wait)
    is_answered = any(isinstance(each, tuple) and isinstance(each[1], VersionsReported) for each in messages)
    return [*([loop._Request.STOP] if is_answered else []), *messages]
loop.Agent._receive = receive_with_stop
sys.exit(main())
"""


def test_a_stop_that_arrives_with_an_answer_does_not_lose_the_answer(bao, running):
    running.write_config()
    streams = [os.devnull, running.log, running.log]
    agent = start_lessee("run", cwd=running.disk, env=running.environ, streams=streams, program=STOPPED)
    assert agent.wait(PATIENCE) == 0
    assert "versions reported" in [event["event"] for event in running.events()]
    assert listed(bao) == []


def test_the_agent_of_a_child_reports_until_the_child_exits(bao, running, folder):
    running.write_config()
    program = [sys.executable, "-m", "lessee", "exec", "--app", "web", "--", "cat"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        program, cwd=running.disk, env=running.environ, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
    ) as process:
        eventually(lambda: said(bao, folder) == ["1"], "the confirmation")
        process.stdin.close()
        assert process.wait(30) == 0
    assert listed(bao) == []


def test_a_rotation_waits_for_the_agent_of_the_app_alone(bao, tmp_path, memory):
    """The rotator and an agent, both real: the old is retired when the app has the new one."""
    with SYSTEMS["vault"].started(tmp_path) as new, closing(Sidecar(bao.address, tmp_path, memory)) as agent:
        (tmp_path / "rotator").mkdir()
        target = RotationTarget(bao, tmp_path / "rotator", new(), confirmation_timeout="20s")
        agent.environ["LESSEE_ENVIRONMENT"] = target.environment
        agent.template("app.env.j2", f'VALUE={{{{ secret("{target.secret_path}").secret }}}}\n')
        target.rotate(wait=False)
        agent.start()
        eventually(lambda: listed(bao, f"secret/metadata/{target.environment}/lessee/consumers/web"), "the agent")
        for _ in range(3):
            target.rotate()
        journal = target.journal
        assert journal.missing == ()
        assert len(journal.propagation_times) >= 3
        assert max(journal.propagation_times) < 5.0
