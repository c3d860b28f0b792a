"""`lessee backup` that is killed, or reads a changing server, leaves only complete archives."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.ops.backup.inspection import inspect
from lessee.ops.backup.keys import keys as key_file
from lessee.ops.backup.scratch_server import scratch_server
from support.environments.backups import canary, contents, without_pruned
from support.needs import need
from support.programs.sidecar import PATIENCE, eventually, fork_of


def test_a_restore_killed_at_any_point_can_be_completed(small, make, tmp_path_factory):
    backups = make(small)
    backups.save()
    wanted = without_pruned(contents(small))
    chance = random.Random(6)  # noqa: S311  # Not used for secrets.
    interrupted = 0
    for attempt in range(3):
        with OpenBao(tmp_path_factory.mktemp("target")) as target:
            backups.config["vault"]["address"] = target.address
            backups.write_config()
            for _ in range(6):
                process = subprocess.Popen(
                    [sys.executable, "-m", "lessee", "backup", "restore", "latest", "--yes", "--force"],
                    cwd=backups.disk,
                    env=backups.environ,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                eventually(lambda p=process: _has_begun(target) or p.poll() is not None, "the first write")
                time.sleep(chance.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
                interrupted += process.wait() == -signal.SIGKILL
            backups.backup("restore", "latest", "--yes", "--force")
            assert without_pruned(contents(target)) == wanted, attempt
            assert " with 0 writes" in backups.backup("restore", "latest", "--yes", "--force")
    assert interrupted >= 3


def _has_begun(server):
    return "old/" in server.ask("GET", "sys/mounts")["data"]


def test_a_killed_save_leaves_only_complete_archives(full, make):
    backups = make(full)
    backups.write_config()
    chance = random.Random(7)  # noqa: S311  # As above.
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "lessee", "backup", "save"],
            cwd=backups.disk,
            env=backups.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(backups.archives.exists, "its folder")
        time.sleep(chance.uniform(0, 0.6))
        process.kill()
        process.wait()
    backups.backup("save")
    keys = key_file(str(backups.key), {})
    for archive in backups.found():
        with archive.open("rb") as file:
            assert inspect(file, keys, str(archive)).manifest.counts.secrets == 22
    assert {path.suffix for path in backups.archives.iterdir()} == {".age", ".lock"}


def test_a_secret_that_changes_while_it_is_read_is_saved_consistently(small, make):
    """Each version contains its own number, which reveals a mixture."""
    backups = make(small)
    small.ask("POST", "secret/metadata/busy", {"max_versions": 3})
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, small.address, ROOT_TOKEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        writer.stdout.readline()
        archive = backups.save()
    finally:
        # A last write of a killed writer may still be in transit.
        writer.stdin.close()
        writer.wait()
        writer.stdout.close()
    small.ask("DELETE", "secret/metadata/busy")
    backups.backup("restore", str(archive), "--yes", "--path", "secret/busy")
    current, _, versions = contents(small)["secret/busy"]
    readable = [(number, data["n"]) for number, data, _ in versions if data]
    assert readable
    assert all(number == value for number, value in readable)
    assert readable[-1][0] == current


_WRITER = """
import json, select, sys, urllib.request
address, token = sys.argv[1:]
for n in range(1, 1_000_000):
    if select.select([sys.stdin], [], [], 0)[0]:
        break
    body = json.dumps({"data": {"n": n}}).encode()
    request = urllib.request.Request(f"{address}/v1/secret/data/busy", body, {"X-Vault-Token": token})
    urllib.request.urlopen(request).read()
    if n == 5:
        print(n, flush=True)
"""


def test_a_namespace_has_its_own_archives(small, make):
    small.ask("POST", "sys/namespaces/crew")
    small.ask("POST", "crew/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: _written(small, "crew/secret/data/a"), "the mount")
    backups = make(small)
    root = backups.save()
    assert "the namespace crew/" in backups.backup("save")
    backups.config["vault"]["namespace"] = "crew"
    archive = backups.save()
    assert "-crew-" in archive.name
    assert len({path.name.rpartition("-")[0] for path in backups.found()}) == 2
    assert "1 secrets in 1 versions" in backups.backup("verify", str(archive))
    text = "the archive is of the namespace root, and the configuration has crew"
    backups.backup("restore", str(backups.found()[0]), "--yes", code=77, text=text)
    small.ask("DELETE", "crew/secret/metadata/a")
    backups.backup("restore", str(archive), "--yes")
    assert small.ask("GET", "crew/secret/data/a")["data"]["data"] == {"value": canary("team")}
    assert root.parent == archive.parent


def _written(server, path):
    try:
        return server.ask("POST", path, {"data": {"value": canary("team")}})
    except RuntimeError:
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_verify_ended_by_a_signal_leaves_no_server(full, make, number):
    backups = make(full)
    backups.save()
    with _suspended_verification(backups) as (process, folder):
        process.send_signal(number)
        if number != signal.SIGKILL:
            eventually(lambda: _is_pending(fork_of(process), number), "the signal in its fork")
            os.kill(fork_of(process), signal.SIGCONT)
        assert process.wait(20) == (-number if number == signal.SIGKILL else 130)
    eventually(lambda: not [path for path in Path("/proc").glob("[0-9]*") if str(folder) in _cmdline(path)], "its end")
    # A killed process removes nothing; the data in memory is encrypted, and its key is lost.
    assert folder.exists() == (number == signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _suspended_verification(backups):
    """The process of a verification whose fork is suspended while its server runs, and the server's directory."""
    folder = None
    while folder is None:
        process = subprocess.Popen(
            # Tests in a shell's background job ignore SIGINT.
            ["env", "--default-signal=INT", sys.executable, "-m", "lessee", "backup", "verify", "latest"],
            cwd=backups.disk,
            env=backups.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            folder = _suspend(process)
            if folder is not None:
                yield process, folder
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def _suspend(process):
    """Suspend its fork, and return the directory of its server; None if that has ended: then the fork continues."""
    try:
        eventually(lambda: _folders_of(process), "its server, and its socket")
        os.kill(fork_of(process), signal.SIGSTOP)
        for folder in _folders_of(process):
            return folder
        os.kill(fork_of(process), signal.SIGCONT)
    except ProcessLookupError:
        pass
    return None


def _is_pending(process, number):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("\nShdPnd:")[2].split()[0], 16) >> (number - 1) & 1


def test_what_a_killed_verification_left_is_removed_by_the_next_one():
    need(os.geteuid() == 0, "needs root, to change owners")
    left, other, used, fresh = (Path(tempfile.mkdtemp(prefix="lessee-verify-", dir="/dev/shm")) for _ in range(4))
    try:
        for folder in (left, other, used):
            (folder / "data").mkdir()
            os.utime(folder, (0, 0))
        os.chown(other, 12345, 12345)
        lock = os.open(used, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with scratch_server():
            assert [folder.exists() for folder in (left, other, used, fresh)] == [False, True, True, True]
        os.close(lock)
        with scratch_server():
            assert not used.exists()
    finally:
        for folder in (left, other, used, fresh):
            shutil.rmtree(folder, ignore_errors=True)


def _folders_of(process):
    """The directories of the process's servers that listen."""
    commands = [_cmdline(stat.parent) for stat in _of(process)]
    return {path.parent for path in _sockets() if any(str(path.parent) in command for command in commands)}


def _of(process):
    fork = fork_of(process)
    return [path for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == fork]


def _parent(stat):
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_the_scratch_server_has_no_network():
    with scratch_server() as client:
        (folder,) = {path.parent for path in _sockets() if str(path.parent) in client.address}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert client.list("sys/policies/acl") == ("default", "root")
        (process,) = [path for path in Path("/proc").glob("[0-9]*") if str(folder) in _cmdline(path)]
        own = (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        need(own, "needs a kernel that allows network namespaces")
        devices = (process / "net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def _sockets():
    return list(Path("/dev/shm").glob("lessee-verify-*/api.sock"))


def _cmdline(process):
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""
