"""TOML parsers in Python, Rust and JavaScript read the format toml, wherever a value is."""

import json
import subprocess
import tomllib
from importlib import import_module
from importlib.util import find_spec

import pytest

from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES
from support.needs import need
from support.npm import packages

TYPED = (
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    1.5,
    -0.0,
    1e-07,
    1e22,
    5e-324,
    [],
    {},
    [[], {}],
    {"a b": [1, "x", {"": ""}]},
)


def placeholder(value):
    return Placeholder(value, "a value")


@pytest.fixture(scope="module")
def text():
    """Every value as a whole value, in every kind of string, next to text, and as a key."""
    parts = []
    for number, value in enumerate(VALUES):
        it = placeholder(value)
        parts += [f"[v{number}]\nbare = ", it, '\nbasic = "', it, "\"\nliteral = 'x", it, "x'\n"]
        parts += ['long = """\n', it, "\"\"\"\nlongest = '''\n", it, "\n'''\ninline = {a = ", it, ", b = [", it, "]}\n"]
        parts += ["k.", it, " = 1\n[v", str(number), ".t.", it, "]\nend = true\n"]
    return write(Document("x", tuple(parts)), "toml")


@pytest.fixture(scope="module")
def expected():
    return {f"v{number}": meaning(value) for number, value in enumerate(VALUES)}


def meaning(value):
    strings = {"bare": value, "basic": value, "literal": f"x{value}x", "long": value, "longest": f"{value}\n"}
    return strings | {"inline": {"a": value, "b": [value]}, "k": {value: 1}, "t": {value: {"end": True}}}


def test_every_hostile_value_reads_back_unchanged(text, expected):
    assert tomllib.loads(text) == expected


@pytest.mark.parametrize("reader", ["rtoml", "tomlkit"])
def test_other_python_readers_read_the_same(text, expected, reader):
    need(find_spec(reader), f"needs {reader}: pip install {reader}")
    loads = import_module(reader).loads
    assert loads(text) == expected
    for value in TYPED:
        assert repr(loads(write(Document("x", ("a = ", placeholder(value))), "toml"))["a"]) == repr(value)


@pytest.mark.parametrize("reader", ["smol-toml", "@iarna/toml"])
def test_javascript_readers_read_the_same(text, expected, reader):
    need((packages() / "node_modules" / reader).exists(), f"needs {reader} in tests/readers/package.json")
    script = f"const text = require('fs').readFileSync(0, 'utf8'); const {{parse}} = require('{reader}')"
    command = ["node", "-e", f"{script}; process.stdout.write(JSON.stringify(parse(text)))"]
    done = subprocess.run(command, cwd=packages(), input=text.encode(), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == expected
