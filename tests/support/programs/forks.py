"""Processes that are forked from one that has imported everything, in milliseconds: see `warm_fork.py`."""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache, partial
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue

import lessee.cli
from support.paths import TESTS

PATIENCE = 150.0
"""Seconds: a bound only for what never happens, so that a busy machine fails no test."""


_MAIN = str(Path(lessee.cli.__file__).parent.with_name("__main__.py"))
"""The first word of `python -m lessee`."""


class Fork:
    """A process that calls a function, and then exits with 0."""

    def __init__(self, pid):
        self.pid, self._changed = pid, threading.Condition()
        self.exitcode = None
        """As of `subprocess`: None while it runs, negative after a signal."""
        self._is_suspended = False

    def join(self, timeout=None):
        """Wait until it exits, or for so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.exitcode is not None, timeout)

    def wait_until_suspended(self, timeout):
        """Wait until it is suspended or exits. Whether it is suspended."""
        with self._changed:
            self._changed.wait_for(lambda: self.exitcode is not None or self._is_suspended, timeout)
        assert self.exitcode is not None or self._is_suspended, f"process {self.pid} runs after {timeout} s"
        return self.exitcode is None

    def wait(self, timeout=None):
        """Wait until it exits, and return its exit code. Raises TimeoutExpired."""
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout)
        return self.exitcode

    def poll(self):
        """Its exit code, None while it runs."""
        return self.exitcode

    @property
    def returncode(self):
        return self.exitcode

    def send_signal(self, number):
        if self.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        if self.exitcode is not None:
            return
        with suppress(ProcessLookupError):  # It is reaped, and its report is on the way.
            os.kill(self.pid, signal.SIGKILL)
        self.join()

    def note(self, status):
        """Note a status as waitpid(2) reports it."""
        with self._changed:
            self._is_suspended = os.WIFSTOPPED(status)
            if not self._is_suspended:
                self.exitcode = os.waitstatus_to_exitcode(status)
            self._changed.notify_all()


class _Server:
    """The process that they are forked from; `under` starts it elsewhere, such as in another network."""

    def __init__(self, under):
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [*under, sys.executable, "-m", "support.programs.warm_fork", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(TESTS)},
                stdin=subprocess.DEVNULL,
            )
        self._starting, self._started = threading.Lock(), SimpleQueue()
        threading.Thread(target=self._read_reports, daemon=True).start()
        atexit.register(self._stop)

    def start(self, function, arguments):
        with self._starting:
            self._connection.send((function, arguments))
            new = self._started.get()
            assert new, f"warm_fork has exited with {self._process.wait()}"
            return new

    def _read_reports(self):
        running = {}
        while True:
            try:
                pid, status = self._connection.recv()
            except (EOFError, OSError):
                self._started.put(None)
                return
            else:
                if status is None:
                    self._started.put(running.setdefault(pid, Fork(pid)))
                    continue
                running[pid].note(status)
                if running[pid].exitcode is not None:
                    del running[pid]

    def _stop(self):
        self._process.kill()  # And with it the processes that it has forked.
        self._process.wait()


@cache
def _server(under=()):
    return _Server(under)


def fork(function, *arguments, under=()):
    """Call the function in a new process, which gets the arguments and nothing else from this one."""
    return _server(tuple(under)).start(function, arguments)


def run_lessee(*arguments, cwd, env, text="", program="", under=(), timeout=PATIENCE):
    """Run a command of lessee with this text on its stdin, as `subprocess.run` does, in a fraction of the time.

    Its process was forked, so that it has imported everything, and its name is another. What Python itself reads from
    the environment needs a process of its own. `program`: the text of a program that changes lessee and calls it.
    `under`: a command that starts a program elsewhere, such as in another network. It is used once for all runs.
    """
    if any(name.startswith("PYTHON") for name in env):
        command = [*under, sys.executable, *(("-c", program) if program else ("-m", "lessee")), *arguments]
        where = {"cwd": cwd, "env": env, "input": text, "text": True, "timeout": timeout}
        return subprocess.run(command, **where, capture_output=True, check=False)
    main, name = (partial(_run, program), "-c") if program else (_lessee, _MAIN)
    return run_main(main, name, *arguments, cwd=cwd, env=env, text=text, under=under, timeout=timeout)


def _lessee():
    return lessee.cli.main(sys.argv[1:])


def _run(program):
    exec(program, {"__name__": "__main__"})  # noqa: S102  # As `python -c` does.


def run_main(main, *words, cwd, env, text="", under=(), timeout=PATIENCE):
    """Run a program's main function in a forked process, with these words as its `sys.argv`: see `run_lessee`."""
    with tempfile.TemporaryDirectory(prefix="lessee-test-") as folder:
        given, *outputs = streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        given.write_text(text)
        process = start_main(main, *words, cwd=cwd, env=env, streams=streams, under=under)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout, *(file.read_text() for file in outputs))
        return subprocess.CompletedProcess(words, process.exitcode, *(file.read_text() for file in outputs))


def start_lessee(*arguments, cwd, env, streams, program=""):
    """Start a command of lessee that runs until it is stopped: see `run_lessee` and `start_main`.

    It continues in a fork, as each process of lessee does.
    """
    main, name = (partial(_run, program), "-c") if program else (lessee.cli.main, _MAIN)
    return start_main(main, name, *arguments, cwd=cwd, env=env, streams=streams)


def start_main(main, *words, cwd, env, streams, under=()):
    """Start it. `streams`: the files of its stdin, stdout and stderr."""
    return fork(_be_program, main, words, cwd, env, streams, under=under)


def _be_program(main, words, folder, environ, streams):
    """Be the process of `python -m` with such a program, or of `python -c`."""
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    os.chdir(folder)
    for number, (name, file) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY, 0o600), number)
        # As Python opens them where the environment has no language.
        errors = "backslashreplace" if name == "stderr" else "surrogateescape"
        mode = "w" if number else "r"
        setattr(sys, name, open(number, mode, encoding="utf-8", errors=errors, closefd=False))  # noqa: SIM115
    sys.argv = list(words)
    # An agent that restarts in place repeats them.
    sys.orig_argv = [sys.executable, "-m", "lessee", *words[1:]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        raise SystemExit(main())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
