"""Only one rotator rotates a target at a time, and one that continues after its lock has expired does no harm."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count

import pytest

from lessee.core.immutable import replace
from lessee.ops.rotate import targets
from lessee.ops.rotate.kinds import mysql, postgres_session
from lessee.ops.rotate.kinds.kind import SystemUnavailableError
from lessee.ops.rotate.lock_owner import has_exited, new_owner_id
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import SUSPENSION, TIMEOUT, RotationTarget, sampled_calls
from support.needs import need
from support.programs.sidecar import PATIENCE
from support.systems import SYSTEMS
from support.thorough import THOROUGH

GENERATING = ("api-key", "approle", "command", "s3")
"""The systems that generate the credentials."""
LOCKING = SYSTEMS if THOROUGH else (*GENERATING, "mysql", "postgres", "redis", "totp", "vault")
"""The systems of the tests of the journal's lock, which is the same for all."""
HIDEPID = """
mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def is_consistent(target):
    fields = target.fields()
    return (
        target.system.accepts(fields)
        and target.system.orphans(fields) == set()
        and target.journal.step in {Step.IDLE, Step.RETAINING}
    )


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("new_system", LOCKING, indirect=True)
def test_twenty_concurrent_rotators_make_one_rotation(target):
    outcomes = target.rotate_concurrently(4, 5, force=False)
    assert sorted(outcomes) == ["ALREADY_ROTATED"] * 19 + ["ROTATED"]
    assert target.fields()["rotation_count"] == 1
    assert target.journal.count == 1
    assert is_consistent(target)


@pytest.mark.thorough(each=16)
def test_a_rotator_suspended_at_any_call_until_another_has_rotated_does_no_harm(target, system_name, monkeypatch):
    """Its lock has expired; the other rotator finishes its rotation, and then rotates once more."""
    monkeypatch.setattr(targets, "time", target.clock())
    # Only a suspended rotator has the lock of PostgreSQL that another one waits for.
    monkeypatch.setitem(postgres_session._TIMEOUTS, "lock_timeout", "200ms")
    monkeypatch.setattr(mysql, "_LOCK_WAIT", "0.2")  # As above.
    target.rotate()  # From here on all rotations make the same calls, so each is tested.
    target.clock_offset += SUSPENSION
    for call_index in sampled_calls(system_name, of=4, least=target.system.min_calls):
        suspended = target.rotate_and_stop(call_index)
        if suspended is None:
            break
        with suppress(SystemUnavailableError):  # The suspended rotator may have the system's own lock.
            target.rotate(timeout=5.0)
        os.kill(suspended.pid, signal.SIGCONT)
        suspended.join(TIMEOUT)
        assert suspended.exitcode == 0
        target.recover()
        assert is_consistent(target)
    assert call_index >= target.system.min_calls


@pytest.mark.thorough
@pytest.mark.parametrize("new_system", GENERATING, indirect=True)
def test_a_rotator_suspended_in_a_retry_deletes_no_published_credential(target, monkeypatch):
    """The first attempt was killed, and has left a credential that no journal records."""
    monkeypatch.setattr(targets, "time", target.clock())
    target.rotate()  # From here on all rotations make the same calls, so each is tested.
    target.clock_offset += SUSPENSION
    creation = next(call_index for call_index in count() if leaves_credential(target, call_index))
    for call_index in count():
        suspended = target.rotate_and_stop(call_index, finish_only=True)
        assert suspended is not None
        was_creating = target.journal.step is Step.CREATING
        target.rotate(timeout=5.0)
        os.kill(suspended.pid, signal.SIGCONT)
        suspended.join(TIMEOUT)
        assert suspended.exitcode == 0
        target.recover()
        assert is_consistent(target)
        if not was_creating:
            break
        assert leaves_credential(target, creation)
    assert call_index >= 2  # It took the lock, and let the system create one.


def leaves_credential(target, call_index):
    """Whether a kill after this call leaves a credential in the system that the journal does not record."""
    assert target.rotate_and_kill(call_index, after=True)
    if target.journal.step is Step.CREATING and target.system.orphans(target.fields()):
        return True
    target.recover()
    return False


@pytest.mark.parametrize("new_system", LOCKING, indirect=True)
def test_the_lock_of_a_dead_process_is_ignored(target):
    settings = {"timeout": PATIENCE}  # The lock lasts longer than that.
    assert target.rotate_and_kill(target.system.min_calls // 2 + 1, after=True, **settings)
    assert target.journal.lock_owner
    locked_until = target.journal.locked_until
    target.rotate(finish_only=True, **settings)
    assert time.time() < locked_until
    assert is_consistent(target)


def python(text, *before):
    command = [*before, sys.executable, "-c", f"from lessee.ops.rotate.lock_owner import *\n{text}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def test_the_lock_of_a_process_in_another_namespace_is_respected(bao, tmp_path):
    result = python("print(new_owner_id())", "unshare", "--pid", "--fork", "--mount-proc")
    need(result.returncode == 0, "needs the right to create PID namespaces: run as root")
    name = result.stdout.strip()
    assert not has_exited(name)
    target = RotationTarget(bao, tmp_path, SYSTEMS["vault"](tmp_path))
    assert target.rotate_and_kill(SYSTEMS["vault"].min_calls, after=True)
    until = time.time() + 1.5
    path = f"{target.environment}/{journal.FOLDER}{target.name}"
    locked = replace(target.journal, lock_owner=name, locked_until=until)
    version = target.metadata(f"{journal.FOLDER}{target.name}")["current_version"]
    bao.ask("POST", f"secret/data/{path}", {"data": journal.serialize(locked), "options": {"cas": version}})
    target.recover()
    assert time.time() >= until
    assert is_consistent(target)


def test_an_owner_exists_until_its_process_exits():
    text = "import sys; print(new_owner_id(), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"from lessee.ops.rotate.lock_owner import *\n{text}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        name = process.stdout.readline().strip()
        assert not has_exited(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_exited(name)  # although its parent has not reaped it yet
    assert has_exited(name)


def test_a_reused_pid_is_another_owner():
    machine, namespace, pid, started, own = new_owner_id().split(":")
    assert not has_exited(f"{machine}:{namespace}:{pid}:{started}:{own}")
    assert has_exited(f"{machine}:{namespace}:{pid}:{int(started) - 1}:{own}")


def test_a_process_hidden_by_hidepid_has_not_exited():
    check = f"print(has_exited({new_owner_id()!r}))"
    result = python(check, "unshare", "--mount", "sh", "-c", HIDEPID, "sh")
    need(result.returncode == 0, "needs the right to mount /proc: run as root")
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("spelled", ["", "x", "-1", "0", "9" * 30, "٣", "\n", "../self"])
def test_an_invalid_part_of_an_owner_id_may_be_of_a_running_process(part, spelled):
    parts = new_owner_id().split(":")
    parts[part] = spelled
    # A PID with another start time was another process's.
    assert has_exited(":".join(parts)) is (part == 3)


@pytest.mark.parametrize("name", ["", ":", "::::", "a:b:c:d:e", "another", "{}:more"])
def test_another_format_of_owner_id_may_be_of_a_running_process(name):
    assert not has_exited(name.format(new_owner_id()))
