"""What templates that would not end, or not fit, cost until they are refused, and files that just fit to be proved."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from rig import Figure

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Hole
from lessee.rendering.serialization import content
from rendering import LINES
from support.inputs.template_bombs import BOMBS, DATA

MOST, LARGEST, SIDE_BY_SIDE = 10_000, 2**19, 9_000
"""Values and bytes that a file may have, and as many values as its bound of 100,000 words and signs lets in."""
PASSWORD = "p@ss'\"#\\ ü{}"
LETTERS = ("x", "'", '"', "\\", "$a ", "#'\n", "é", "<&>", "%", "`")
TOGETHER: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
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
"""Where values can stand side by side: how a file begins, what is before and behind each of them, how it ends."""

ALONE = """
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
    """The peer has no bounds: there is nothing to measure beside."""
    runs = [_alone(bomb) for bombs in BOMBS.values() for bomb in bombs]
    refused = sum(run[0] for run in runs)
    yield Figure("bombs: refused", "", f"{refused} of {len(runs)}", "all", refused == len(runs))
    longest, most = max(run[1] for run in runs), max(run[2] for run in runs)
    yield Figure("bombs: the longest took", "", f"{longest:.2f} s", "≤ 2 s", longest <= 2)
    yield Figure("bombs: the largest took", "", f"{most:.0f} MiB", "≤ 128 MiB", most <= 128)
    for name in LINES:
        slowest = max(_took(name, document) for document in _largest(name))
        yield Figure(f"files at the bounds, {name}: the longest took", "", f"{slowest:.2f} s", "≤ 2 s", slowest <= 2)


def _largest(name: str) -> Iterator[Document]:
    """Files of this format that are as large as may be: of many values, of one, and with all on a line of the file."""
    begin, line, end = LINES[name]
    before, after = line.split("{{{{ {value} }}}}")
    lines = (begin, before, after, end)
    yield _file(lines, MOST, lambda n: f"{PASSWORD}{n}")
    for letter in LETTERS:
        yield _file(lines, 1, lambda _, text=letter: text * ((LARGEST - 100) // len(text.encode())))  # type: ignore[misc]
    for side_by_side in TOGETHER[name]:
        yield _file(side_by_side, SIDE_BY_SIDE, "value{}".format)


def _file(shape: tuple[str, str, str, str], count: int, value: Callable[[int], str]) -> Document:
    begin, before, after, end = shape
    parts: list[str | Hole] = [begin.format()]
    for n in range(count):
        parts += [before.format(n=n), Hole(value(n), "a: x"), after.format(n=n)]
    return Document("a.j2", (*parts, end.format()))


def _took(name: str, document: Document) -> float:
    began = time.process_time()  # whatever else the machine does
    with suppress(FormatError):  # What a format cannot hold is refused, and takes its time too.
        content(document, name)
    return time.process_time() - began


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
