"""The files written for Compose, and the rejected values. tests/readers tests them with Compose itself."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.formats import dotenv_compose, outline, write
from lessee.rendering.formats.variables import UnparsableError
from support.inputs.env_files import document


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("A=", ["x"], "\n"), "A='x'\n"),
        (("A=", ["it's"], ""), "A='it\\'s'"),
        (("A=", ["a\\b"], "\n"), "A='a\\b'\n"),
        (("A=", ["a\\"], "\n"), 'A="a\\\\"\n'),
        (("A=", ["\\'$"], "\n"), 'A="\\\\\'$$"\n'),
        (("A=", ["a\nb"], " # c\n"), "A='a\nb' # c\n"),
        (("A=", ["$HOME"], "\n"), "A='$HOME'\n"),
        (("A=", ["$HOME"], "$HOME\n"), 'A="$$HOME$HOME"\n'),
        (("A=${HOME:-\\}", ["\\"], "\n"), 'A="${HOME:-\\\\}\\\\"\n'),
        (("A=a$$b$ ", ["$"], "\n"), "A='a$b$ $'\n"),
        (('A="\\t\\$\\0101\\012\\q\\c', ["x"], '"\n'), 'A="\t$$A\\\\12\\\\q\\\\cx"\n'),
        (('A="', ['"'], '"\n'), 'A="\\""\n'),
        (("A='\\'\\\\", ["x"], "'\n"), "A='\\'\\\\x'\n"),
        (("A= ", ["x"], " \t\r\n"), "A= 'x' \t\r\n"),
        (("A: ", ["x"], "B='", ["y"], "'C=", ["z"], "\n"), "A: 'xB=\\'y\\'C=z'\n"),
        (("A: '", ["x"], "'B='", ["y"], "'C=", ["z"], "\n"), "A: 'x'B='y'C='z'\n"),
        (("export A.b[0]-c = #", ["x"], "#y\n"), "export A.b[0]-c = '#x#y'\n"),
        (("\ufeffA=", ["x"], "\n"), "\ufeffA='x'\n"),
        ((["x"], "=\n"), "x=\n"),
    ],
)
def test_a_value_without_an_adjacent_reference_gets_single_quotes(parts, text):
    assert write(document(*parts), "dotenv-compose") == text


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
@example("\\")
def test_every_value_can_be_represented(value):
    text = write(document("A=", [value], '\nB="', [value], '"\nC=${D}', [" "], [value], "\n"), "dotenv-compose")
    read = dict(dotenv_compose.read(text))
    assert read == {"A": (value,), "B": (value,), "C": ("", "${D}", f" {value}")}


@pytest.mark.parametrize(
    "around", [("$", ""), ("${", "}"), ("$B", ""), ("${B:-", "}"), ("${B?", "}"), ("$", "{x}"), ("${A:-{{}", "}")]
)
def test_a_value_inside_a_reference_of_the_author_is_rejected(around):
    before, after = around
    with pytest.raises(FormatError, match=r"^app\.env\.j2:1: database/postgres: password is inside a reference"):
        write(document(f"A={before}", ["HOME"], f"{after}\n"), "dotenv-compose")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("A B=1", "expects the name"),
        ("A;=1", "expects the name"),
        ("A B\n", "expects the name"),
        ("export ", "expects the name"),
        ("A='x", "the quotes are not closed"),
        ('A="x\\"', "the quotes are not closed"),
        ("A=${", "does not support this"),
        ("A=${B", "does not support this"),
        ("A=${B:-${}}", "does not support this"),
        ("A=${B:-c", "does not support this"),
        ('A="${B:-c\n}"', "does not support this"),
        ("A=${B}${B:-${C:-}", "does not support this"),
    ],
)
def test_a_file_that_compose_would_reject_is_rejected_with_its_line(text, what):
    for parts in ((text,), (["canary"], "=x\n", text)):
        with pytest.raises(FormatError) as caught:
            write(document("\n# c\n", *parts), "dotenv-compose")
        assert str(caught.value).startswith(f"app.env.j2:{len(parts) // 2 + 3}: ")
        assert what in str(caught.value)
        assert "canary" not in str(caught.value)


def test_a_file_that_compose_would_reject_has_no_outline():
    with pytest.raises(FormatError, match="the quotes are not closed; render the file again"):
        outline("A='x", "dotenv-compose")


def test_the_outline_names_what_is_set():
    assert outline("A: 1\nexport B.c='x\nD=1'\nHOME\n", "dotenv-compose") == ("A", "B.c")
    with pytest.raises(FormatError, match=r"^a line of the text assigns no variable"):
        outline("HOME\nE", "dotenv-compose")


@pytest.mark.parametrize("text", ["{}", "HOME\n{}\n", "A='x' {}"])
def test_a_name_without_a_value_is_not_a_variable(text):
    before, after = text.split("{}")
    with pytest.raises(FormatError, match="is on a line that assigns no variable"):
        write(document(before, ["x"], after), "dotenv-compose")


@pytest.mark.parametrize(
    ("raw", "atoms"),
    [
        ("a$$b$", ["a$b$"]),
        ("$A", ["", "$A", ""]),
        ("${A}$b1-", ["", "${A}", "", "$b1", "-"]),
        ("$1${_a}", ["$1", "${_a}", ""]),
        ("${A:-x}y}$", ["", "${A:-x}", "y}$"]),
        ("${A:-{x}y}z}", ["", "${A:-{x}y}", "z}"]),
        ("${A:-{}}", ["", "${A:-{}}", ""]),
        ("${A:-{{}", ["", "${A:-{{}", ""]),
        ("${A-${B}}${C}", ["", "${A-${B}}", "", "${C}", ""]),
    ],
)
def test_references_end_where_compose_ends_them(raw, atoms):
    assert dotenv_compose.atoms(raw) == atoms


def test_verification_names_no_line_if_nothing_can_be_read():
    with pytest.raises(UnparsableError):
        dotenv_compose.read("A='")
