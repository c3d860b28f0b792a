"""The main job, with a real agent, a real OpenBao and a real app."""

import json
import os
import signal
import stat
import sys
import urllib.request
from pathlib import Path

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import PATIENCE, eventually, folders

ENV = 'USER={{{{ secret("{0}/db").user }}}}\nPASSWORD={{{{ secret("{0}/db").password }}}}\n'


@pytest.fixture
def running(bao, sidecar, folder):
    """An agent that has rendered one secret into two files."""
    bao.put(f"testing/{folder}/db", user="simba", password="first")
    sidecar.template("app.env.j2", ENV.format(folder))
    sidecar.template("app.json.j2", f'{{"db": {{{{ secret("{folder}/db") }}}}}}\n')
    return sidecar


def test_files_are_rendered_and_a_change_is_published_and_the_app_notified(bao, running, app, folder):
    running.web["notify"] = {"process": {"name": f"app-{folder}"}, "action": "SIGHUP"}
    running.start()
    assert (running.directory / "app.env").read_text() == "USER='simba'\nPASSWORD='first'\n"
    assert json.loads((running.directory / "app.json").read_text()) == {"db": {"user": "simba", "password": "first"}}
    reader = app(f"app-{folder}", running.directory / "app.json")
    assert json.loads(reader.first)["db"]["password"] == "first"
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    assert json.loads(reader.hears())["db"]["password"] == "second"
    assert (running.directory / "app.env").read_text() == "USER='simba'\nPASSWORD='second'\n"
    status = running.until(lambda s: s["fresh"] and s["apps"]["web"]["state"] == "notified")
    assert status["apps"]["web"]["generation"] == 2
    assert status["apps"]["web"]["secrets"][0]["version"] == 2


def test_files_and_directory_have_mode_and_owner_and_lie_behind_one_link(running):
    running.web["mode"] = "0444" if os.geteuid() else "0440"
    if os.geteuid() == 0:
        running.web["owner"] = "0:1000"
    running.start()
    live = running.directory / (running.directory / "..data").readlink()
    for name in ("app.env", "app.json"):
        assert str((running.directory / name).readlink()) == f"..data/{name}"
        info = (live / name).stat()
        assert stat.S_IMODE(info.st_mode) == int(running.web["mode"], 8)
        if os.geteuid() == 0:
            assert (info.st_uid, info.st_gid) == (0, 1000)


def test_a_missing_key_a_deleted_secret_and_a_broken_template_leave_the_published_files(bao, running, folder):
    running.start()
    old = (running.directory / "app.env").read_text()

    bao.put(f"testing/{folder}/db", user="simba")
    status = running.until(lambda s: s["apps"]["web"]["state"] == "rejected")
    assert any("app.env.j2:2" in line and "password" in line and "user" in line for line in status["problems"])
    assert (status["ready"], status["fresh"]) == (True, False)
    assert running.get("/readyz?fresh")[0] == 503
    code, body = running.get("/readyz")
    assert (code, body.splitlines()[0]) == (200, "ready, not fresh")
    assert (running.directory / "app.env").read_text() == old

    bao.ask("DELETE", f"secret/data/testing/{folder}/db")
    status = running.until(lambda s: s["apps"]["web"]["secrets"][0]["error"])
    assert status["ready"]
    assert not status["fresh"]
    assert (running.directory / "app.env").read_text() == old

    bao.put(f"testing/{folder}/db", user="simba", password="third")
    running.until_file("app.env", "USER='simba'\nPASSWORD='third'\n")
    running.until(lambda s: s["fresh"] and not s["problems"])


def test_a_pinned_version_that_is_deleted_or_missing_is_named_though_a_later_one_exists(bao, running, folder):
    path = f"testing/{folder}/pins"
    for number in range(1, 4):
        bao.put(path, x=str(number))
    bao.ask("POST", f"secret/delete/{path}", {"versions": [2]})
    running.template("app.env.j2", f'X={{{{ secret("{folder}/pins", version=2).x }}}}\n')
    running.start(wait=False)

    def reported(text):
        return lambda status: text in [secret["error"] for secret in status["apps"]["web"]["secrets"]]

    running.until(reported("its version 2 is deleted; write another `version=`, or none"))
    bao.ask("POST", f"secret/destroy/{path}", {"versions": [2]})
    running.template("app.env.j2", f'X={{{{ secret("{folder}/pins", version=2).x }}}} \n')
    running.until(reported("its version 2 is destroyed; write another `version=`, or none"))
    running.template("app.env.j2", f'X={{{{ secret("{folder}/pins", version=9).x }}}}\n')
    running.until(reported("it does not exist, or has no version 9; see `bao kv metadata get`"))
    running.template("app.env.j2", f'X={{{{ secret("{folder}/pins", version=3).x }}}}\n')
    running.until_file("app.env", "X='3'\n")


def test_a_namespace_that_does_not_exist_is_named(running):
    running.config["vault"]["namespace"] = "no-such-team"
    running.start(wait=False)
    text = "the server has no namespace no-such-team (404); correct vault.namespace"
    running.until(lambda status: any(text in problem for problem in status["problems"]))


RUBBISH = {
    "{{ " + "1" * 5000 + " }}": "app.env.j2: a number in the template is too long",
    '{% include "a\0b" %}': "'a\\x00b' is not a valid name of a template",
    r'{% include "a\ud800b" %}': r"'a\ud800b' is not a valid name of a template",
    '{{ secret("a", version=0x' + "f" * 5000 + ") }}": "app.env.j2:1: the version number is too large",
}


def test_an_edit_takes_effect_and_an_invalid_one_is_only_a_problem(running):
    running.start()
    old = (running.directory / "app.env").read_text()
    logins = running.status()["totals"]["logins"]

    (running.disk / "app.env.j2").write_text("{{ nonsense ")
    running.until(lambda s: any("app.env.j2:1" in line for line in s["problems"]))
    assert (running.directory / "app.env").read_text() == old

    for rubbish, said in RUBBISH.items():
        (running.disk / "app.env.j2").write_text(rubbish)
        running.until(lambda s, said=said: any(said in line for line in s["problems"]))
        assert (running.directory / "app.env").read_text() == old

    (running.disk / "app.env.j2").write_text("FIXED=1\n")
    running.until_file("app.env", "FIXED=1\n")
    running.until(lambda s: not s["problems"])

    running.web["files"].append({"template": "more.txt.j2"})
    running.write_config()  # before its template is there
    running.until(lambda s: any("more.txt.j2" in line for line in s["problems"]))
    (running.disk / "more.txt.j2").write_text("more\n")
    running.until_file("more.txt", "more\n")
    assert running.status()["totals"]["logins"] == logins


def test_a_file_removed_from_the_configuration_is_removed_from_the_directory(running):
    running.start()
    running.web["files"] = running.web["files"][:1]
    running.write_config()
    running.until(lambda _: not os.path.lexists(running.directory / "app.json"))
    assert (running.directory / "app.env").exists()


def test_sighup_reloads_the_configuration(running):
    running.start()
    os.kill(running.process.pid, signal.SIGHUP)
    running.until(lambda _: any(e["event"] == "configuration reloaded" for e in running.events()))


def test_a_restart_reuses_the_token_and_publishes_no_unchanged_files(bao, running):
    running.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    running.start()
    accessor = running.status()["token"]["accessor"]
    (token,) = running.state.glob("token-*")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert running.stop() == 0
    assert (running.directory / "app.env").exists()
    (running.disk / "secret_id").unlink()  # no second login is possible
    running.start()
    assert running.until(lambda s: s["token"])["token"]["accessor"] == accessor
    assert running.status()["apps"]["web"]["generation"] == 1
    assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    running.start()
    assert running.until(lambda s: s["token"])["token"]["accessor"] == accessor


def test_a_notification_pending_at_a_sigkill_is_sent_after_the_restart(bao, running, folder, app):
    running.web["notify"] = {"process": {"name": f"app-{folder}"}, "action": "SIGHUP", "start_period": "100ms"}
    running.start()
    # It does not catch SIGHUP, which would terminate it: the notification is pending.
    deaf = app(f"app-{folder}", running.directory / "app.env", script=_DEAF)
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    running.until(lambda s: "would terminate" in (s["apps"]["web"]["notify"]["error"] or ""))
    assert deaf.process.poll() is None
    running.stop(signal.SIGKILL)
    deaf.process.send_signal(signal.SIGUSR1)  # from now on it catches SIGHUP
    assert deaf.hears() == "hears"
    running.start()
    assert deaf.hears() == "notified"
    running.until(lambda s: s["apps"]["web"]["state"] == "notified")


_DEAF = """
import ctypes, signal, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
def hear(*_):
    signal.signal(signal.SIGHUP, lambda *_: print("notified", flush=True))
    print("hears", flush=True)
signal.signal(signal.SIGUSR1, hear)
print("deaf", flush=True)
while True:
    time.sleep(0.05)  # Python hears of a signal just before pause(2) with the next one only.
"""


def test_an_app_is_notified_by_pid_file_and_another_signal(bao, running, folder, app):
    pid_file = running.disk / "app.pid"
    running.web["notify"] = {"process": {"pid_file": str(pid_file)}, "action": "SIGUSR1"}
    running.start()
    hearer = app(f"app-{folder}", script=_DEAF)
    pid_file.write_text(f"{hearer.process.pid}\n")
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    assert hearer.hears() == "hears"


@pytest.mark.thorough
def test_old_generations_and_incomplete_ones_are_deleted_at_the_start(bao, running, folder):
    running.start()
    for number in range(3):
        bao.put(f"testing/{folder}/db", user="simba", password=f"p{number}")
        running.until_file("app.env", f"USER='simba'\nPASSWORD='p{number}'\n")
    running.stop(signal.SIGKILL)
    (running.directory / "..lessee-99-deadbeef").mkdir()
    (running.directory / "..lessee-99-deadbeef" / "app.env").write_text("half")
    running.start()
    live = str((running.directory / "..data").readlink())
    assert "..lessee-99-deadbeef" not in folders(running.directory)
    # A reader may have opened one of them just before the agent was there.
    eventually(lambda: folders(running.directory) == [live], "the pruning")


def test_the_agent_waits_for_vault_at_the_start_and_is_healthy(bao, running):
    away = bao.address.rsplit(":", 1)[0] + ":1"
    running.config["vault"]["address"] = away
    running.start(wait=False)
    status = running.until(lambda s: s["problems"])
    assert "connection refused" in status["problems"][0]
    assert not status["ready"]
    assert running.get("/healthz")[0] == 200
    assert running.get("/readyz")[0] == 503
    running.config["vault"]["address"] = bao.address
    running.write_config()
    running.until(lambda s: s["ready"])
    assert running.get("/readyz?fresh")[0] == 200


def test_only_its_owner_can_use_the_status_socket_and_tcp_cannot_refresh(running):
    port = free_port()
    running.config["status"] = {"listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
    running.start()
    assert stat.S_IMODE((running.state / "status.sock").stat().st_mode) == 0o600
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    assert 'lessee_app_generation{app="web"} 1.0' in text
    request = urllib.request.Request(f"http://127.0.0.1:{port}/refresh", method="POST", data=b"[]")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    refused.value.close()
    assert refused.value.code == 405


def test_refresh_checks_immediately(bao, running, folder):
    running.web["refresh_interval"] = "1h"
    running.start()
    bao.put(f"testing/{folder}/db", user="simba", password="now")
    typo = running.command("refresh", f"{folder}/bd")
    assert typo.returncode == 64
    assert f"no template reads {folder}/bd" in typo.stderr
    done = running.command("refresh", f"{folder}/db")
    assert done.returncode == 0, done.stderr
    running.until_file("app.env", "USER='simba'\nPASSWORD='now'\n")


@pytest.mark.thorough
def test_a_second_agent_with_the_same_state_dir_is_rejected(running):
    running.start()
    second = running.command("run")
    assert second.returncode == 73
    assert "another lessee uses this state directory" in second.stderr


def test_a_directory_on_disk_is_rejected_unless_the_configuration_allows_it(running, tmp_path):
    running.web["directory"] = str(tmp_path / "on-disk")
    running.write_config()
    refused = running.command("run")
    assert refused.returncode == 73
    assert "tmpfs" in refused.stderr
    running.web["allow_disk"] = True
    running.directory = tmp_path / "on-disk"
    running.start()
    assert (tmp_path / "on-disk" / "app.env").exists()


def test_the_status_is_available_as_text_and_as_json(running):
    running.web["refresh_interval"] = "5s"  # What is fresh stays so for a while.
    running.start()
    said = running.command("status")
    assert said.returncode == 0
    assert "ready, fresh" in said.stdout
    assert json.loads(running.command("status", "--json").stdout)["ready"] is True
    running.stop()
    gone = running.command("status")
    assert gone.returncode == 69
    assert "no agent answers" in gone.stderr


def test_an_app_with_a_new_directory_has_its_files_in_both(running, memory):
    running.start()
    running.web["directory"] = str(memory / "elsewhere")
    running.write_config()
    running.until(lambda _: (memory / "elsewhere" / "app.env").exists())
    assert (running.directory / "app.env").exists()  # its readers are not affected


def test_a_stored_token_does_not_override_one_in_the_environment(bao, running):
    running.start()
    running.stop()
    assert not (running.state / "token").exists()
    token = bao.ask("POST", "auth/token/create", {"policies": ["root"], "ttl": "1h"})["auth"]
    running.environ["VAULT_TOKEN"] = token["client_token"]
    running.start()
    assert running.until(lambda s: s["token"])["token"]["accessor"] == token["accessor"]


def test_a_new_app_with_an_unusable_directory_does_not_affect_others(bao, running, folder, memory):
    running.start()
    taken = memory / "taken"
    taken.mkdir()
    (taken / "..data").symlink_to("..2026_another_tool")
    running.config["apps"]["new"] = {"directory": str(taken), "files": [{"template": "app.env.j2"}]}
    running.write_config()
    running.until(lambda s: any("give lessee a directory of its own" in line for line in s["problems"]))
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    running.until_file("app.env", "USER='simba'\nPASSWORD='second'\n")
    (taken / "..data").unlink()
    (running.disk / "lessee.yaml").touch()
    running.until(lambda _: (taken / "app.env").exists())


def test_a_secrets_author_changes_no_structure_and_no_event_of_the_log(bao, running, folder):
    bao.put(f"testing/{folder}/db", user="simba", password="first", x='"level": "', w="published", v='", "event": "')
    running.start("--log-format", "json")
    bao.put(f"testing/{folder}/db", user="simba", password="second", x='"level": "', w="published", v='", "event": "')
    running.until(lambda status: status["apps"]["web"]["generation"] == 2)
    assert running.stop() == 0
    events = running.events()
    assert {"agent starting", "generation published", "agent stopped"} <= {event["event"] for event in events}
    assert {event["level"] for event in events} <= {"info", "warning"}
    assert "***" not in {word for event in events for word in event}


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize(("closed", "numbers"), list(zip(CLOSED, [(0,), (1,), (2,), (0, 1, 2)], strict=True)))
def test_a_standard_stream_that_is_closed_is_no_file_of_the_agent(running, closed, numbers):
    running.start(before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    for pid in running.process.pid, running.pid:
        assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in numbers} == {"/dev/null"}
    assert running.stop() == 0


@pytest.mark.parametrize("closed", CLOSED)
def test_a_child_of_an_agent_with_closed_standard_streams_starts(running, closed):
    running.write_config()
    command = ["exec", "--app", "web", "--", sys.executable, "-c", "import os; [os.fstat(fd) for fd in range(3)]"]
    ran = running.command(*command, before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert ran.returncode == 0, ran.stderr
