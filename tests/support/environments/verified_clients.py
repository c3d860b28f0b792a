"""Clients that log in continuously while their credential is rotated: agents render the files of both sides."""

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.environments.rotation_targets import RotationTarget
from support.programs.sidecar import Sidecar, eventually

REVOKE_DELAY = 2.0
"""Seconds for which an old credential is valid after the last confirmation: a client may have read it just before."""


class Clients:
    """A thread that logs in with what its file has."""

    def __init__(self, system, file):
        self._system, self._file = system, file
        self.logins, self.failures, self.used = 0, [], set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stopping.is_set():
            fields, began = json.loads(self._file.read_text()), time.monotonic()
            accepted = self._system.accepts(fields)
            took = time.monotonic() - began
            self.logins += 1
            self.used.add(self._system.id_of(fields))
            # On a busy machine a login may take longer than an old credential is valid.
            if not accepted and took < REVOKE_DELAY / 2:
                self.failures.append((self._system.id_of(fields), took))

    def stop(self):
        self._stopping.set()
        self._thread.join()


@contextmanager
def verified_clients(bao, folder, memory, kind):
    """A target whose verifier and clients have an agent, and its clients. Yields both, after the first rotation."""
    folder, memory = Path(folder), Path(memory)
    server, client = memory / "verifier", memory / "client"
    with ExitStack() as stack:
        system = stack.enter_context(kind.started(folder, server / kind.file))()
        target = RotationTarget(
            bao,
            folder,
            system,
            confirmation_timeout="5m",
            revoke_delay=f"{REVOKE_DELAY:g}s",
            verifiers=["verifier"],
            consumers=["client"],
        )
        agent = Sidecar(bao.address, folder / "agent", memory, environment=target.environment)
        agent.disk.mkdir()
        stack.callback(agent.close)
        (agent.disk / "verifier.j2").write_text(system.template)
        (agent.disk / "client.j2").write_text(f'{{{{ secret("{kind.secret}") | json }}}}')
        files = {
            "verifier": {"template": "verifier.j2", "name": kind.file, "format": kind.format},
            "client": {"template": "client.j2", "name": "client.json"},
        }
        agent.config["apps"] = {
            app: {"directory": str(memory / app), "refresh_interval": "200ms", "files": [file]}
            for app, file in files.items()
        }
        agent.config["environment"] = target.environment
        agent.start(wait=False)
        target.rotate()
        file = client / "client.json"
        eventually(lambda: file.exists() and system.accepts(json.loads(file.read_text())), "the first login")
        clients = Clients(system, file)
        stack.callback(clients.stop)
        yield target, clients
