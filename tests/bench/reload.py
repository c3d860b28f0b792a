"""How soon an edited template takes effect."""

import random
import time
from collections.abc import Iterator
from statistics import median

from rig import Figure, Program, rig, tell

EDITS = 20
LONGEST = 2.0


def measure() -> Iterator[Figure]:
    """Every other edit is broken, and the next one mends it: only mended ones are timed."""
    with rig() as bench:
        files = bench.secrets("reload", 1)
        (name,) = files
        with bench.lessee(files) as program:
            program.wait_for_files()
            program.wait_to_answer()
            took = [_mend(program, name, number) for number in range(EDITS)]
    tell(f"reload: {[round(seconds, 2) for seconds in took]}")
    text = f"median {median(took):.2f} s, longest {max(took):.2f} s"
    yield Figure("a mended template → the new file", "", text, f"≤ {LONGEST:.0f} s", max(took) <= LONGEST)


def _mend(program: Program, name: str, number: int) -> float:
    template = program.folder / "templates" / "files" / f"{name}.j2"
    template.write_text("{{ broken ")
    time.sleep(random.uniform(0.5, 1.5))  # noqa: S311  # At any moment of the watching.
    began = time.monotonic()
    template.write_text(f"EDIT={number:04}\n")
    program.wait_for(name, f"EDIT={number:04}")
    return time.monotonic() - began
