"""Measures how soon readers have published files again that another program changed, and what they see meanwhile."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from figures import Figure
from rig import Program, Rig, report, rig

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.inputs.touched_files import WAYS, is_right

REPETITIONS = 3
LONGEST = 1.0
_GIVEN_AWAY = "directory's owner"
_PAUSE = 1.0
"""Seconds between two changes: the agent watches each new generation."""


def measure() -> Iterator[Figure]:
    """Each way is tried some times, each time while a thread reads. Only inotify can report it in time."""
    with rig() as bench:
        took = {way: _restore(bench, way, change) for way, (change, _, _) in WAYS.items()}
    for way, times in took.items():
        report(f"drift: {way}: {[round(seconds, 2) for seconds, _ in times]}, gaps: {sum(gaps for _, gaps in times)}")
    seconds = [each for times in took.values() for each, _ in times]
    right = sum(all(each <= LONGEST for each, _ in times) for times in took.values())
    gaps = sum(gaps for times in took.values() for _, gaps in times)
    what = "published files that another program changed → right again and reported: median / longest, ways within 1 s"
    text = f"{median(seconds):.2f} / {max(seconds):.2f} s, {right} of {len(took)}"
    yield Figure(what, "", text, f"≤ {LONGEST:.0f} s, {len(took)} of {len(took)}", right == len(took))
    yield Figure("… readers that saw other files after they were right again", "", str(gaps), "0", gaps == 0)


def _restore(bench: Rig, way: str, change: Callable[[Path], object]) -> list[tuple[float, int]]:
    """For each repetition the seconds until the files were right and the status said so, and the gaps after that."""
    files = {name: f'{{{{ secret("drift/one").value }}}} {name}\n' for name in ("a.txt", "b.txt")}
    bench.write("drift/one", "right")
    program = bench.lessee_for({"files": (files, None)})
    owner = 4321 if way == _GIVEN_AWAY else 0
    config = json.loads(program.config.read_text())
    # With a program Landlock is off: a confined agent restarts in place for a directory that was removed.
    app = {"refresh_interval": "1h", "mode": "0640", "check": ["true"], **({"owner": f"{owner}:0"} if owner else {})}
    config["apps"]["files"].update(app)
    program.config.write_text(json.dumps(config))
    with program:
        program.wait_for_files()
        return [_time(program, change, owner) for _ in range(REPETITIONS)]


def _time(program: Program, change: Callable[[Path], object], owner: int) -> tuple[float, int]:
    directory = program.directory
    program.until(lambda: is_right(directory, owner), "right files")
    time.sleep(_PAUSE)
    before, stop, seen = _total(program), threading.Event(), list[bytes]()
    reader = threading.Thread(target=_read, args=(directory / "a.txt", stop, seen), daemon=True)
    reader.start()
    began = time.monotonic()
    change(directory)
    program.until(lambda: is_right(directory, owner), "restored files")
    program.until(lambda: _total(program) > before, "the report")
    took = time.monotonic() - began
    time.sleep(_PAUSE / 2)
    stop.set()
    reader.join()
    wrong = [content != b"right a.txt\n" for content in seen]
    # From the first other content on, one row of others is the change itself.
    return took, max(0, sum(now and not then for then, now in zip([False, *wrong], wrong, strict=False)) - 1)


def _read(path: Path, stop: threading.Event, seen: list[bytes]) -> None:
    while not stop.is_set():
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        if not seen or seen[-1] != content:
            seen.append(content)
        time.sleep(0.0002)


def _total(program: Program) -> int:
    total = program.wait_for_status()["apps"]["files"]["drift"]["total"]
    assert isinstance(total, int)
    return total
