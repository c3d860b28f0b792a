"""What an app's own clients would ask of Vault, and what is asked where its workers read files instead."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from rig import Figure, Files, Program, Rig, rig, tell

WORKERS = 4
SECRETS = 8
USES = 10
"""Each worker needs a secret so often a second, one after the other."""
SETTLE = 3.0
WINDOW = 30.0
# Each worker logs in once and asks over one connection: what a careful client of its own does, but for the reading.
_CLIENT = """
import http.client, itertools, json, sys, time
said = json.load(sys.stdin)
connection = http.client.HTTPConnection(said["host"], timeout=10)
def ask(method, path, body=None, headers={}):
    connection.request(method, "/v1/" + path, body and json.dumps(body), headers)
    return json.loads(connection.getresponse().read())
login = ask("POST", "auth/approle/login", said["login"])["auth"]
headers, kept = {"X-Vault-Token": login["client_token"]}, {}
began = time.monotonic()
for number, path in enumerate(itertools.cycle(said["paths"]), 1):
    if path not in kept or time.monotonic() - kept[path] >= said["keeps"]:
        ask("GET", path, headers=headers)["data"]["data"]["value"]
        kept[path] = time.monotonic()
    time.sleep(max(0, began + number / said["uses"] - time.monotonic()))
"""


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench:
        files = bench.secrets("saved", SECRETS)
        asked = {
            "each use": _asked(bench, lambda: _clients(bench, files, keeps=0.0)),
            "kept 1 s": _asked(bench, lambda: _clients(bench, files, keeps=1.0)),
            "peer": _asked(bench, lambda: _running(bench.peer(files))),
            "lessee": _asked(bench, lambda: _running(bench.lessee(files))),
        }
    name = f"requests a minute, {WORKERS} workers, {SECRETS} secrets"
    lessee = asked["lessee"]
    for what, text in (
        ("each use", f"each worker reads at each use, {USES} a second"),
        ("kept 1 s", "each worker keeps what it read for 1 s"),
        ("peer", "`bao agent`, 1 s fresh"),
    ):
        saved = 1 - lessee / asked[what]
        yield Figure(f"{name}; {text}", f"{asked[what]:,.0f}", f"{lessee:,.0f} (saved: {saved:.1%})")


def _asked(bench: Rig, program: Callable[[], AbstractContextManager[None]]) -> float:
    """Requests a minute, once it is under way."""
    with program():
        time.sleep(SETTLE)
        began, before = time.monotonic(), bench.asked()
        time.sleep(WINDOW)
        asked = (bench.asked() - before) / (time.monotonic() - began) * 60
    tell(f"{asked:,.0f} a minute")
    return asked


@contextmanager
def _clients(bench: Rig, files: Files, *, keeps: float) -> Iterator[None]:
    said = {
        "host": bench.bao.address.partition("://")[2],
        "login": {"role_id": bench.role_id.read_text(), "secret_id": bench.secret_id.read_text()},
        "paths": [f"secret/data/production/{secret}" for secret in files.values()],
        "keeps": keeps,
        "uses": USES,
    }
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", _CLIENT], stdin=subprocess.PIPE, text=True))
            for _ in range(WORKERS)
        ]
        for worker in workers:
            stack.callback(worker.kill)
            assert worker.stdin is not None
            worker.stdin.write(json.dumps(said))
            worker.stdin.close()
        yield
        # One that has ended asks nothing, and would be a saving of its own.
        assert all(worker.poll() is None for worker in workers), "a client ended"


@contextmanager
def _running(program: Program) -> Iterator[None]:
    with program:
        program.wait_for_files()
        yield
