"""Node and npm's dotenv themselves read files of the format dotenv-node."""

import json
import re
import subprocess

import pytest

from lessee.rendering.formats import dotenv_node
from support import npm
from support.inputs.env_files import amid_junk, as_if, every_value, junk, refused
from support.inputs.hostile_values import VALUES

# The machine's own node; the last but a few of those that read as node 20 does; the newest of those that do not.
NODES = ["node", "node-22.12", "node-26"]
LIBRARIES = ["dotenv-16", "dotenv-17", "dotenv-18"]
FORMS = [
    ("", "", "", ""),
    ("'", "", "' # it's", ""),
    ('"', "", '"', ""),
    ("  `", "", "`  ", ""),
    ("x ", "x ", " y # z", " y"),
    ('"\\n', "\n", "'\"", "'"),
]
PARSE = """
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const parse = process.argv[1] === "node" ? require("util").parseEnv : require(process.argv[1]).parse;
console.log(JSON.stringify(texts.map((text) => parse(text))));
"""


@pytest.fixture(scope="module")
def parse():
    """A function that returns the variables that a reader finds in each text."""
    folder = npm.packages()

    def parse(reader, texts):
        node, library = (reader, "node") if reader in NODES else ("node", reader)
        command = [npm.program(folder, node), "-e", PARSE, library]
        done = subprocess.run(
            command, cwd=folder, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(done.stdout)

    return parse


@pytest.fixture(scope="module")
def written():
    return every_value("dotenv-node", *FORMS)


@pytest.fixture(scope="module")
def amid():
    """Rendered files, the same files with a harmless word, and the values."""
    return list(zip(*amid_junk("dotenv-node", 20_000), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize("node", NODES)
def test_node_gets_every_value_and_nothing_else(tmp_path, written, node):
    text, wanted = written
    (tmp_path / "app.env").write_bytes(text.encode())
    command = [npm.program(npm.packages(), node), "--env-file=app.env", "-p", "JSON.stringify(process.env)"]
    with (tmp_path / "found").open("wb") as found:  # To a pipe, an old node writes no more than the pipe's buffer.
        subprocess.run(command, cwd=tmp_path, env={}, stdout=found, check=True, timeout=60)
    assert json.loads((tmp_path / "found").read_bytes()) == wanted


@pytest.mark.parametrize("library", LIBRARIES)
def test_dotenv_gets_every_value_and_nothing_else(parse, written, library):
    text, wanted = written
    assert parse(library, [text]) == [wanted]


def test_only_values_that_quotes_cannot_represent_are_rejected():
    assert refused("dotenv-node") == {value for value in VALUES if not has_a_place(value)}


def has_a_place(value):
    """Whether quotes can contain the value: they have no escapes, and node drops carriage returns."""
    bare = value and value == value.strip() and not re.search(r"\A['\"`]|[\n#]", value)
    escape = re.search(r"\\[nr]", value)
    quotes = [quote for quote in "'\"`" if quote not in value and not (quote == '"' and escape)]
    return not re.search("[\0\r]", value) and bool(bare or (quotes and not value.endswith("\\")))


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("reader", [*NODES, *LIBRARIES])
def test_no_value_changes_the_surrounding_text_of_any_author(parse, amid, reader):
    written, harmless, values = amid
    found = zip(written, parse(reader, written), parse(reader, harmless), values, strict=True)
    assert [text for text, had, would, value in found if had != as_if(would, value)] == []


@pytest.mark.parametrize(
    ("reader", "ours"),
    [
        ("node-26", dotenv_node.node),
        ("node-22.12", dotenv_node.old_node),
        *((library, dotenv_node.npm) for library in LIBRARIES),
    ],
)
def test_verification_reads_a_file_as_the_reader_does(parse, reader, ours):
    # A name of blanks alone makes the old node read what lies before its text.
    texts = [f"{text}\n" for text in junk(20_000) if not re.search(r"^ +=", text, re.MULTILINE)]
    mine = [{name: value for name, (value,) in ours(text)} for text in texts]
    assert [text for text, a, b in zip(texts, mine, parse(reader, texts), strict=True) if a != b] == []
