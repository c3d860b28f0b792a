"""Imports what a process of lessee imports, once for all processes that it forks: the other side of `forks.py`."""

import ctypes
import encodings.idna  # noqa: F401  # Imported for its forks, as all below.
import gc
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pkgutil import walk_packages

import jsonpath  # noqa: F401
import minio.crypto  # noqa: F401
import psycopg  # noqa: F401
import pymysql.cursors  # noqa: F401
import redis  # noqa: F401

import lessee
import support.environments.rotation_targets  # noqa: F401
from lessee.config.grammar import OPERATOR_BLOCKS
from lessee.core.credentials import s3
from lessee.host.project import read
from lessee.ops.rotate import kinds
from support.paths import ROOT

for module in walk_packages(lessee.__path__, "lessee."):
    if not module.name.endswith(".__main__"):
        import_module(module.name)

_LOGIN = s3("unused", {"endpoint": "127.0.0.1:1", "access_key": "unused", "secret_key": "unused"}, bucket=False)

# The library reads the description of each service once for all clients.
for service in ("s3", "iam"):
    kinds.aws.client(service, _LOGIN, kinds.aws.REGION).close()

# The grammar inspects the type of each key once.
for example in ("monitoring", "rotation", "simba"):
    read(ROOT / "compose" / example / "lessee/lessee.yaml", {}, blocks=OPERATOR_BLOCKS)

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class _Forks:
    """Forks a process for each request, and reports when one exits or is suspended. It has no threads."""

    def __init__(self, connection):
        self._connection = connection
        # A signal interrupts no select(2) that has not begun, but a byte in a pipe does.
        self._signals, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self):
        """Serve until the other side ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ, self._report)
            selector.register(self._connection, selectors.EVENT_READ, self._fork)
            with suppress(EOFError, BrokenPipeError):
                while True:
                    for key, _ in selector.select():
                        key.data()

    def _report(self):
        os.read(self._signals, 4096)
        with suppress(ChildProcessError):
            while (report := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
                self._connection.send(report)

    def _fork(self):
        function, arguments = self._connection.recv()
        pid = os.fork()
        if not pid:
            self._run(function, arguments)
        self._connection.send((pid, None))

    def _run(self, function, arguments):
        """Be the new process. It ends here, so that it never serves."""
        code = 1
        try:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._connection.close()
            function(*arguments)
            code = 0
        except SystemExit as exc:
            code = exc.code
        except BaseException:  # noqa: BLE001  # Its exit status says so.
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    # Forks share this memory until one of them collects garbage in it.
    gc.collect()
    gc.freeze()
    _Forks(Connection(int(sys.argv[1]))).serve()
