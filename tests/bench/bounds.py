"""What templates that would not end, or not fit, cost until they are refused: each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator

from rig import Figure

from bombs import BOMBS, DATA

ALONE = """
import json, sys, time
from sandboxed import document
from lessee.core.errors import TemplateError

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024

bomb, data = json.load(sys.stdin)
document("{{ [1]|yaml }}")
before, began = peak(), time.perf_counter()
try:
    document(bomb, data, **{"in": ""})
    refused = False
except TemplateError:
    refused = True
json.dump([refused, time.perf_counter() - began, peak() - before], sys.stdout)
"""


def measure() -> Iterator[Figure]:
    """The peer has no bounds: there is nothing to measure beside."""
    runs = [_alone(bomb) for bombs in BOMBS.values() for bomb in bombs]
    refused = sum(run[0] for run in runs)
    yield Figure("bombs: refused", "", f"{refused} of {len(runs)}", "all", refused == len(runs))
    longest, most = max(run[1] for run in runs), max(run[2] for run in runs)
    yield Figure("bombs: the longest took", "", f"{longest:.2f} s", "≤ 2 s", longest <= 2)
    yield Figure("bombs: the largest took", "", f"{most:.0f} MiB", "≤ 128 MiB", most <= 128)


def _alone(bomb: str) -> tuple[bool, float, float]:
    run = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={"PYTHONPATH": ":".join(sys.path)},
        input=json.dumps([bomb, DATA]),
        capture_output=True,
        text=True,
        check=True,
    )
    refused, took, mebibytes = json.loads(run.stdout)
    return refused, took, mebibytes
