"""Measures the memory and import time of each dependency, and the time per request of each client of Vault.

`python tests/bench/imports.py`; docs/explanation/decisions/ quotes its tables.
"""

import json
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from dataclasses import replace as dataclass_replace
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import hvac
from figures import Figure, row
from msgspec import defstruct
from msgspec.json import decode

from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport

MODULES = (
    "argparse", "json", "logging", "msgspec", "yaml", "jinja2.sandbox", "lessee.cli.commands.run", "ssl", "http.server",
    "prometheus_client", "cryptography.x509", "hvac", "psutil", "docker",
)  # fmt: skip
"""In the order of the imports. lessee imports those after its own only when it uses them."""
CLIENTS = (("lessee.vault.transport",), ("http.client",), ("requests",), ("hvac",))
"""Each alone, in a new interpreter."""
REPETITIONS = 7
REQUESTS = 300
_PROBE = """
import importlib, sys, time

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

figures = [("bare Python", resident(), 0.0)]
for name in sys.argv[1:]:
    began = time.perf_counter()
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        name += " (not installed)"
    figures.append((name, resident(), time.perf_counter() - began))
import json
print(json.dumps(figures))
"""


def measure() -> Iterator[Figure]:
    """Medians of fresh interpreters; the peer imports nothing."""
    yield from _imports("after the imports above", MODULES)
    for modules in CLIENTS:
        yield from _imports("alone", modules)
    yield from _immutable_values()
    yield from _requests()


def _imports(title: str, modules: tuple[str, ...]) -> Iterator[Figure]:
    runs = [_run(modules) for _ in range(REPETITIONS)]
    before = 0.0
    for line in zip(*runs, strict=True):
        resident = median(kibibytes for _, kibibytes, _ in line) / 1024
        took = median(seconds for _, _, seconds in line) * 1000
        if before:
            text = f"+ {resident - before:.1f} MiB, {took:.0f} ms"
            yield Figure(f"RSS and time of `import {line[0][0]}`, {title}", "", text)
        before = resident


def _immutable_values() -> Iterator[Figure]:
    """What lessee's immutable values save against frozen dataclasses with slots."""
    fields = {f"field{number}": int for number in range(5)}

    def as_dataclass() -> type:
        return make_dataclass("Value", fields.items(), frozen=True, slots=True)

    def as_struct() -> type:
        return defstruct("Value", list(fields.items()), bases=(ImmutableStruct,), frozen=True)

    for name, define, change in (
        ("dataclass", as_dataclass, dataclass_replace),
        ("ImmutableStruct", as_struct, replace),
    ):
        one = define()(1, 2, 3, 4, 5)
        defining = min(timeit.repeat(define, number=100, repeat=REPETITIONS)) / 100
        changing = min(timeit.repeat(lambda: change(one, field0=9), number=10_000, repeat=REPETITIONS)) / 10_000  # noqa: B023  # Called in this iteration only.
        text = f"{defining * 1e6:.0f} µs; {changing * 1e6:.2f} µs"
        yield Figure(f"an immutable value by `{name}`: to define; to replace a field", "", text)


def _requests() -> Iterator[Figure]:
    """The same read of a KV secret by each client, over one connection to one server."""
    with tempfile.TemporaryDirectory() as folder, OpenBao(Path(folder)) as bao:
        bao.put("bench", value="x" * 40)
        transport = Transport(Address(bao.address))
        over_transport = AdminClient(transport, ROOT_TOKEN).hvac.secrets.kv.v2
        over_requests = hvac.Client(url=bao.address, token=ROOT_TOKEN).secrets.kv.v2
        path = {"path": "bench", "mount_point": "secret", "raise_on_deleted_version": True}
        plain = HTTPConnection(urlsplit(bao.address).netloc)
        clients = (
            ("http.client", lambda: _read_by_http_client(plain)),
            ("lessee's transport", lambda: transport.request("GET", "secret/data/bench", token=ROOT_TOKEN)),
            ("hvac over lessee's transport", lambda: over_transport.read_secret_version(**path)),
            ("hvac over requests", lambda: over_requests.read_secret_version(**path)),
        )
        for name, read in clients:
            cpu, wall = _time_of(read)
            text = f"{cpu * 1e6:.0f} µs; {wall * 1e6:.0f} µs"
            yield Figure(f"a read of a KV secret by {name}: CPU of the client; time", "", text)
        transport.close()


def _read_by_http_client(connection: HTTPConnection) -> object:
    connection.request("GET", "/v1/secret/data/bench", headers={"X-Vault-Token": ROOT_TOKEN, "X-Vault-Request": "true"})
    return decode(connection.getresponse().read())


def _time_of(read: Callable[[], object]) -> tuple[float, float]:
    read()
    cpus, walls = [], []
    for _ in range(REPETITIONS):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(REQUESTS):
            read()
        cpus.append((time.process_time() - cpu) / REQUESTS)
        walls.append((time.perf_counter() - wall) / REQUESTS)
    return min(cpus), min(walls)


def _run(modules: tuple[str, ...]) -> list[tuple[str, int, float]]:
    done = subprocess.run([sys.executable, "-c", _PROBE, *modules], check=True, capture_output=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    for figure in measure():
        sys.stdout.write(f"{row(figure.name, figure.lessee)}\n")
