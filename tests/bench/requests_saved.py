"""Compares the requests of an app whose workers call Vault themselves with those of an agent for the same app."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from figures import Figure
from rig import Files, Program, Rig, report, rig

WORKERS = 4
SECRETS = 8
USES = 10
"""Uses a second by each worker, of one secret after the other."""
SETTLE = 3.0
WINDOW = 30.0
# As in a careful client, each worker logs in once and uses one connection.
_CLIENT = """
import http.client, itertools, json, sys, time
settings = json.load(sys.stdin)
connection = http.client.HTTPConnection(settings["host"], timeout=10)
def request(method, path, body=None, headers={}):
    connection.request(method, "/v1/" + path, body and json.dumps(body), headers)
    return json.loads(connection.getresponse().read())
login = request("POST", "auth/approle/login", settings["login"])["auth"]
headers, read_at = {"X-Vault-Token": login["client_token"]}, {}
began = time.monotonic()
for number, path in enumerate(itertools.cycle(settings["paths"]), 1):
    if path not in read_at or time.monotonic() - read_at[path] >= settings["cache_ttl"]:
        request("GET", path, headers=headers)["data"]["data"]["value"]
        read_at[path] = time.monotonic()
    time.sleep(max(0, began + number / settings["uses"] - time.monotonic()))
"""


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench:
        files = bench.secrets("requests-saved", SECRETS)
        asked = {
            "each use": _rate(bench, lambda: _workers(bench, files, cache_ttl=0.0)),
            "cached 1 s": _rate(bench, lambda: _workers(bench, files, cache_ttl=1.0)),
            "peer": _rate(bench, lambda: _agent(bench.peer(files))),
            "lessee": _rate(bench, lambda: _agent(bench.lessee(files))),
        }
    name = f"requests a minute, {WORKERS} workers, {SECRETS} secrets"
    lessee = asked["lessee"]
    for what, text in (
        ("each use", f"each worker reads at each use, {USES} a second"),
        ("cached 1 s", "each worker caches a secret for 1 s"),
        ("peer", "`bao agent`, 1 s fresh"),
    ):
        saved = 1 - lessee / asked[what]
        yield Figure(f"{name}; {text}", f"{asked[what]:,.0f}", f"{lessee:,.0f} (saved: {saved:.1%})")


def _rate(bench: Rig, program: Callable[[], AbstractContextManager[None]]) -> float:
    """Requests a minute, after the first SETTLE seconds."""
    with program():
        time.sleep(SETTLE)
        began, before = time.monotonic(), bench.count_requests()
        time.sleep(WINDOW)
        asked = (bench.count_requests() - before) / (time.monotonic() - began) * 60
    report(f"{asked:,.0f} a minute")
    return asked


@contextmanager
def _workers(bench: Rig, files: Files, *, cache_ttl: float) -> Iterator[None]:
    settings = {
        "host": bench.bao.address.partition("://")[2],
        "login": {"role_id": bench.role_id.read_text(), "secret_id": bench.secret_id.read_text()},
        "paths": [f"secret/data/production/{secret}" for secret in files.values()],
        "cache_ttl": cache_ttl,
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
            worker.stdin.write(json.dumps(settings))
            worker.stdin.close()
        yield
        # A client that has ended sends no requests and would distort the comparison.
        assert all(worker.poll() is None for worker in workers), "a client ended"


@contextmanager
def _agent(program: Program) -> Iterator[None]:
    with program:
        program.wait_for_files()
        yield
