"""Vite and Next themselves read files of the format dotenv-vite."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from lessee.rendering.formats import dotenv_vite
from lessee.rendering.formats.dotenv_node import node, old_node
from lessee.rendering.formats.dotenv_node import npm as dotenv
from lessee.rendering.formats.variables import UnparsableError
from support import npm
from support.inputs.env_files import PIECES, amid_junk, as_if, every_value_by, junk, refused

READERS = {
    "vite-7": ("vite-7", "node", dotenv, dotenv_vite.expand_12, list),
    "vite-8": ("vite-8", "node-22.12", old_node, dotenv_vite.expand_12, sorted),
    "vite-8-node-26": ("vite-8", "node-26", node, dotenv_vite.expand_12, sorted),
    "next": ("@next/env", "node", dotenv, dotenv_vite.expand_10, list),
}
FORMS = [
    ("", "", "", ""),
    ("'", "", "' # it's", ""),
    ('"', "", '"', ""),
    ("`$5 \\$HOME ", "$5 $HOME ", "`", ""),
    ("${HOME}/", "/home/of/the/test/", "${NOTHING:-/$}", "/$"),
]
REFERENCES = ("$A", "${A}", "${B}/", "$C$A", "${NO:-$A}")
HOME = "/home/of/the/test"
READ = """
const fs = require("fs");
const [library, folder] = process.argv.slice(1);
const start = { ...process.env };
const vite = (it) => it.loadEnv("production", folder, "");
const next = (it) => {
  let failed = false;
  const { parsedEnv } = it.default.loadEnvConfig(folder, false, { error: () => (failed = true), info() {} }, true);
  return failed ? null : { ...parsedEnv, ...start };
};
import(library).then((it) => {
  const found = JSON.parse(fs.readFileSync(`${folder}/texts`)).map((text) => {
    fs.writeFileSync(`${folder}/.env`, text);
    return (library === "@next/env" ? next : vite)(it);
  });
  fs.writeFileSync(`${folder}/found`, JSON.stringify(found));
});
"""


@pytest.fixture(scope="module")
def written():
    return list(every_value_by("dotenv-vite", 100, *FORMS))


@pytest.fixture(scope="module")
def amid():
    """Rendered files, the same files with a harmless word, and the values."""
    return list(zip(*amid_junk("dotenv-vite", 6_000, (*PIECES, *REFERENCES)), strict=True))


@pytest.fixture(scope="module")
def texts():
    return [f"{text}\n" for text in junk(6_000, (*PIECES, *REFERENCES)) if not re.search(r"(?m)^ +=", text)]


@pytest.fixture(scope="module", params=READERS)
def reader(request):
    return request.param


@pytest.fixture(scope="module")
def found(reader, written, amid, texts):
    """The variables of each text, with only HOME set. One run reads all texts, because Vite starts slowly."""
    # Circular references make some parsers fill all memory.
    asked = [
        *(text for text, _ in written),
        *amid[0],
        *amid[1],
        *(text for text in texts if read_by_lessee(reader, text) is not None),
    ]
    return dict(zip(asked, read(reader, asked), strict=True))


def read(reader, texts):
    library, machine, *_ = READERS[reader]
    packages = npm.packages()
    # On a disk, rewriting a file takes ten times as long.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder, "texts").write_text(json.dumps(texts))
        command = [npm.program(packages, machine), "-e", READ, library, folder]
        subprocess.run(command, cwd=packages, env={"HOME": HOME}, check=True)
        return json.loads(Path(folder, "found").read_bytes())


def read_by_lessee(reader, text):
    """The variables that the verification reads; None for circular references."""
    _, _, parse, expand, order = READERS[reader]
    try:
        found = dotenv_vite.expanded(parse(text), expand, order, lambda name: HOME if name == "HOME" else "")
    except UnparsableError:
        return None
    return found | {"HOME": HOME}


@pytest.mark.thorough
def test_vite_and_next_get_every_value_and_nothing_else(found, written):
    assert [text for text, wanted in written if found[text] != wanted | {"HOME": HOME}] == []


def test_no_value_changes_the_surrounding_text_of_any_author(found, amid):
    assert [
        text for text, harmless, value in zip(*amid, strict=True) if found[text] != as_if(found[harmless], value)
    ] == []


def test_verification_reads_a_file_as_the_reader_does(found, reader, texts):
    assert [text for text in texts if read_by_lessee(reader, text) not in (None, found.get(text))] == []


def test_only_values_that_dotenv_node_cannot_represent_are_rejected():
    assert refused("dotenv-vite") == refused("dotenv-node")


def test_next_reads_nothing_of_circular_references():
    assert read("next", ["A=$A\nB=1\n"]) == [None]
