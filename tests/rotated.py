"""Rotation targets on real servers, driven in this process, or in one that is killed at an exact moment."""

import importlib
import multiprocessing
import os
import signal
import time
from contextlib import ExitStack, suppress
from functools import wraps
from itertools import count
from pathlib import Path

import yaml

from lessee.core.record import replace
from lessee.core.redaction import Redactor
from lessee.core.rotation import journal
from lessee.core.rotation.deciding import Outcome
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.rotation.targets import Project, rotator
from lessee.vault.operator import operator

_CALLS = ("lessee.vault.door:Door.ask",)
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["lessee.rotation.targets", "lessee.host.project", "yaml", "botocore.session", "minio.crypto"]
)
PATIENCE = 60.0


class Rotated:
    """An OpenBao, a system whose credentials are rotated, and the configuration that names both."""

    def __init__(self, bao, folder, system, **settings):
        """`settings`: further keys of the target."""
        self.bao, self.folder, self.system = bao, Path(folder), system
        self.environment = f"env-{os.urandom(4).hex()}"
        block = {"confirm_within": "100ms", **system.target, **settings}
        self.name, self.secret_path = "target", block["secret"]
        self.config = {
            "environment": self.environment,
            "vault": {"address": bao.address, "auth": {"method": "token"}},
            "rotation": {self.name: block},
        }
        self._calls = (*_CALLS, *system.calls)
        self.write_config()
        for path, fields in system.secrets().items():
            self.put(path, **fields)

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
        over = journal.written(replace(self.journal, keep_until=time.time()))
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
        process = _FORKS.Process(
            target=_killed,
            args=(str(self.folder), self.bao.address, self.name, settings, (self._calls, crossing, after)),
        )
        process.start()
        process.join(PATIENCE)
        assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
        return process.exitcode != 0

    def killed_at(self, seconds, **settings):
        """In another process, killed after so many seconds. Whether it was still there."""
        arguments = (str(self.folder), self.bao.address, self.name, settings, None)
        process = _FORKS.Process(target=_killed, args=arguments)
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode != 0

    def recover(self):
        """As the next start does: bring to an end what has begun. Seconds until the published credential works."""
        began = time.monotonic()
        self.rotate(open_only=True)
        assert self.system.lets_in(self.fields())
        return time.monotonic() - began


def rotate(folder, address, name, settings):
    config = Path(folder) / "lessee.yaml"
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ADDR": address, "PATH": os.environ["PATH"]}
    project = Project(read(config, environ, blocks=("rotation",)), config, environ, Redactor())
    with ExitStack() as stack:
        asking = stack.enter_context(operator(project.config.vault, environ, time.monotonic))
        return stack.enter_context(rotator(project, name, asking)).run(**{"force": True, **settings})


def _killed(folder, address, name, settings, mine):
    if mine is not None:
        _lay(*mine)
    assert isinstance(rotate(folder, address, name, settings), Outcome)


def _lay(calls, crossing, after):
    """Let the process be killed when it calls one of these for the so manyeth time, or has just come back."""
    left = count(crossing, -1)
    for spelled in calls:
        module, _, path = spelled.partition(":")
        *parents, name = path.split(".")
        owner = importlib.import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        setattr(owner, name, _mined(getattr(owner, name), left, after))


def _mined(inner, left, after):
    @wraps(inner)
    def call(*arguments, **settings):
        here = next(left) == 0
        if here and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return inner(*arguments, **settings)
        finally:
            if here:
                os.kill(os.getpid(), signal.SIGKILL)

    return call
