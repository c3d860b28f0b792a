"""Compares an app's ways to read a secret: its file, its read socket, and the proxy of `bao agent`."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from figures import Figure
from rig import Program, rig, templates

READS, CLIENTS = 10_000, 8
_LISTENER = """
listener "unix" {
  address     = "%s"
  tls_disable = true
}
api_proxy { use_auto_auth_token = true }
cache {}
"""
_PATH = "/v1/secret/data/production/reading/s0000"


def measure() -> Iterator[Figure]:
    with rig(audited=True) as bench:
        files = bench.secrets("reading", 1)
        ours, peer = bench.lessee_for({"files": (templates(files), None)}), bench.peer(files)
        path, other = ours.folder / "read" / "files.sock", peer.folder / "proxy.sock"
        config = json.loads(ours.config.read_text())
        config["apps"]["files"]["socket"] = str(path)
        ours.config.write_text(json.dumps(config))
        with (peer.folder / "agent.hcl").open("a") as file:
            file.write(_LISTENER % other)
        with ours, peer:
            for program, there in ((ours, path), (peer, other)):
                program.wait_for_files()
                program.until(there.exists, "the socket")
            yield from _latencies(ours, path, other)
            yield from _requests(bench.count_requests, path, other)


def _latencies(ours: Program, path: Path, other: Path) -> Iterator[Figure]:
    file = ours.directory / ours.names[0]
    from_file = _median(file.read_bytes)
    through, through_peer = (_one_client(there, READS // CLIENTS) for there in (path, other))
    yield Figure("a secret read from its file: median", "", f"{from_file * 1000:.3f} ms")
    name = "… through the app's socket, or the proxy of `bao agent`, by one client: median"
    text = f"{through * 1000:.2f} ms"
    yield Figure(name, f"{through_peer * 1000:.2f} ms", text, "≤ 0.3 ms", through <= 0.0003)


def _requests(count: Callable[[], int], path: Path, other: Path) -> Iterator[Figure]:
    sent = []
    for there in (path, other):
        before = count()
        with ProcessPoolExecutor(CLIENTS, mp_context=get_context("spawn")) as pool:
            list(pool.map(_one_client, [there] * CLIENTS, [READS // CLIENTS] * CLIENTS))
        sent.append(count() - before)
    name = f"… {READS:,} reads by {CLIENTS} clients: requests to Vault"
    # The agent looks for changes each second meanwhile; those requests are not of a read.
    yield Figure(name, f"{sent[1]:,}", f"{sent[0]:,}", "≤ 60", sent[0] <= 60)


def _one_client(path: Path, reads: int) -> float:
    """The median of this number of reads over one connection, in seconds."""
    request = f"GET {_PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))

        def read() -> None:
            client.sendall(request)
            answer = client.recv(65536)
            while not answer.endswith(b"}\n"):
                answer += client.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the answer is {answer[:200]!r}")

        return _median(read, reads)


def _median(read: Callable[[], object], reads: int = READS // CLIENTS) -> float:
    times = []
    for _ in range(reads):
        began = time.perf_counter()
        read()
        times.append(time.perf_counter() - began)
    return median(times)
