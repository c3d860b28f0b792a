"""What each dependency costs in memory and start-up, on top of those before it.

Those that were weighed and not taken come last, where they are installed: `pip install hvac psutil docker`.
"""

import json
import subprocess
import sys
import timeit
from dataclasses import make_dataclass
from dataclasses import replace as dataclass_replace
from statistics import median

from msgspec import defstruct

from lessee.core.immutable import ImmutableStruct, replace

MODULES = (
    "argparse", "json", "logging", "ssl", "http.server", "msgspec", "yaml", "jinja2.sandbox", "lessee.cli.commands.run",
    "watchfiles", "prometheus_client", "cryptography.x509", "hvac", "psutil", "docker",
)  # fmt: skip
"""In the order in which they are imported; the first ones are Python's own, and lessee needs them too."""
REPETITIONS = 7
_PROBE = """
import importlib, sys, time

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

said = [("bare Python", resident(), 0.0)]
for name in sys.argv[1:]:
    began = time.perf_counter()
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        name += " (not installed)"
    said.append((name, resident(), time.perf_counter() - began))
import json
print(json.dumps(said))
"""


def main() -> None:
    """Print a table: medians of fresh interpreters."""
    runs = [_run() for _ in range(REPETITIONS)]
    sys.stdout.write("| import | RSS, MiB | more by, MiB | takes, ms |\n|---|---:|---:|---:|\n")
    before = 0.0
    for line in zip(*runs, strict=True):
        held = median(resident for _, resident, _ in line) / 1024
        took = median(seconds for _, _, seconds in line) * 1000
        sys.stdout.write(f"| {line[0][0]} | {held:.1f} | {held - before:+.1f} | {took:.0f} |\n")
        before = held


def _print_records() -> None:
    """What lessee's immutable values save against frozen dataclasses with slots."""
    fields = {f"field{number}": int for number in range(5)}

    def as_dataclass() -> type:
        return make_dataclass("Value", fields.items(), frozen=True, slots=True)

    def as_record() -> type:
        return defstruct("Value", list(fields.items()), bases=(ImmutableStruct,), frozen=True)

    sys.stdout.write("\n| immutable value | to define, µs | to replace a field, µs |\n|---|---:|---:|\n")
    for name, define, change in (
        ("dataclass", as_dataclass, dataclass_replace),
        ("ImmutableStruct", as_record, replace),
    ):
        one = define()(1, 2, 3, 4, 5)
        defining = min(timeit.repeat(define, number=100, repeat=REPETITIONS)) / 100
        changing = min(timeit.repeat(lambda: change(one, field0=9), number=10_000, repeat=REPETITIONS)) / 10_000  # noqa: B023  # Used at once.
        sys.stdout.write(f"| {name} | {defining * 1e6:.0f} | {changing * 1e6:.2f} |\n")


def _run() -> list[tuple[str, int, float]]:
    done = subprocess.run([sys.executable, "-c", _PROBE, *MODULES], check=True, capture_output=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
    _print_records()
