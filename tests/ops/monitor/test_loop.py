"""`lessee monitor` with a real server: its counts across rotations, kills and edits of the configuration."""

import gzip
import os
import shutil
import signal
import socket
import subprocess
import threading
from itertools import count
from pathlib import Path

import pytest

from support.needs import need
from support.programs.monitor import AUDIT_FILE, AUDIT_SOCKET, Audited, Monitor, accesses
from support.programs.sidecar import PATIENCE, eventually

CANARY = "canary-of-the-monitor"


@pytest.fixture
def bao(tmp_path):
    with Audited(tmp_path) as server:
        yield server


@pytest.fixture
def monitor(bao, tmp_path, memory):
    with Monitor(tmp_path / "lessee", memory, {"file": str(bao.audit)}) as monitor:
        yield monitor


def by_operation(checkpoint):
    """The number of accesses by operation, with any outcome."""
    return {name: sum(counts.values()) for name, counts in checkpoint["sinks"]["counters"].items()}


def test_each_access_is_counted_by_operation_and_outcome(bao, monitor):
    role_id, secret_id = bao.approle("monitored", 'path "secret/data/monitored/*" { capabilities = ["read"] }')
    monitor.start().until(lambda status: status["ready"])
    login = {"role_id": role_id, "secret_id": secret_id}
    token = bao.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
    before = monitor.until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))["accesses"]
    bao.put("monitored/one", password=CANARY)
    bao.ask("GET", "secret/data/monitored/one", token=token)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="403"):
            bao.ask("GET", "secret/data/elsewhere/one", token=token)
    bao.ask("DELETE", "secret/data/monitored/one")
    after = monitor.until(lambda status: status["accesses"]["total"] == before["total"] + 6)["accesses"]
    assert after["denied"] - before["denied"] == 3
    assert after["by_operation"]["read"]["denied"] == 3
    assert after["by_operation"]["delete"]["succeeded"] == 1
    [source] = monitor.status()["sources"]
    assert source["lines"] == len(bao.audit.read_text().splitlines())
    assert (source["kind"], source["lag_bytes"], source["error"], source["invalid_lines"]) == ("file", 0, None, 0)


def test_it_needs_no_login_and_stores_no_value_and_no_token(bao, monitor):
    bao.put("monitored/two", password=CANARY)
    bao.ask("GET", "secret/data/monitored/two")
    monitor.start().until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
    lines = len(bao.audit.read_text().splitlines())
    status = monitor.get("/status.json")[1] + monitor.get("/metrics")[1]
    assert 'lessee_monitor_accesses_total{operation="read",outcome="succeeded"}' in status
    assert monitor.stop() == 0
    assert len(bao.audit.read_text().splitlines()) == lines, "it sent a request to Vault"
    state = "".join(file.read_text() for file in monitor.state.iterdir())
    for secret in (CANARY, "hmac-sha256", "root-of-a-server"):
        assert secret not in status + state + monitor.log.read_text()
    assert {oct(file.stat().st_mode & 0o777) for file in monitor.state.iterdir()} == {"0o600"}


def test_no_value_of_a_raw_log_is_stored(tmp_path, memory):
    raw = 'audit "file" "tests" {{ options {{ file_path = "{}" log_raw = "true" }} }}'.format(tmp_path / "audit.log")
    with Audited(tmp_path, config=raw) as bao, Monitor(tmp_path / "l", memory, {"file": str(bao.audit)}) as monitor:
        bao.ask("POST", "sys/mounts/first", {"type": "kv", "options": {"version": "1"}})
        bao.ask("PUT", "first/one", {"password": CANARY, "version": 4711, "created_time": "never"})
        bao.ask("GET", "first/one")
        assert CANARY in bao.audit.read_text()
        assert monitor.once().returncode == 0
        assert by_operation(monitor.checkpoint())["read"] > 0
        text = (monitor.state / "state.json").read_text()
        assert CANARY not in text
        assert "4711" not in text


def test_a_renamed_log_is_followed_until_and_after_the_server_reopens_it(bao, monitor):
    monitor.start().until(lambda status: status["ready"])
    for round_ in range(3):
        old = bao.audit.with_name(f"audit.log-2026112{round_}")
        bao.put("monitored/three", round=round_)
        bao.audit.rename(old)
        bao.put("monitored/three", round=round_)  # The server still writes to the renamed file.
        bao.reopen()
        eventually(bao.audit.exists, "the new file")
        bao.put("monitored/three", round=round_)
    files = sorted(bao.audit.parent.glob("audit.log*"))
    assert len(files) == 4
    status = monitor.until(lambda status: status["accesses"]["total"] == len(accesses(*files)))
    assert status["fresh"]
    assert status["sources"][0]["gaps"] == 0


def test_a_copied_and_truncated_log_is_followed_and_so_is_one_compressed_during_downtime(bao, monitor):
    monitor.start().until(lambda status: status["ready"])
    bao.put("monitored/four", n=1)
    monitor.until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
    shutil.copyfile(bao.audit, bao.audit.with_name("audit.log.1"))
    os.truncate(bao.audit, 0)
    bao.put("monitored/four", n=2)
    old = accesses(bao.audit.with_name("audit.log.1"))
    monitor.until(lambda status: status["accesses"]["total"] == len(old) + len(accesses(bao.audit)))
    assert monitor.stop() == 0
    bao.put("monitored/four", n=3)
    downtime = accesses(bao.audit)
    with gzip.open(bao.audit.with_name("audit.log.1.gz"), "wb") as compressed:
        compressed.write(bao.audit.read_bytes())
    bao.audit.with_name("audit.log.1").unlink()
    os.truncate(bao.audit, 0)
    bao.put("monitored/four", n=4)
    assert monitor.once().stderr == ""
    assert sum(by_operation(monitor.checkpoint()).values()) == len(old) + len(downtime) + len(accesses(bao.audit))


@pytest.mark.thorough
def test_a_hundred_rotations_and_twenty_kills_during_writes_neither_lose_nor_duplicate_an_access(bao, monitor):
    """Threads write and rotate while the monitor is killed and started."""
    done = threading.Event()
    threads = [threading.Thread(target=_write, args=(bao, number, done)) for number in range(2)]
    threads.append(threading.Thread(target=_rotate, args=(bao, 100, done)))
    monitor.start().until(lambda status: status["ready"])
    for thread in threads:
        thread.start()
    try:
        for kill in count():
            if kill >= 20 and not threads[-1].is_alive():
                break
            monitor.stop(signal.SIGKILL)
            monitor.socket.unlink(missing_ok=True)
            monitor.start()
            _run_for_a_moment(monitor, saves=kill % 2)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    files = list(bao.audit.parent.glob("audit.log*"))
    assert len(files) == 101
    written = accesses(*files)
    monitor.until(lambda status: status["accesses"]["total"] >= len(written))
    assert monitor.stop() == 0
    [source] = monitor.checkpoint()["sources"].values()
    assert source["accesses"] == source["number"] == len(written)
    assert sum(by_operation(monitor.checkpoint()).values()) == len(written)
    assert source["gaps"] == source["invalid_lines"] == 0


def _run_for_a_moment(monitor, *, saves):
    """Until the monitor serves its status, or until it has saved its state."""
    if not saves:
        eventually(monitor.socket.exists, "the socket")
        return
    file = monitor.state / "state.json"
    before = file.stat().st_mtime_ns
    eventually(lambda: file.stat().st_mtime_ns != before, "a save")


def _write(bao, number, done):
    for n in count():
        if done.is_set():
            return
        bao.put(f"monitored/many/{number}", n=n)


def _rotate(bao, times, done):
    for _ in range(times):
        if done.is_set():
            return
        for number in range(times, 0, -1):
            old = bao.audit.with_name(f"audit.log.{number}")
            if old.exists():
                old.rename(bao.audit.with_name(f"audit.log.{number + 1}"))
        bao.audit.rename(bao.audit.with_name("audit.log.1"))
        bao.reopen()
        eventually(lambda: bao.audit.exists() and bao.audit.stat().st_size, "the new file")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_servers_socket_device_can_connect(tmp_path, memory, kind):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}" if kind == "tcp" else str(tmp_path / "audit.sock")
    with Monitor(tmp_path / "lessee", memory, {"socket": address}) as monitor:
        monitor.start().until(lambda status: status["ready"])
        file = tmp_path / "audit.log"
        with Audited(tmp_path, config=f"{AUDIT_SOCKET % (address, kind)}\n{AUDIT_FILE % file}") as bao:
            bao.put("monitored/five", password=CANARY)
            written = accesses(file)
            # The server enables the socket device first: a request of its own in between is in one log only.
            monitor.until(lambda status: status["accesses"]["total"] >= len(written) - 1)
            bao.ask("DELETE", "secret/data/monitored/five")
            monitor.until(lambda status: deleted(status) == 1)
            monitor.stop(signal.SIGKILL)
            first = monitor.checkpoint()
            monitor.start().until(lambda status: status["ready"])
            for _ in range(3):
                bao.put("monitored/five", password=CANARY)  # The server reconnects with its next entry.
            monitor.until(lambda status: status["accesses"]["total"] > first["sources"]["vault"]["accesses"])
        assert monitor.stop() == 0
        assert monitor.checkpoint()["sources"]["vault"]["number"] > 1_000_000_000, "a number was used twice"
    if kind == "unix":
        assert not Path(address).exists()


def deleted(status):
    return status["accesses"]["by_operation"].get("delete", {"succeeded": 0})["succeeded"]


def test_a_removed_socket_is_created_again(tmp_path, memory):
    path = tmp_path / "audit.sock"
    with Monitor(tmp_path / "lessee", memory, {"socket": str(path)}) as monitor:
        monitor.start().until(lambda status: status["ready"])
        path.unlink()
        eventually(path.exists, "the socket again")
        with Audited(tmp_path, config=AUDIT_SOCKET % (path, "unix")) as bao:
            bao.put("monitored/removed", password=CANARY)
            monitor.until(lambda status: status["accesses"]["total"])
        (tmp_path / "other").write_text("not ours")
        (tmp_path / "other").rename(path)
        monitor.until(lambda status: not status["ready"])
        assert monitor.stop() == 0
    assert path.read_text() == "not ours"


def test_at_the_end_of_stdin_the_monitor_exits(bao, tmp_path, memory):
    bao.put("monitored/six", password=CANARY)
    with Monitor(tmp_path / "lessee", memory, {"stdin": True}) as monitor:
        text = bao.audit.read_text()
        monitor.start(stdin=subprocess.PIPE)
        monitor.process.stdin.write(text.encode())
        monitor.until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
        monitor.process.stdin.close()
        assert monitor.process.wait(PATIENCE) == 0
        assert monitor.checkpoint()["sources"]["vault"]["lines"] == len(text.splitlines())


def test_the_servers_of_a_cluster_have_separate_sources(tmp_path, memory):
    folders = {name: tmp_path / name for name in ("first", "second")}
    for folder in folders.values():
        folder.mkdir()
    with Audited(folders["first"]) as first, Audited(folders["second"]) as second:
        logs = [{"name": "first", "file": str(first.audit)}, {"name": "second", "file": str(second.audit)}]
        with Monitor(tmp_path / "lessee", memory, logs) as monitor:
            for _ in range(30):  # More than the varying number of requests at a server's start.
                second.put("monitored/seven", password=CANARY)
            monitor.start()
            for server, name in ((first, "first"), (second, "second")):
                monitor.until(
                    lambda _, server=server, name=name: monitor.source(name)["accesses"] == len(accesses(server.audit))
                )
            total = monitor.status()["accesses"]["total"]
            assert total == len(accesses(first.audit)) + len(accesses(second.audit))


def test_an_edit_adds_a_log_and_an_invalid_one_changes_nothing(bao, monitor, tmp_path):
    monitor.start().until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
    monitor.file.write_text("monitor: {audit: {fiel: x}}")
    [problem] = monitor.until(lambda status: status["problems"])["problems"]
    assert "did you mean `file`?" in problem
    bao.put("monitored/eight", password=CANARY)
    monitor.until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
    copy = tmp_path / "other.log"
    shutil.copyfile(bao.audit, copy)
    both = [{"name": "vault", "file": str(bao.audit)}, {"name": "copy", "file": str(copy)}]
    monitor.config["monitor"]["audit"] = both
    monitor.write_config()
    total = len(accesses(bao.audit))
    status = monitor.until(lambda status: len(status["sources"]) == 2 and status["accesses"]["total"] == 2 * total)
    assert status["problems"] == []
    monitor.config["monitor"]["audit"] = both[1:]
    monitor.write_config()
    monitor.until(lambda status: len(status["sources"]) == 1)
    bao.put("monitored/eight", password=CANARY)
    monitor.config["monitor"]["audit"] = both
    monitor.write_config()
    monitor.until(lambda status: len(status["sources"]) == 2 and status["accesses"]["total"] == 2 * total + 1)


def test_without_inotify_the_monitor_polls_the_file(bao, monitor):
    limit = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", limit, "sh"]
    attempt = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    need(attempt.returncode == 0, f"needs user namespaces: {attempt.stderr}")
    monitor.start(before=command).until(lambda status: status["ready"])
    for n in range(3):
        bao.put("monitored/nine", n=n)
        monitor.until(lambda status: status["accesses"]["total"] == len(accesses(bao.audit)))
    bao.audit.rename(bao.audit.with_name("audit.log.1"))
    bao.reopen()
    eventually(bao.audit.exists, "the new file")
    bao.put("monitored/nine", n=3)
    files = bao.audit, bao.audit.with_name("audit.log.1")
    monitor.until(lambda status: status["accesses"]["total"] == len(accesses(*files)))


@pytest.mark.thorough
def test_a_second_monitor_with_the_same_state_directory_fails(monitor, memory):
    monitor.start().until(lambda status: status["ready"])
    other = Monitor(monitor.disk.parent / "other", memory / "other", monitor.config["monitor"]["audit"])
    other.config["monitor"]["state_dir"] = str(monitor.state)
    refused = other.once()
    assert refused.returncode == 73
    assert "another monitor uses this directory; stop it, or set another" in refused.stderr


def test_an_unreadable_log_is_a_problem_until_it_is_readable(bao, tmp_path, memory):
    missing = tmp_path / "missing" / "audit.log"
    with Monitor(tmp_path / "lessee", memory, {"file": str(missing)}) as monitor:
        ended = monitor.once()
        assert ended.returncode == 75
        assert f"{missing}: the audit log cannot be read: No such file or directory" in ended.stderr
        monitor.start()
        status = monitor.until(lambda status: status["problems"])
        assert status["ready"] is False
        assert monitor.get("/readyz")[0] == 503
        missing.parent.mkdir()
        shutil.copyfile(bao.audit, missing)
        monitor.until(lambda status: status["ready"] and status["accesses"]["total"] == len(accesses(missing)))


def test_an_invalid_state_file_is_never_overwritten(monitor):
    monitor.state.mkdir()
    (monitor.state / "state.json").write_text("{")
    ended = monitor.once()
    assert ended.returncode == 70
    assert "this is not the state of a monitor; use the version of lessee that wrote it, or remove it" in ended.stderr
    assert (monitor.state / "state.json").read_text() == "{"


def test_without_an_audit_log_in_the_configuration_the_error_says_what_to_add(tmp_path, memory):
    monitor = Monitor(tmp_path / "lessee", memory, {"file": "audit.log"})
    del monitor.config["monitor"]
    ended = monitor.once()
    assert ended.returncode == 78
    assert "no audit log configured; add `monitor:`" in ended.stderr
