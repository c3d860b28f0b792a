"""An agent whose wall clock a test sets; files have the times of the machine's clock, which no test sets."""

import shutil
import subprocess

from support.needs import need


def movable_clock(agent):
    """Give the agent libfaketime from its next start on. Returns a function that sets its clock so much ahead."""
    library, file = faketime_library(), agent.disk / "clock"

    def set_to(seconds):
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{seconds:+}")
        fresh.rename(file)  # A library that reads an empty file ends its program.

    set_to(0)
    agent.environ |= {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DISABLE_SHM": "1",  # A killed program would leave a segment.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return set_to


def faketime_library():
    """The path for LD_PRELOAD."""
    need(shutil.which("faketime"), "needs libfaketime: apt install faketime")
    command = ["faketime", "-f", "+0d", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
