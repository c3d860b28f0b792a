"""Runs the program that makes a credential: a JWT, a secret_id, a wrapping token or a password."""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lessee.core.failures import Failure, Kind
from lessee.process.spawn import forget, program_environ, spawn
from lessee.vault.responses import RequestFailedError

if TYPE_CHECKING:
    import subprocess

TIMEOUT = 30.0
"""Seconds in which it must have printed the credential, and exited."""
MAX_OUTPUT = 64 * 1024
"""Bytes of a credential."""


class CredentialCommand:
    """A program and its arguments, started again at each login. What it prints is in no log and no error."""

    def __init__(self, command: Sequence[str], *, timeout: float = TIMEOUT) -> None:
        self._command, self._timeout = command, timeout

    @property
    def name(self) -> str:
        """For errors: the program without its arguments."""
        return f"the output of {self._command[0]}"

    def credential(self) -> str:
        """What it prints on stdout, without surrounding white space. Raises RequestFailedError.

        It gets no input and no shell, the variables that programs of the agent get, and no capability. What it has
        started ends with it.
        """
        import subprocess  # noqa: PLC0415  # Few logins start a program.

        deadline = time.monotonic() + self._timeout
        try:
            process = spawn(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=program_environ(os.environ),
                start_new_session=True,
                unprivileged=True,
            )
        except (OSError, ValueError) as exc:
            reason = (exc.strerror if isinstance(exc, OSError) else None) or "an argument holds a NUL"
            raise self._failed(Kind.DENIED, f"was not started: {reason}") from None
        try:
            output = self._collect(process, deadline)
        finally:
            _end(process)
        if process.returncode != 0:
            raise self._failed(Kind.UNAVAILABLE, f"failed with status {process.returncode}; {_TODO}")
        return self._checked(output)

    def fingerprint(self) -> bytes:
        """A text that changes with the program's file; what it would print is not known."""
        with suppress(OSError):
            found = os.stat(self._command[0])  # noqa: PTH116  # Asked every five seconds after a refusal.
            return f"{found.st_dev} {found.st_ino} {found.st_mtime_ns}".encode()
        return b""

    def _collect(self, process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
        """What it prints until it ends, also if a process that it started holds the output open."""
        assert process.stdout is not None
        output, pipe, ended = b"", process.stdout.fileno(), os.pidfd_open(process.pid)
        os.set_blocking(pipe, False)
        poll = select.poll()
        for descriptor in (pipe, ended):
            poll.register(descriptor, select.POLLIN)
        try:
            while len(output) <= MAX_OUTPUT:
                ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
                if not ready:
                    raise self._failed(Kind.UNAVAILABLE, f"was killed after {self._timeout:g} s; {_TODO}")
                chunk = b""
                with suppress(BlockingIOError):
                    chunk = os.read(pipe, MAX_OUTPUT + 1)
                output += chunk
                if not chunk and ended in ready:
                    return output
                if not chunk and pipe in ready:
                    poll.unregister(pipe)
            raise self._failed(Kind.DENIED, f"printed more than {MAX_OUTPUT} bytes")
        finally:
            os.close(ended)

    def _checked(self, output: bytes) -> str:
        try:
            text = output.decode().strip()
        except UnicodeDecodeError:
            raise self._failed(Kind.DENIED, "printed what is not UTF-8 text") from None
        if not text:
            raise self._failed(Kind.DENIED, "printed nothing on stdout")
        if not text.isprintable():
            raise self._failed(Kind.DENIED, "printed more than one line")
        return text

    def _failed(self, kind: Kind, what: str) -> RequestFailedError:
        return RequestFailedError(Failure(kind, f"no credential from {self._command[0]}: it {what}"))


_TODO = "run it as the agent's user to see why"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill all that is left of its session, and reap it."""
    assert process.stdout is not None
    process.stdout.close()
    # It was not reaped, so no other process can have its pid.
    with suppress(PermissionError, ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    forget(process)
