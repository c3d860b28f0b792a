"""Requests that fail while an app's workers are replaced, again and again, by SIGHUP for a new secret."""

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rig import LOOK, PATIENCE, Figure, Rig, rig, tell

from support.programs.loaded_app import Clients, Served, gunicorn, uvicorn

TRIES = 100
TRIES_EACH = 60
"""Where it is done twice."""
REFRESH = "200ms"
FILE = "value.txt"
SECRET = "rotations/one"

Server = Callable[[int], list[str]]


class Seen(NamedTuple):
    """What the clients have seen."""

    failed: int
    answered: int
    rotations: int

    def __str__(self) -> str:
        return f"{self.failed} of {self.answered:,}"


def measure(tries: int = TRIES, tries_each: int = TRIES_EACH) -> Iterator[Figure]:
    with rig() as bench:
        ours = _by_lessee(bench, gunicorn, tries)
        name = f"failed requests to gunicorn with two workers, {ours.rotations} rotations by SIGHUP under load"
        yield Figure(name, "", str(ours), "0", not ours.failed)
        # A worker of uvicorn that leaves closes connections that it has accepted and not read yet: nobody who sends the
        # signal can help it, so what is told beside is not the peer, but the same signals without any agent.
        alone, ours = _by_hand(bench, uvicorn, tries_each), _by_lessee(bench, uvicorn, tries_each)
        name = f"failed requests to uvicorn --workers 2, {ours.rotations} rotations by SIGHUP under load"
        yield Figure(name, f"{alone} without an agent", str(ours))


def _by_lessee(bench: Rig, server: Server, tries: int) -> Seen:
    bench.write(SECRET, "first")
    notify = {"process": {"pid_file": str(bench.folder / "server.pid")}, "action": "SIGHUP"}
    program = bench.lessee_for({"files": ({FILE: f'{{{{ secret("{SECRET}").value }}}}'}, notify)})
    config = json.loads(program.config.read_text()) | {"secrets": {"refresh": REFRESH}}
    program.config.write_text(json.dumps(config))
    with program:
        program.wait_for_files()
        return _rotate(bench, server, program.directory / FILE, lambda _, value: bench.write(SECRET, value), tries)


def _by_hand(bench: Rig, server: Server, tries: int) -> Seen:
    file, new = bench.folder / FILE, bench.folder / "new"
    file.write_text("first")

    def change(app: Served, value: str) -> None:
        new.write_text(value)
        new.replace(file)
        app.process.send_signal(signal.SIGHUP)

    return _rotate(bench, server, file, change, tries)


def _rotate(bench: Rig, server: Server, file: Path, change: Callable[[Served, str], None], tries: int) -> Seen:
    """Change the file, and wait until all workers serve what stands in it now; so many times."""
    with Served(server, bench.folder, file) as app:
        _until(app.answers, app)
        with Clients(app.port) as clients:
            began = time.monotonic()
            for number in range(tries):
                value = f"number {number}"
                change(app, value)
                _until(lambda value=value: clients.all_serve(value.encode()), app)
            took = (time.monotonic() - began) / tries
    tell(f"{server.__name__}: a rotation takes {took:.2f} s")
    # No server can help it: it closes a connection that idles, and does not know of the request that is on its way.
    tell(f"{clients.retried} requests were sent again, since a connection kept alive was closed meanwhile")
    for failure, times in Counter(clients.failures).most_common(5):
        tell(f"{times} times: {failure}")
    return Seen(len(clients.failures), clients.answered, tries)


def _until(condition: Callable[[], object], app: Served) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            last = "\n".join(app.log.read_text().splitlines()[-5:])
            raise RuntimeError(f"the workers do not serve what stands in the file\n{last}")
        time.sleep(LOOK)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"rotations ({TRIES})")
    chosen = parser.parse_args().tries
    for figure in measure(chosen, min(chosen, TRIES_EACH)):
        sys.stdout.write(f"{figure.name}: {figure.lessee}; {figure.peer}\n")
