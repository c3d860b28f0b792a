"""Measures templates that are built to be slow to verify: the proof of each, and how late another app becomes."""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

from figures import Figure
from rig import Program, Rig, report, rig, templates

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.serialization import content
from support.inputs.slow_texts import SLOW_TEXTS, VALUE

CHANGES = 5
REFRESH_INTERVAL = "200ms"
LONGEST = 1.0
_SECRET = "author/x"  # A path.
_GC_THRESHOLDS = (20_000, 20, 50)
"""Those of the agent's process: see lessee/cli. Python's own would take half of the time of a large YAML file."""
_STATES = {"published", "rejected"}
_NOTE = "72 s for one template of 65 bytes when references took the square of their number"


def measure() -> Iterator[Figure]:
    """Measure the proofs in this process, and the delay with the real program; the peer has no proof."""
    gc.set_threshold(*_GC_THRESHOLDS)
    proofs = {name: max(map(_proof_of(name), texts)) for name, texts in SLOW_TEXTS.items()}
    slowest = max(proofs, key=proofs.__getitem__)
    text = f"{proofs[slowest]:.2f} s ({slowest})"
    name = f"templates built to be slow, {len(SLOW_TEXTS)} formats: the longest proof"
    yield Figure(name, "", text, f"≤ {LONGEST:.0f} s", proofs[slowest] <= LONGEST)
    with rig() as bench:
        bench.write("fast/s", "0")
        bench.write(_SECRET, "0")
        usual = median(_changes(bench, None))
        late = {format_: max(_changes(bench, format_)) - usual for format_ in SLOW_TEXTS}
    slowest = max(late, key=late.__getitem__)
    text = f"{max(0.0, late[slowest]):.2f} s ({slowest})"
    name = "templates built to be slow: how late another app's file becomes"
    yield Figure(name, "", text, f"≤ {LONGEST:.0f} s", late[slowest] <= LONGEST, _NOTE)


def _proof_of(name: str):  # A function from a text to seconds.
    def seconds(text: str) -> float:
        before, after = text.split(VALUE)
        document = Document("a.j2", (before, Placeholder("p", "a: x"), after))
        began = time.process_time()  # not affected by other load
        with suppress(FormatError):  # A format rejects what it cannot express, and that takes time too.
            content(document, name)
        took = time.process_time() - began
        report(f"slow_templates: {name}: proof of {len(text):,} characters: {took:.2f} s")
        return took

    return seconds


def _changes(bench: Rig, format_: str | None) -> list[float]:
    """Seconds from a write to the other app's new file, while the slow app renders all texts of this format."""
    secret = f'{{% endraw %}}{{{{ secret("{_SECRET}").value }}}}{{% raw %}}'
    texts = SLOW_TEXTS[format_] if format_ is not None else ()
    slow = {
        f"{number}.txt": f"{{% raw %}}{text.replace(VALUE, secret)}{{% endraw %}}" for number, text in enumerate(texts)
    }
    apps = {"files": (templates({"s.env": "fast/s"}), None)}
    program = bench.lessee_for(apps | ({"author": (slow, None)} if slow else {}))
    config = json.loads(program.config.read_text())
    config["secrets"]["refresh_interval"] = REFRESH_INTERVAL
    for file in config["apps"].get("author", {"files": ()})["files"]:
        file["format"] = format_
    program.config.write_text(json.dumps(config))
    with program:
        program.wait_for_files()
        if slow:
            program.until(lambda: _is_rendered(program), "the slow files", timeout=600.0)
        took = [_change(bench, program, f"{format_}{number}") for number in range(CHANGES)]
    report(f"slow_templates: {format_}: {[round(seconds, 2) for seconds in took]}")
    return took


def _is_rendered(program: Program) -> bool:
    return program.wait_for_status()["apps"]["author"]["state"] in _STATES


def _change(bench: Rig, program: Program, value: str) -> float:
    bench.write(_SECRET, value)
    time.sleep(0.3)  # Until the slow app renders.
    began = time.monotonic()
    bench.write("fast/s", value)
    program.wait_for("s.env", value)
    return time.monotonic() - began
