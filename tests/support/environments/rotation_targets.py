"""Rotation targets on real servers, rotated in this process, or in one that a signal interrupts at a chosen call."""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial, wraps
from heapq import merge
from itertools import count, groupby
from pathlib import Path
from types import SimpleNamespace

import yaml

from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.rotate import targets
from lessee.ops.rotate.documents import DocumentStore
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import admin_client
from lessee.vault.transport import Transport
from support.programs.forks import fork
from support.thorough import sampled

_CALLS = ("lessee.vault.transport:Transport.request",)
# Elsewhere on PATH `python3` may be a slow wrapper.
_PATH = os.pathsep.join([f"{sys.base_exec_prefix}/bin", os.environ["PATH"]])
TIMEOUT = 60.0
FUTURE_VERSION = 1_000_000
"""A version that no secret reaches: a consumer that has confirmed it never delays a rotation."""
SUSPENSION = 60.0
"""Seconds that pass for a suspended rotator: more than its lock's lifetime."""
_clock_offsets = []
"""Seconds that this process's clock is ahead, in parts."""


class StoppedClock:
    """The clock of rotations in this process, which advances only by what they wait: a busy machine makes none late."""

    def __init__(self, monkeypatch):
        self._now = time.time()
        monkeypatch.setattr(targets, "time", self)
        monkeypatch.setitem(globals(), "open_rotation", partial(open_rotation, sleep=self._sleep))

    def time(self):
        return self._now

    def _sleep(self, seconds):
        self._now += seconds


def sampled_calls(name, *, of, least):
    """Which calls of a rotation a test interrupts: a sample, and the last of those that it makes at least.

    `name`: of the kind, so that several kinds together are interrupted at all calls.
    """
    return (index for index, _ in groupby(merge(sampled(count(), of=of, key=name), [least - 1])))


class RotationTarget:
    """An OpenBao server, a system whose credentials are rotated, and a configuration with both."""

    def __init__(self, bao, folder, system, **settings):
        """`settings`: more keys of the target."""
        self.bao, self.folder, self.system = bao, Path(folder), system
        self.clock_offset = 0.0
        if hasattr(system, "attach"):  # The system is this server.
            system.attach(bao)
        self.environment = f"env-{os.urandom(4).hex()}"
        if hasattr(system, "serve"):  # The system reads a secret of the environment.
            system.serve(bao, self.environment)
        block = {"confirmation_timeout": "100ms", "revoke_delay": "0s", **system.target, **settings}
        self.name, self.secret_path = "target", block["secret"]
        self.config = {
            "environment": self.environment,
            "vault": {"address": bao.address, "auth": {"method": "token"}},
            "rotation": {self.name: block},
        }
        self._calls = (*_CALLS, *system.calls)
        self.write_config()
        for path, fields in system.secrets().items():
            # As after an earlier rotation, so that agents confirm the secret's versions.
            marker = {"rotation_count": 0} if path == self.secret_path else {}
            self.put(path, **fields, **marker)

    def write_config(self):
        (self.folder / "lessee.yaml").write_text(yaml.safe_dump(self.config))

    def put(self, path, **fields):
        return self.bao.put(f"{self.environment}/{path}", **fields)

    def fields(self, path=None, version=0):
        answer = self.bao.ask("GET", f"secret/data/{self.environment}/{path or self.secret_path}?version={version}")
        return answer["data"]["data"]

    def metadata(self, path=None):
        return self.bao.ask("GET", f"secret/metadata/{self.environment}/{path or self.secret_path}")["data"]

    @property
    def journal(self):
        with suppress(RuntimeError):  # The journal does not exist yet.
            return journal.parse(self.fields(f"{journal.FOLDER}{self.name}"))
        return journal.Journal()

    def expire_delete_delay(self):
        """Let the old credential be due for deletion."""
        self.change_journal(delete_at=time.time())

    def change_journal(self, **changes):
        """Change the journal, as if time had passed."""
        path = f"{self.environment}/{journal.FOLDER}{self.name}"
        expired = journal.serialize(replace(self.journal, **changes))
        version = self.metadata(f"{journal.FOLDER}{self.name}")["current_version"]
        self.bao.ask("POST", f"secret/data/{path}", {"data": expired, "options": {"cas": version}})

    def confirm(self, app="simba", instance="host-1", version=None):
        """Confirm a version, by default the newest, as the agent of an app does."""
        newest = version if version is not None else self.metadata()["current_version"]
        path = f"secret/metadata/{self.environment}/lessee/consumers/{app}/{instance}"
        self.bao.ask("POST", path, {"custom_metadata": {self.secret_path: str(newest)}})

    def rotate(self, **settings):
        """Rotate in this process, as a rotator of its own. Returns the outcome."""
        return rotate(self.folder, self.bao.address, self.name, settings)

    def rotate_and_kill(self, call_index, *, after, **settings):
        """Rotate in another process that is killed at this call, or after it. Whether it got to the call."""
        process = fork(_rotate_until, *self._job(settings), (*self._place(call_index), after), self.clock_offset)
        process.join(TIMEOUT)
        assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
        return process.exitcode != 0

    def rotate_and_kill_after(self, seconds, *, begun=False, **settings):
        """Rotate in another process that is killed after so many seconds. Whether it was still running.

        `begun`: they count from the start of its rotation.
        """
        own_timer = seconds if begun else None
        process = fork(_rotate_until, *self._job(settings), None, 0.0, own_timer)
        process.join(TIMEOUT if begun else seconds)
        process.kill()
        assert process.exitcode in {0, -signal.SIGKILL, -signal.SIGALRM}, process.exitcode
        return process.exitcode != 0

    def rotate_and_stop(self, call_index, **settings):
        """Rotate in another process that is suspended at this call; None if it did not get there.

        Then `clock_offset` is larger, so that its lock has expired: for this process's clock, and for its own when it
        continues.
        """
        place = (*self._place(call_index), False, signal.SIGSTOP)
        process = fork(_rotate_until, *self._job(settings), place, self.clock_offset)
        is_suspended = process.wait_until_suspended(TIMEOUT)
        self.clock_offset += SUSPENSION
        return process if is_suspended else None

    def clock(self):
        """The replacement of `targets.time` in a test that suspends processes."""
        return SimpleNamespace(time=lambda: time.time() + self.clock_offset)

    def rotate_concurrently(self, processes, threads, **settings):
        """Start so many rotators at the same time. Returns the outcome of each."""
        report = self.folder / "outcomes"
        starter = fork(_rotate_in_processes, report, self._job(settings), processes, threads)
        starter.join()
        assert starter.exitcode == 0
        return report.read_text().splitlines()

    def recover(self):
        """Finish an open rotation, as the next start does. Seconds until the published credential works."""
        began = time.monotonic()
        self.rotate(finish_only=True)
        assert self.system.accepts(self.fields())
        return time.monotonic() - began

    def _job(self, settings):
        """What another process needs, to rotate this target."""
        return getattr(self.system, "prepare", None), (str(self.folder), self.bao.address, self.name, settings)

    def _place(self, call_index):
        """Where a process is interrupted."""
        return self._calls, getattr(self.system, "counts_reads", False), call_index


def rotate(folder, address, name, settings):
    config = Path(folder) / "lessee.yaml"
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ADDR": address, "PATH": _PATH}
    project = Project(read(config, environ, blocks=("rotation",)), config, environ, Redactor())
    with ExitStack() as stack:
        client = stack.enter_context(admin_client(project.config.vault, environ, time.monotonic))
        return stack.enter_context(open_rotation(project, name, client)).run(**{"force": True, **settings})


def _rotate_until(prepare, job, place, clock_offset=0.0, seconds=None):
    """Rotate, until a signal arrives at the place, or after so many seconds."""
    if prepare is not None:
        prepare()
    _clock_offsets.append(clock_offset)
    targets.time = SimpleNamespace(time=lambda: time.time() + sum(_clock_offsets))
    if place is not None:
        _signal_at(*place)
    if seconds is not None:
        _kill_when_open(seconds)
    assert isinstance(rotate(*job), Outcome)


def _rotate_in_processes(report, job, processes, threads):
    """Write the outcome of each rotator to the file `report`."""
    forks = multiprocessing.get_context("fork")
    barrier, outcomes = forks.Barrier(processes * threads), forks.SimpleQueue()
    arguments = (*job, threads, barrier, outcomes)
    started = [forks.Process(target=_rotate_in_threads, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes
    report.write_text("\n".join(outcomes.get() for _ in range(processes * threads)))


def _rotate_in_threads(prepare, job, threads, barrier, outcomes):
    if prepare is not None:
        prepare()

    def run():
        try:
            barrier.wait(TIMEOUT)
            outcomes.put(rotate(*job).name)
        except Exception as exc:  # noqa: BLE001  # Any error is this rotator's outcome.
            outcomes.put(repr(exc))

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _signal_at(calls, counts_reads, call_index, after, number=signal.SIGKILL):
    """Let the process get this signal at the call of this index among `calls`, or when it has returned.

    `counts_reads`: requests that only read a document count too. All kinds share that code, so the tests of one fast
    kind are enough; and a kill there equals a kill after the call before.
    """
    left = count(call_index, -1)
    for spelled in calls:
        module, _, path = spelled.partition(":")
        *parents, name = path.split(".")
        owner = importlib.import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        counts = _counts_all if counts_reads or owner is not Transport else _counts_changes
        setattr(owner, name, _with_signal(getattr(owner, name), counts, left, after, number))


def _counts_all(*_):
    return True


def _counts_changes(_, method, path, *__):
    return method != "GET" or path.startswith("auth/")


def _kill_when_open(seconds):
    """Let the kernel kill the process `seconds` after its journal says that a rotation is open."""
    inner, armed = DocumentStore.write, []

    def write(self, path, fields, *arguments):
        version = inner(self, path, fields, *arguments)
        if fields.get("step") in {Step.CREATING.value, Step.CREATED.value} and not armed:
            armed.append(True)
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        return version

    DocumentStore.write = write


def _with_signal(inner, counts, left, after, number):
    @wraps(inner)
    def call(*arguments, **settings):
        here = counts(*arguments) and next(left) == 0
        if here and not after:
            os.kill(os.getpid(), number)
            _clock_offsets.append(SUSPENSION)
        try:
            return inner(*arguments, **settings)
        finally:
            if here and after:
                os.kill(os.getpid(), number)

    return call
