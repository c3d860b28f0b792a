"""Rotation targets on real servers, driven in this process, or in one that is killed at an exact moment."""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import wraps
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

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
from support.paths import TESTS
from support.programs.sidecar import eventually

_CALLS = ("lessee.vault.transport:Transport.request",)
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["rotated", "support.programs.warm_fork"])
PATIENCE = 60.0
AHEAD = 1_000_000
"""A version that is never reached: who has confirmed it has confirmed them all, and nobody waits for him."""
SLEEP = 60.0
"""Seconds for which one who stands still seems to do so: longer than a hold."""
_ahead = []
"""Seconds by which this process's clock is ahead."""


class Rotated:
    """An OpenBao, a system whose credentials are rotated, and the configuration that names both."""

    def __init__(self, bao, folder, system, **settings):
        """`settings`: further keys of the target."""
        self.bao, self.folder, self.system = bao, Path(folder), system
        self.ahead = 0.0
        if hasattr(system, "attach"):  # It lies in this very server.
            system.attach(bao)
        self.environment = f"env-{os.urandom(4).hex()}"
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
            # It has been rotated before, and so its readers have been able to confirm.
            told = {"rotation_count": 0} if path == self.secret_path else {}
            self.put(path, **fields, **told)

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
        with suppress(RuntimeError):  # There is none yet.
            return journal.read(self.fields(f"{journal.FOLDER}{self.name}"))
        return journal.Journal()

    def let_it_be_kept_no_longer(self):
        """As if the time were over for which the old credential is kept."""
        path = f"{self.environment}/{journal.FOLDER}{self.name}"
        over = journal.written(replace(self.journal, delete_at=time.time()))
        version = self.metadata(f"{journal.FOLDER}{self.name}")["current_version"]
        self.bao.ask("POST", f"secret/data/{path}", {"data": over, "options": {"cas": version}})

    def confirm(self, app="simba", instance="host-1", version=None):
        """As the agent of an app does; with the newest version if None is said."""
        newest = version if version is not None else self.metadata()["current_version"]
        path = f"secret/metadata/{self.environment}/lessee/consumers/{app}/{instance}"
        self.bao.ask("POST", path, {"custom_metadata": {self.secret_path: str(newest)}})

    def rotate(self, **settings):
        """In this process, as a rotator of its own. What came of it."""
        return rotate(self.folder, self.bao.address, self.name, settings)

    def killed(self, crossing, *, after, **settings):
        """In another process, killed at this crossing, or just after it. Whether it came so far."""
        process = _process(_killed, (*self._where(settings), (*self._mine(crossing), after), self.ahead))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
        return process.exitcode != 0

    def killed_at(self, seconds, *, begun=False, **settings):
        """In another process, killed after so many seconds. Whether it was still there.

        `begun`: they count from when its rotation is open.
        """
        of_its_own = seconds if begun else None
        process = _process(_killed, (*self._where(settings), None, 0.0, of_its_own))
        process.start()
        process.join(PATIENCE if begun else seconds)
        process.kill()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL, -signal.SIGALRM}, process.exitcode
        return process.exitcode != 0

    def stopped(self, crossing, **settings):
        """Another process that stands still at this crossing; None if it did not come so far.

        Since then `self.ahead` is more, by so much that its hold is over: for this process's clock, and for its own
        when it goes on.
        """
        mine = (*self._mine(crossing), False, signal.SIGSTOP)
        process = _process(_killed, (*self._where(settings), mine, self.ahead))
        process.start()
        eventually(lambda: not process.is_alive() or _stands_still(process.pid), patience=PATIENCE)
        self.ahead += SLEEP
        return process if process.is_alive() else None

    def clock(self):
        """What `targets.time` is to be in a test that stops processes."""
        return SimpleNamespace(time=lambda: time.time() + self.ahead)

    def at_once(self, processes, threads, **settings):
        """So many rotators that begin together. What came of each."""
        barrier, found = _FORKS.Barrier(processes * threads), _FORKS.SimpleQueue()
        arguments = (*self._where(settings), threads, barrier, found)
        started = [_process(_several, arguments) for _ in range(processes)]
        for process in started:
            process.start()
        for process in started:
            process.join()
        assert [process.exitcode for process in started] == [0] * processes
        return [found.get() for _ in range(processes * threads)]

    def recover(self):
        """As the next start does: bring to an end what has begun. Seconds until the published credential works."""
        began = time.monotonic()
        self.rotate(finish_only=True)
        assert self.system.lets_in(self.fields())
        return time.monotonic() - began

    def _where(self, settings):
        """What another process needs, to rotate the same target."""
        return getattr(self.system, "prepare", None), (str(self.folder), self.bao.address, self.name, settings)

    def _mine(self, crossing):
        return self._calls, getattr(self.system, "reads", False), crossing


def _process(target, arguments):
    """A process with all that `warm_fork` has read: whoever forks it looks for modules where PYTHONPATH says, alone."""
    with patch.dict(os.environ, PYTHONPATH=str(TESTS)):
        forkserver.ensure_running()
    return _FORKS.Process(target=target, args=arguments)


def rotate(folder, address, name, settings):
    config = Path(folder) / "lessee.yaml"
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ADDR": address, "PATH": os.environ["PATH"]}
    project = Project(read(config, environ, blocks=("rotation",)), config, environ, Redactor())
    with ExitStack() as stack:
        client = stack.enter_context(admin_client(project.config.vault, environ, time.monotonic))
        return stack.enter_context(open_rotation(project, name, client)).run(**{"force": True, **settings})


def _killed(prepare, where, mine, ahead=0.0, seconds=None):
    assert "support.programs.warm_fork" in sys.modules
    if prepare is not None:
        prepare()
    _ahead.append(ahead)
    targets.time = SimpleNamespace(time=lambda: time.time() + sum(_ahead))
    if mine is not None:
        _lay(*mine)
    if seconds is not None:
        _end_when_begun(seconds)
    assert isinstance(rotate(*where), Outcome)


def _several(prepare, where, threads, barrier, found):
    if prepare is not None:
        prepare()

    def one():
        try:
            barrier.wait(PATIENCE)
            found.put(rotate(*where).name)
        except Exception as exc:  # noqa: BLE001  # Whatever it is, it is what came of this one.
            found.put(repr(exc))

    running = [threading.Thread(target=one) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _stands_still(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _lay(calls, reads, crossing, after, number=signal.SIGKILL):
    """Let the process get this signal when it calls one of these for the so manyeth time, or has just come back.

    `reads`: what but reads a document counts too. The engine does that for all kinds alike, and so the tests of one
    that is fast are enough; and to be killed there is to be killed after the call before.
    """
    left = count(crossing, -1)
    for spelled in calls:
        module, _, path = spelled.partition(":")
        *parents, name = path.split(".")
        owner = importlib.import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        counts = _counts_all if reads or owner is not Transport else _counts_changes
        setattr(owner, name, _mined(getattr(owner, name), counts, left, after, number))


def _counts_all(*_):
    return True


def _counts_changes(_, method, path, *__):
    return method != "GET" or path.startswith("auth/")


def _end_when_begun(seconds):
    """Let the process end so long after it has noted that a rotation is open: by the kernel, whatever it does then."""
    inner, armed = DocumentStore.write, []

    def write(self, path, fields, *arguments):
        version = inner(self, path, fields, *arguments)
        if fields.get("step") in {Step.CREATING.value, Step.CREATED.value} and not armed:
            armed.append(True)
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        return version

    DocumentStore.write = write


def _mined(inner, counts, left, after, number):
    @wraps(inner)
    def call(*arguments, **settings):
        here = counts(*arguments) and next(left) == 0
        if here and not after:
            os.kill(os.getpid(), number)
            _ahead.append(SLEEP)
        try:
            return inner(*arguments, **settings)
        finally:
            if here and after:
                os.kill(os.getpid(), number)

    return call
