"""One rotator at a time, and no harm from one who comes back when his time is over."""

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
from lessee.ops.rotate.kinds.kind import SystemUnavailableError
from lessee.ops.rotate.lock_owner import has_exited, new_owner_id
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import LOCK_TTL
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import PATIENCE, SLEEP, Rotated
from support.needs import need
from support.systems import SYSTEMS

MAKING = ("api-key", "approle", "command", "s3")
"""The systems that make the values."""
HIDDEN = """
mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def whole(rotated):
    fields = rotated.fields()
    return (
        rotated.system.lets_in(fields)
        and rotated.system.orphans(fields) == set()
        and rotated.journal.step in {Step.IDLE, Step.RETAINING}
    )


def test_twenty_rotators_at_once_make_one_rotation(rotated):
    came = rotated.at_once(4, 5, force=False)
    assert sorted(came) == ["ALREADY_ROTATED"] * 19 + ["ROTATED"]
    assert rotated.fields()["rotation_count"] == 1
    assert rotated.journal.count == 1
    assert whole(rotated)


def test_who_stood_still_at_any_call_until_another_had_rotated_does_no_harm(rotated, monkeypatch):
    """His hold is over; the other finishes what he began, and then rotates once more."""
    monkeypatch.setattr(targets, "time", rotated.clock())
    rotated.rotate()  # From now on each rotation makes the same calls, and so none is passed over.
    rotated.ahead += SLEEP
    for crossing in count():
        late = rotated.stopped(crossing)
        if late is None:
            break
        with suppress(SystemUnavailableError):  # He may stand still with the system's own lock in his hands.
            rotated.rotate(timeout=5.0)
        os.kill(late.pid, signal.SIGCONT)
        late.join(PATIENCE)
        assert late.exitcode == 0
        rotated.recover()
        assert whole(rotated)
    assert crossing >= rotated.system.crossings_least


@pytest.mark.parametrize("new_system", MAKING, indirect=True)
def test_who_stood_still_in_a_second_try_removes_nothing_of_what_others_have_published(rotated, monkeypatch):
    """The first try was killed, and has left a credential that nobody has noted."""
    monkeypatch.setattr(targets, "time", rotated.clock())
    rotated.rotate()  # From now on each rotation makes the same calls, and so none is passed over.
    rotated.ahead += SLEEP
    made = next(crossing for crossing in count() if leaves_one(rotated, crossing))
    for crossing in count():
        late = rotated.stopped(crossing, finish_only=True)
        assert late is not None
        was_creating = rotated.journal.step is Step.CREATING
        rotated.rotate(timeout=5.0)
        os.kill(late.pid, signal.SIGCONT)
        late.join(PATIENCE)
        assert late.exitcode == 0
        rotated.recover()
        assert whole(rotated)
        if not was_creating:
            break
        assert leaves_one(rotated, made)
    assert crossing >= 2  # It took the hold, and let the system make one.


def leaves_one(rotated, crossing):
    """Whether who is killed after this has let the system make one, and not noted it."""
    assert rotated.killed(crossing, after=True)
    if rotated.journal.step is Step.CREATING and rotated.system.orphans(rotated.fields()):
        return True
    rotated.recover()
    return False


def test_who_has_died_is_not_waited_for(rotated):
    assert rotated.killed(rotated.system.crossings_least // 2 + 1, after=True)
    assert rotated.journal.lock_owner
    began = time.monotonic()
    rotated.recover()
    assert time.monotonic() < began + LOCK_TTL / 2
    assert whole(rotated)


def python(text, *before):
    command = [*before, sys.executable, "-c", f"from lessee.ops.rotate.lock_owner import *\n{text}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_who_cannot_be_seen_from_here_is_waited_for(bao, tmp_path):
    apart = python("print(new_owner_id())", "unshare", "--pid", "--fork", "--mount-proc")
    need(apart.returncode == 0, "needs the right to make PID namespaces: run as root")
    name = apart.stdout.strip()
    assert not has_exited(name)
    rotated = Rotated(bao, tmp_path, SYSTEMS["vault"](tmp_path))
    assert rotated.killed(SYSTEMS["vault"].crossings_least, after=True)
    until = time.time() + 1.5
    path = f"{rotated.environment}/{journal.FOLDER}{rotated.name}"
    held = replace(rotated.journal, lock_owner=name, locked_until=until)
    version = rotated.metadata(f"{journal.FOLDER}{rotated.name}")["current_version"]
    bao.ask("POST", f"secret/data/{path}", {"data": journal.written(held), "options": {"cas": version}})
    rotated.recover()
    assert time.time() >= until
    assert whole(rotated)


def test_a_holder_is_there_as_long_as_its_process():
    text = "import sys; print(new_owner_id(), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"from lessee.ops.rotate.lock_owner import *\n{text}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        name = process.stdout.readline().strip()
        assert not has_exited(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_exited(name)  # although nobody has taken note of its end yet
    assert has_exited(name)


def test_a_process_with_the_number_of_one_that_has_ended_is_another():
    machine, namespace, pid, started, own = new_owner_id().split(":")
    assert not has_exited(f"{machine}:{namespace}:{pid}:{started}:{own}")
    assert has_exited(f"{machine}:{namespace}:{pid}:{int(started) - 1}:{own}")


def test_a_process_of_another_user_that_proc_hides_has_not_left():
    ask = f"print(has_exited({new_owner_id()!r}))"
    hidden = python(ask, "unshare", "--mount", "sh", "-c", HIDDEN, "sh")
    need(hidden.returncode == 0, "needs the right to mount /proc: run as root")
    assert hidden.stdout.strip() == "False"


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("spelled", ["", "x", "-1", "0", "9" * 30, "٣", "\n", "../self"])
def test_a_name_that_makes_no_sense_is_of_somebody_who_may_be_there(part, spelled):
    parts = new_owner_id().split(":")
    parts[part] = spelled
    left = has_exited(":".join(parts))
    # A number that no process has is of none; a start that is not this one's was another process's.
    assert left is (part == 3)


@pytest.mark.parametrize("name", ["", ":", "::::", "a:b:c:d:e", "somebody", "{}:more"])
def test_what_is_no_name_of_ours_is_of_somebody_who_may_be_there(name):
    assert not has_exited(name.format(new_owner_id()))
