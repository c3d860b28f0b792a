"""A real agent in a directory of its own, and a real app that reads its files."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import yaml

from lessee.agent.machine.status import fields
from lessee.host.openbao import ROOT_TOKEN
from lessee.status.client import UnixConnection, request_status
from support.programs.forks import PATIENCE, run_lessee, start_lessee
from support.reference.status import check_declared

APP = """
import ctypes, signal, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
def say(*_):
    text = " ".join(open(path).read().strip() for path in sys.argv[2:])
    print(text, flush=True)
signal.signal(signal.SIGHUP, say)
say()
while True:
    time.sleep(0.05)  # Python runs the handler of a signal that arrives just before pause(2) only with the next one.
"""


def eventually(check, what="it", patience=PATIENCE):
    """Wait for another process: check until the result is truthy."""
    began = time.monotonic()
    while not (answer := check()):
        waited = time.monotonic() - began
        assert waited < patience, f"{what} was not true within {patience} s"
        # A check may cost milliseconds of the processor on which all other tests run.
        time.sleep(min(0.005 + waited / 20, 0.1))
    return answer


def pass_by(seconds):
    """Wait, where the elapsed time itself is under test."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end, "the deadline")


def fork_of(process):
    """The pid of the process that holds the secrets: a started lessee continues in a fork.

    Raises ProcessLookupError if the process has ended.
    """

    def look():
        if process.poll() is not None:
            raise ProcessLookupError(f"the process {process.pid} has ended with {process.returncode}")
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    return int(eventually(look, "its fork")[0])


class Running:
    """A lessee that runs until it is stopped: its `process`, its `log`, and its `socket`."""

    @property
    def pid(self):
        """The pid of the process that holds the secrets."""
        return fork_of(self.process)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def status(self):
        return request_status(self.socket, "GET", "/status.json")

    def get(self, path):
        """The status code and the text of one response."""
        with closing(UnixConnection(self.socket, PATIENCE)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def until(self, check, patience=PATIENCE):
        """Wait until the status satisfies `check`. A failure contains the last status and the log."""
        last = None

        def look():
            nonlocal last
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()}"
            with suppress(Exception):  # It is not up yet.
                last = self.status()
                return last if check(last) else None

        try:
            return eventually(look, "the wanted status", patience)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log.read_text()}\n{json.dumps(last)}") from None

    def events(self):
        """The parsed log: one event per line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Sidecar(Running):
    """`lessee run` and one-shot commands with a configuration of the test's own."""

    is_forked = False
    """Whether the agent is forked, see `forks.py`: its memory and the name of its process are others."""

    def __init__(self, address, disk, memory, *, environment="testing"):
        self.disk, self.memory = disk, memory
        self.state, self.directory = memory / "state", memory / "web"
        self.process, self.log = None, disk / "agent.log"
        self.environ = {
            "PATH": os.environ["PATH"],
            "VAULT_TOKEN": ROOT_TOKEN,
            "LESSEE_ENVIRONMENT": environment,
            "HOME": str(disk),
        }
        self.config = {
            "vault": {"address": address},
            "state_dir": str(self.state),
            "apps": {"web": {"directory": str(self.directory), "refresh_interval": "200ms", "files": []}},
        }

    @property
    def socket(self):
        return self.state / "status.sock"

    def status(self):
        return check_declared(super().status(), fields, "RunningAgentStatus")

    @property
    def web(self):
        return self.config["apps"]["web"]

    def template(self, name, text, **settings):
        """Write a template, and add a file rendered from it to the app `web`."""
        (self.disk / name).write_text(text)
        self.web["files"] = [file for file in self.web["files"] if file["template"] != name]
        self.web["files"].append({"template": name, **settings})

    def log_in_by_approle(self, server, policy):
        """Log in with a role and a policy of its own from now on."""
        files = {"role_id_file": self.disk / "role_id", "secret_id_file": self.disk / "secret_id"}
        for file, value in zip(files.values(), server.approle(self.disk.name, policy), strict=True):
            file.write_text(value)
        self.config["vault"]["auth"] = {"method": "approle"} | {key: str(file) for key, file in files.items()}

    def write_config(self):
        (self.disk / "lessee.yaml").write_text(yaml.safe_dump(self.config))

    def command(self, *arguments, env=None, timeout=PATIENCE, before=(), text=None, stdin=None):
        """Run a one-shot command. `before`: a command that runs it. `text`, or the file `stdin`: what it reads."""
        where = {"cwd": self.disk, "env": self.environ | (env or {}), "timeout": timeout}
        # `exec` is replaced by the app's program, in the process that was started.
        if not before and stdin is None and arguments[0] != "exec":
            return run_lessee(*map(str, arguments), text=text or "", **where)
        command = [*before, sys.executable, "-m", "lessee", *arguments]
        return subprocess.run(command, **where, capture_output=True, text=True, input=text, stdin=stdin, check=False)

    def spawn(self, *arguments, output):
        """Start a command whose stdout is this file, and whose stderr is the log."""
        with self.log.open("ab") as log, output.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lessee", *arguments],
                cwd=self.disk,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    def start(self, *arguments, wait=True, before=()):
        """`before`: a command that runs it."""
        self.write_config()
        if self.is_forked and not before:
            streams = [os.devnull, self.log, self.log]
            self.process = start_lessee("run", *arguments, cwd=self.disk, env=self.environ, streams=streams)
        else:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*before, sys.executable, "-m", "lessee", "run", *arguments],
                    cwd=self.disk,
                    env=self.environ,
                    stdout=log,
                    stderr=log,
                )
        if wait:
            self.until(lambda status: status["ready"])
        return self

    def until_file(self, name, content):
        path = self.directory / name

        def look():
            return path.exists() and path.read_text() == content

        try:
            eventually(look, f"{content!r} in {name}")
        except AssertionError as exc:
            there = path.read_text() if path.exists() else "nothing"
            raise AssertionError(f"{exc}; it contains {there!r}\n{self.log.read_text()}") from None


class App:
    """A process with this name that prints the files at its start and at each SIGHUP."""

    def __init__(self, name, *files, script=APP):
        # The kernel rounds the time of a start down: it would be before a publication in the same tick.
        pass_by(1 / os.sysconf("SC_CLK_TCK"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, name, *map(str, files)], stdout=subprocess.PIPE, text=True
        )
        self.first = self.process.stdout.readline().strip()

    def hears(self):
        """The next line that it prints."""
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def folders(directory: Path):
    """The generations in an app's directory."""
    return sorted(entry.name for entry in directory.iterdir() if entry.name.startswith("..lessee"))
