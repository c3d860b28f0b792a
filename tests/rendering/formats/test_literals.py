"""The variables of files as their programs read them, with the places of their literals."""

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.formats.literals import FORMATS, literals, readings

TEXT = """\
# c
A='x'
B=abc
C="it's \\$5"
D=a${A}b
"""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dotenv", [("x",), ("abc",), ("it's \\$5",), ("a", "${A}", "b")]),
        ("dotenv-compose", [("x",), ("abc",), ("it's $5",), ("a", "${A}", "b")]),
        ("dotenv-node", [("x",), ("abc",), ("it's \\$5",), ("a${A}b",)]),
        ("dotenv-vite", [("x",), ("abc",), ("it's $5",), ("a", "${A}", "b")]),
        ("dotenv-docker", [("'x'",), ("abc",), ('"it\'s \\$5"',), ("a${A}b",)]),
        ("sh", [("x",), ("abc",), ("it's $5",), ("a", "${A}", "b")]),
        ("systemd", [("x",), ("abc",), ("it's $5",), ("a${A}b",)]),
    ],
)
def test_each_program_reads_the_variables_in_its_own_way(name, values):
    found = literals(TEXT, name)
    assert [(one.name, one.atoms) for one in found] == list(zip("ABCD", values, strict=True))
    assert [TEXT[one.at] for one in found] == list("ABCD")
    assert [TEXT[one.begin : one.end] for one in found] == ["'x'", "abc", '"it\'s \\$5"', "a${A}b"]
    assert [one.value for one in found] == [one[0] if len(one) == 1 else None for one in values]
    assert all([name for name, _ in reading] == list("ABCD") for reading in readings(TEXT, name))


def test_a_shell_script_assigns_in_many_places():
    text = (
        "set -a; A=1 B=2 run C=3\nexport D=4 E\n[ x = y ] && F='5'\nG=\nH+=x\n"
        "I=~/x J=a:~ K=\\~x L=a\\\nb M=\"a\\\nb$N\"$(ls)'c'\nrun\n"
    )
    assert [(one.name, one.atoms) for one in literals(text, "sh")] == [
        ("A", ("1",)),
        ("B", ("2",)),
        ("D", ("4",)),
        ("F", ("5",)),
        ("G", ("",)),
        ("I", ("", "~/x", "")),
        ("J", ("", "a:~", "")),
        ("K", ("~x",)),
        ("L", ("ab",)),
        ("M", ("ab", "$N", "", "$(", "ls", ")", "c")),
    ]


def test_names_without_a_value_are_none():
    assert literals("A\nB=1\n", "dotenv") == literals("A\nB=1\n", "dotenv")[-1:]
    assert [one.name for one in literals("A\nB=1\n", "dotenv-compose")] == ["B"]
    assert [one.name for one in literals("A\nB=1\n", "dotenv-docker")] == ["B"]
    assert [one.name for one in literals("A\n1=2\nB= 1 \n", "systemd")] == ["B"]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [("sh", "A=1\nB='x", "2"), ("dotenv-compose", "A=1\nB='x", "2"), ("dotenv-docker", "A=1\nB =x", "2")],
)
def test_a_file_that_its_program_rejects_is_an_error_with_the_line(name, text, line):
    for read in (literals, readings):
        with pytest.raises(FormatError) as caught:
            read(text, name)
        assert caught.value.where == line


def test_deep_nesting_is_an_error():
    with pytest.raises(FormatError, match="nested too deeply"):
        literals("A=" + "$(" * 100_000, "sh")


def test_all_formats_of_variables_are_known():
    assert all(literals("", name) == () for name in FORMATS)
