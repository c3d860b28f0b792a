"""A person before a terminal: what is typed reaches a real program, and what it shows is seen."""

import codecs
import os
import select
import subprocess
import sys
from contextlib import suppress

from support.programs.sidecar import PATIENCE, eventually

# Who runs the tests in a background ignores SIGINT, and who is started there would too. A terminal on stdin becomes
# that of the program's session.
_LAUNCH = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def as_by_a_person(*command):
    """The command, to be started as the leader of a session, that hears Ctrl-C."""
    return [sys.executable, "-c", _LAUNCH, *command]


class Terminal:
    """A terminal of its own with a program that leads its session."""

    def __init__(self, *command, **settings):
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            as_by_a_person(*command), stdin=slave, stdout=slave, stderr=slave, start_new_session=True, **settings
        )
        os.close(slave)
        self._seen = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # A read may end within a character.

    def type(self, text):
        os.write(self._master, text.encode())

    def until(self, text):
        """Wait for this on the screen; it is forgotten with what was before it, which is given."""

        def look():
            if not self._read() and text not in self._seen:
                raise AssertionError(f"{text!r} was never said by {self.process.args}")
            return text in self._seen

        try:
            eventually(look, repr(text))
        except AssertionError as exc:
            raise AssertionError(f"{exc}; the screen says {self._seen!r}") from None
        before, _, self._seen = self._seen.partition(text)
        return before

    def end(self, patience=PATIENCE):
        """Wait for its end; its exit code. What it shows meanwhile is read: a full terminal would stop it."""

        def ended():
            self._read()
            return self.process.poll() is not None

        eventually(ended, f"the end of {self.process.args}", patience)
        return self.process.returncode

    def interrupt(self):
        """Type Ctrl-C; the exit code. One that arrives just before read(2), which Python misses, is typed again."""
        self.type("\x03")
        with suppress(AssertionError):
            return self.end(10)
        self.type("\x03")
        return self.end()

    def _read(self):
        """What the program shows within a moment; false once it has closed the terminal."""
        if select.select([self._master], [], [], 0.05)[0]:
            try:
                self._seen += self._decode(os.read(self._master, 4096))
            except OSError:
                return False
        return True

    def close(self):
        os.close(self._master)  # which hangs up
        self.process.kill()
        self.process.wait()
