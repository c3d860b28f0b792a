"""Serves a credential socket: systemd reads an app's file there, while it starts a unit with LoadCredential=.

systemd has no sign for an error: whatever it has read when the connection ends is the credential, even if that is
nothing. So the agent accepts a connection only when it has the answer, and a refused unit gets more than the kernel of
systemd takes, so that it fails to start. Until then connections wait in the queue of the socket, where the end of the
agent is an error for them too. A socket that systemd made outlives the agent, and its queue with it.
"""

import os
import select
import socket
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore, Thread

from lessee.config import CredentialSocket
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.host.unix_listener import inherited_socket, opening_socket
from lessee.read_api import credential_reads
from lessee.read_api.policy.units import CredentialRequest, refusal, request_of
from lessee.read_api.server import Source, peer_of
from lessee.telemetry.logs import log

MAX_SIZE = 1024 * 1024 - 1
"""Bytes of a credential; of more, systemd starts no unit (CREDENTIAL_SIZE_MAX in its source)."""
_MODE = 0o600
_QUEUE = 1024
"""Units that wait at the same time."""
_MAX_CLIENTS = 64
_REFUSAL_TIMEOUT = 10.0
_RETRY = 0.1


class CredentialServer:
    """The credential socket of one app."""

    def __init__(self, app: str, settings: CredentialSocket, source: Source) -> None:
        """Raises WriteError."""
        self._app, self._settings, self._source = app, settings, source
        path = Path(settings.path)
        inherited = inherited_socket(path)
        self._listener = inherited or _open(path, f"apps.{app}.credentials.socket")
        self._listener.setblocking(False)
        self._is_inherited = inherited is not None
        self._stopped = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._free = BoundedSemaphore(_MAX_CLIENTS)

    def serve_forever(self, poll_interval: float) -> None:
        """Answer whenever a generation is published; return after `stop`."""
        del poll_interval
        try:
            while self._await_generation() and self._await(self._listener.fileno()):
                self._accept()
        finally:
            self._listener.close()
            os.close(self._stopped)

    def stop(self) -> None:
        """Stop. Without a socket from systemd, units that wait fail, and systemd starts them again as they say."""
        os.eventfd_write(self._stopped, 1)
        if not self._is_inherited:
            with suppress(OSError):
                Path(self._settings.path).unlink()

    def _await_generation(self) -> bool:
        with self._source.changes() as change:
            # A generation may have been published before the changes were watched.
            while (values := self._source.values(self._app)) is None or values.published is None:
                if not self._await(change):
                    return False
                os.eventfd_read(change)
        return True

    def _await(self, descriptor: int, timeout: float | None = None) -> bool:
        """Wait until this descriptor can be read, or for so many seconds. False: it is time to stop."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._stopped, select.POLLIN)
        return self._stopped not in {ready for ready, _ in poll.poll(timeout and timeout * 1000)}

    def _accept(self) -> None:
        self._free.acquire()
        try:
            connection, address = self._listener.accept()
        except OSError:  # Another process was faster, or this one has no descriptor left.
            self._free.release()
            self._await(self._stopped, _RETRY)
            return
        Thread(target=self._serve, args=(connection, address), name="lessee-credential", daemon=True).start()

    def _serve(self, connection: socket.socket, address: bytes | str) -> None:
        try:
            with connection, suppress(OSError):
                self._answer(connection, request_of(address))
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket, request: CredentialRequest | None) -> None:
        unit, credential = (request.unit, request.credential) if request is not None else ("", "")
        peer = peer_of(connection)
        cgroups = procfs.cgroup(peer.pid)
        reason = refusal(request, self._settings.units, uid=peer.uid, own_uid=os.geteuid(), cgroups=cgroups)
        now = boot_time()  # What is published later is not read here.
        values = self._source.values(self._app)
        published = values.published if values is not None else None
        content = published.files.get(credential) if published is not None else None
        if not reason and content is None:
            reason = "no file of the app has this name"
        if content is not None and len(content) > MAX_SIZE:
            reason = f"the file has {len(content)} bytes, and a credential at most {MAX_SIZE}"
        if reason or content is None or published is None:
            log("warning", "credential refused", app=self._app, unit=unit, credential=credential, reason=reason)
            connection.settimeout(_REFUSAL_TIMEOUT)
            connection.sendall(bytes(MAX_SIZE + 1))
            return
        # Without a timeout: the end of the connection would be the end of the credential.
        connection.sendall(content)
        credential_reads.note(self._app, unit, credential, now)
        log("info", "credential sent", app=self._app, unit=unit, credential=credential, generation=published.number)


def _open(path: Path, key: str) -> socket.socket:
    with opening_socket(path, _MODE, name="the credential socket", key=key, directory_mode=0o711):
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
            listener.listen(_QUEUE)
        except OSError:
            listener.close()
            raise
    return listener
