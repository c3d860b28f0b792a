"""Counts failed requests while SIGHUP replaces an app's workers for each new secret."""

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from figures import Figure
from rig import CHECK_INTERVAL, TIMEOUT, Rig, report, rig

from support.programs.loaded_app import Clients, Served, gunicorn, uvicorn

TRIES = 100
UVICORN_TRIES = 60
"""Fewer, because uvicorn is also measured without an agent."""
REFRESH = "200ms"
FILE = "value.txt"
SECRET = "rotations/one"
_NOTE = (
    "The peer's column has the same signals without an agent: a worker of uvicorn that ends closes connections that it "
    "has accepted but not read."
)

Server = Callable[[int], list[str]]


class Seen(NamedTuple):
    """The requests of all clients."""

    failed: int
    answered: int
    rotations: int

    def __str__(self) -> str:
        return f"{self.failed} of {self.answered:,}"


def measure(tries: int = TRIES, uvicorn_tries: int = UVICORN_TRIES) -> Iterator[Figure]:
    with rig() as bench:
        ours = _with_lessee(bench, gunicorn, tries)
        name = f"failed requests to gunicorn with two workers, {ours.rotations} rotations by SIGHUP under load"
        yield Figure(name, "", str(ours), "0", not ours.failed)
        # No sender of the signal can prevent what uvicorn itself does.
        alone, ours = _without_agent(bench, uvicorn, uvicorn_tries), _with_lessee(bench, uvicorn, uvicorn_tries)
        name = f"failed requests to uvicorn --workers 2, {ours.rotations} rotations by SIGHUP under load"
        yield Figure(name, f"{alone} without an agent", str(ours), note=_NOTE)


def _with_lessee(bench: Rig, server: Server, tries: int) -> Seen:
    bench.write(SECRET, "first")
    notify = {"process": {"pid_file": str(bench.folder / "server.pid")}, "action": "SIGHUP"}
    program = bench.lessee_for({"files": ({FILE: f'{{{{ secret("{SECRET}").value }}}}'}, notify)})
    config = json.loads(program.config.read_text()) | {"secrets": {"refresh_interval": REFRESH}}
    program.config.write_text(json.dumps(config))
    with program:
        program.wait_for_files()
        return _rotate(bench, server, program.directory / FILE, lambda _, value: bench.write(SECRET, value), tries)


def _without_agent(bench: Rig, server: Server, tries: int) -> Seen:
    file, new = bench.folder / FILE, bench.folder / "new"
    file.write_text("first")

    def change(app: Served, value: str) -> None:
        new.write_text(value)
        new.replace(file)
        app.process.send_signal(signal.SIGHUP)

    return _rotate(bench, server, file, change, tries)


def _rotate(bench: Rig, server: Server, file: Path, change: Callable[[Served, str], None], tries: int) -> Seen:
    """Change the file and wait until all workers serve the new content; repeat it `tries` times."""
    with Served(server, bench.folder, file) as app:
        _until(app.answers, app)
        with Clients(app.port) as clients:
            began = time.monotonic()
            for number in range(tries):
                value = f"number {number}"
                change(app, value)
                _until(lambda value=value: clients.all_serve(value.encode()), app)
            took = (time.monotonic() - began) / tries
    report(f"{server.__name__}: a rotation takes {took:.2f} s")
    # A server that closes an idle connection cannot know of a request that is on its way.
    report(f"{clients.retried} requests were retried, because the server had closed their keep-alive connection")
    for failure, times in Counter(clients.failures).most_common(5):
        report(f"{times} times: {failure}")
    return Seen(len(clients.failures), clients.answered, tries)


def _until(condition: Callable[[], object], app: Served) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            last = "\n".join(app.log.read_text().splitlines()[-5:])
            raise RuntimeError(f"the workers do not serve the content of the file\n{last}")
        time.sleep(CHECK_INTERVAL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"rotations ({TRIES})")
    chosen = parser.parse_args().tries
    for figure in measure(chosen, min(chosen, UVICORN_TRIES)):
        sys.stdout.write(f"{figure.name}: {figure.lessee}; {figure.peer}\n")
