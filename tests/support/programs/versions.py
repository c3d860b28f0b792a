"""Programs of an earlier version of lessee, and an app that logs in to PostgreSQL without pause meanwhile."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from support.programs.forks import PATIENCE
from support.programs.sidecar import eventually
from support.released import unpack

_CLIENTS = """
import json, pathlib, signal, sys, threading, time
import psycopg
file, port, database = sys.argv[1:]
counts, ended, reasons = {"logins": 0, "failed": 0}, threading.Event(), []
lock = threading.Lock()
def client():
    while not ended.is_set():
        try:
            user, password = pathlib.Path(file).read_text().split()
            psycopg.connect(host="127.0.0.1", port=port, user=user, password=password, dbname=database).close()
            how = "logins"
        except Exception as exc:
            how = "failed"
            reasons.append(type(exc).__name__)
        with lock:
            counts[how] += 1
        time.sleep(0.01)
threads = [threading.Thread(target=client) for _ in range(4)]
for thread in threads:
    thread.start()
print("started", flush=True)
signal.sigwait({signal.SIGTERM})
ended.set()
for thread in threads:
    thread.join()
print(json.dumps(counts | {"reasons": reasons[:5]}), flush=True)
"""


class Clients:
    """An app's threads, each of which reads its file and logs in to PostgreSQL, again and again."""

    def __init__(self, file, postgres, database="simba"):
        # SIGTERM must be blocked before the threads are there.
        block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        command = [sys.executable, "-c", block + _CLIENTS, file, str(postgres.port), database]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "started\n"

    def stop(self):
        """Their counts: logins, and failed ones."""
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=PATIENCE)
        return json.loads(out)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class EarlierVersion:
    """The programs of an earlier version, on the directories of a sidecar of this version."""

    def __init__(self, version, sidecar):
        self._sidecar, self._package = sidecar, unpack(version, sidecar.disk / f"lessee-{version}")
        self.config = {}
        """The configuration in the keys of the earlier version."""

    def start(self):
        """Start its agent, and wait until it is ready."""
        with self._sidecar.log.open("ab") as log:
            self._sidecar.process = self._started("run", output=log)
        self._sidecar.until(lambda status: status["ready"])

    def run(self, *arguments, code=0):
        """Run a command to its end, and return its output."""
        file = self._sidecar.disk / "old.out"
        with file.open("wb") as output:
            ended = self._started(*arguments, output=output).wait(PATIENCE)
        assert ended == code, file.read_text()
        return file.read_text()

    def _started(self, *arguments, output):
        configuration = self._sidecar.disk / "old.yaml"
        configuration.write_text(yaml.safe_dump(self.config))
        return subprocess.Popen(
            [sys.executable, "-m", "lessee", *arguments],
            cwd=self._sidecar.disk,
            env=self._sidecar.environ | {"PYTHONPATH": str(self._package), "LESSEE_CONFIG": str(configuration)},
            stdout=output,
            stderr=output,
        )


def requests(file: Path, path: str):
    """The requests to this path that the server answered without an error, by its audit log."""
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        entry
        for entry in entries
        if entry["type"] == "response" and entry["request"]["path"] == path and not entry.get("error")
    ]


def lines_of(file: Path):
    """What a command of the app has written until now."""
    return file.read_text().splitlines() if file.exists() else []


def until_lines(file: Path, count):
    """Wait until it has written so many lines."""
    return eventually(lambda: len(lines_of(file)) >= count and lines_of(file), f"{count} lines in {file}")
