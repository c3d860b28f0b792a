"""Measures templates that would never end or fit, until they are rejected, and the largest files that are accepted."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import rig  # noqa: F401  # It makes the tests' support modules importable.
from figures import Figure

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.serialization import content
from rendering import LINES
from support.inputs.template_bombs import BOMBS, DATA

MOST, LARGEST, ADJACENT = 10_000, 2**19, 9_000
"""The limits of values and bytes in a file, and as many values as the limit of 100,000 tokens allows."""
PASSWORD = "p@ss'\"#\\ ü{}"
LETTERS = ("x", "'", '"', "\\", "$a ", "#'\n", "é", "<&>", "%", "`")
ADJACENT_SHAPES: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "dotenv": (("A='", "", "x", "'"), ("", "# ", "\n", "A=1")),
    "dotenv-node": (("A='", "", "x", "'"), ("", "# ", "\n", "A=1")),
    "dotenv-vite": (("A='", "", "x", "'"), ("", "# ", "\n", "A=1")),
    "dotenv-compose": (("A='", "", "x", "'"), ("", "# ", "\n", "A=1")),
    "dotenv-docker": (("A=", "", "x", ""), ("", "# ", "\n", "A=1")),
    "sh": (
        ("", "A{n}=", " ", "\n"),
        ("export ", "A{n}=", " ", "\n"),
        ("run ", "", " ", "\n"),
        ("A=", "", "", "\n"),
        ('A="', "", " ", '"\n'),
        ("cat <<E\n", "", "\n", "E\n"),
        ("", "A=$(b ", ")\n", ""),
    ),
    "systemd": (('A="', "", "x", '"\n'), ("", "# ", "\n", "A=1\n")),
    "json": (("{{", '"a{n}": ', ",", '"z": 1}}'), ("[", "", ",", "1]"), ('["', "", " ", '"]')),
    "yaml": (
        ("a:\n", "  a{n}: ", "\n", ""),
        ("{{", "a{n}: ", ", ", "}}\n"),
        ("", "- ", "\n", ""),
        ('a: "', "", "", '"\n'),
        ("a: |\n", "  ", "\n", ""),
    ),
    "toml": (
        ("a = {{", "a{n} = ", ", ", "z = 1}}\n"),
        ("", "[t{n}]\na = ", "\n", ""),
        ("", "a.b{n}.c = ", "\n", ""),
        ("", "[[t]]\na = ", "\n", ""),
        ('a = "', "", "", '"\n'),
    ),
    "ini": (("", "[s{n}]\na = ", "\n", ""), ("[s]\na = ", "  ", "\n", "")),
    "properties": (("a = ", "", " ", "\n"), ("a = ", "", "\\\n", "\n")),
    "xml": (("<a ", 'a{n}="', '" ', "/>"), ("<a>", "<b>", "</b>", "</a>"), ("<a>", "", " ", "</a>")),
    "nginx": (("a ", "", " ", ";"), ("a x", "", "", ";"), ("map $a $b {{", "k{n} ", ";\n", "}}")),
    "pgpass": (("", "# ", "\n", ""),),
}
"""Files in which values can be adjacent: the beginning, the text before and after each value, and the end."""

_RENDER_BOMB = """
import json, sys, time
from support.models.sandbox import document
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
    """Measure lessee alone; the peer has no limits."""
    runs = [_render_bomb(bomb) for bombs in BOMBS.values() for bomb in bombs]
    rejected = sum(run[0] for run in runs)
    yield Figure("template bombs: rejected", "", f"{rejected} of {len(runs)}", "all", rejected == len(runs))
    longest, largest = max(run[1] for run in runs), max(run[2] for run in runs)
    yield Figure("template bombs: longest time", "", f"{longest:.2f} s", "≤ 2 s", longest <= 2)
    yield Figure("template bombs: most memory", "", f"{largest:.0f} MiB", "≤ 128 MiB", largest <= 128)
    for name in LINES:
        slowest = max(_time_of(name, document) for document in _largest(name))
        yield Figure(f"files at the limits, {name}: longest time", "", f"{slowest:.2f} s", "≤ 2 s", slowest <= 2)


def _largest(name: str) -> Iterator[Document]:
    """The largest files of this format: with many values, with one value, and with all values adjacent."""
    begin, line, end = LINES[name]
    before, after = line.split("{{{{ {value} }}}}")
    lines = (begin, before, after, end)
    yield _file(lines, MOST, lambda n: f"{PASSWORD}{n}")
    for letter in LETTERS:
        yield _file(lines, 1, lambda _, text=letter: text * ((LARGEST - 100) // len(text.encode())))  # type: ignore[misc]
    for adjacent in ADJACENT_SHAPES[name]:
        yield _file(adjacent, ADJACENT, "value{}".format)


def _file(shape: tuple[str, str, str, str], count: int, value: Callable[[int], str]) -> Document:
    begin, before, after, end = shape
    parts: list[str | Placeholder] = [begin.format()]
    for n in range(count):
        parts += [before.format(n=n), Placeholder(value(n), "a: x"), after.format(n=n)]
    return Document("a.j2", (*parts, end.format()))


def _time_of(name: str, document: Document) -> float:
    began = time.process_time()  # not affected by other load
    with suppress(FormatError):  # A format rejects what it cannot express, and that takes time too.
        content(document, name)
    return time.process_time() - began


def _render_bomb(bomb: str) -> tuple[bool, float, float]:
    run = subprocess.run(
        [sys.executable, "-c", _RENDER_BOMB],
        env={"PYTHONPATH": ":".join(sys.path)},
        input=json.dumps([bomb, DATA]),
        capture_output=True,
        text=True,
        check=True,
    )
    refused, took, mebibytes = json.loads(run.stdout)
    return refused, took, mebibytes
