"""What each dependency costs in memory and start-up, on top of those before it."""

import json
import subprocess
import sys
from statistics import median

MODULES = (
    "argparse", "json", "logging", "http.server", "msgspec", "yaml", "jinja2.sandbox", "hvac", "watchfiles",
    "psutil", "prometheus_client", "lessee.commands.run",
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
    importlib.import_module(name)
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


def _run() -> list[tuple[str, int, float]]:
    done = subprocess.run([sys.executable, "-c", _PROBE, *MODULES], check=True, capture_output=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
