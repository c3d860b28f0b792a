"""The files written for Vite and Next, and the rejected values. tests/readers tests them with both."""

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.formats import dotenv_vite, outline, write
from lessee.rendering.formats.variables import UnparsableError
from support.inputs.env_files import document

EXPANSIONS = [dotenv_vite.expand_12, dotenv_vite.expand_10]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("A=", ["$HOME"], "\n"), "A='\\$HOME'\n"),
        (("A=", ["a\\$b"], "\n"), "A='a\\\\$b'\n"),
        (("A=\\", ["$b"], "\n"), "A='\\\\$b'\n"),
        (("A=\\$", ["b$"], "{C}\n"), "A='\\$b\\${C}'\n"),
        (('A="${HOME}/', ["${A}"], '/$B"\n'), 'A="${HOME}/\\${A}/$B"\n'),
        (("A=", ["x"], "${HOME:-/}"), "A='x${HOME:-/}'\n"),
        (("A=", ["x"], "\nB=${A}y$A"), "A='x'\nB=${A}y$A\n"),
        (("# $", ["$A"], "\n"), "# $$A\n"),
    ],
)
def test_a_dollar_of_a_value_is_escaped_and_one_of_the_author_refers(parts, text):
    assert write(document(*parts), "dotenv-vite") == text


@pytest.mark.parametrize("around", [("$", ""), ("${", "}"), ("$B", ""), ("${B:-", "}"), ("${B", ":-x}"), ("$", "{x}")])
def test_a_value_inside_a_reference_of_the_author_is_rejected(around):
    before, after = around
    with pytest.raises(FormatError, match=r"^app\.env\.j2:1: database/postgres: password is inside a reference"):
        write(document(f"A={before}", ["HOME"], f"{after}\n"), "dotenv-vite")


@pytest.mark.parametrize("value", ["${HOME}", "x\\"])
def test_a_value_that_would_change_the_reference_after_it_is_rejected(value):
    with pytest.raises(FormatError, match="precedes a reference and ends in a backslash or contains the same"):
        write(document("A=", [value], "${HOME}\n"), "dotenv-vite")


@pytest.mark.parametrize("value", ["$B", "x$$", "x\\", "$`$A", "$B$A"])
def test_a_variable_with_a_reference_to_it_contains_nothing_to_expand_again(value):
    with pytest.raises(
        FormatError, match=r"^app\.env\.j2(:2)?: .*do not refer to variables whose value may contain a \$"
    ):
        write(document("A=", [value], "\nB=${A}/${A}${C}\n"), "dotenv-vite")


def test_a_reference_that_vite_and_next_read_differently_is_rejected_next_to_a_value():
    with pytest.raises(FormatError, match="where the parsers of this format differ"):
        write(document("A=${B-x}", ["y"], "\n"), "dotenv-vite")
    assert write(document("A=${B-x}\nC=", ["y"], "\n"), "dotenv-vite") == "A=${B-x}\nC='y'\n"


@pytest.mark.parametrize("text", ["A=$A", "A=$B\nB=$A"])
def test_circular_references_are_rejected_since_next_reads_nothing_of_them(text):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:1: references to variables are circular"):
        write(document(text), "dotenv-vite")


def test_the_outline_names_what_is_set_whatever_it_refers_to():
    assert outline("A=$A\nB=1\n", "dotenv-vite") == ("A", "B")


def expanded(expand, **raw):
    return dotenv_vite.expanded(
        [(name, (value,)) for name, value in raw.items()], expand, list, lambda name: "x" * (name == "X")
    )


@pytest.mark.parametrize(
    ("value", "newer", "older"),
    [
        ("$X/${X}$NO", "x/x", "x/x"),
        ("$X${X}", "xx", ""),
        ("${NO:-d}${X:-d}", "dx", "dx"),
        ("${NO-d}${X-d}", "dx", "-d}x-d}"),
        ("${X:+d}${NO:+d}${X+d}", "dd", "x:+d}:+d}x+d}"),
        ("${Anull}", "", ""),
        ("${NO:-${X}}", "x", "x"),
        ("\\$X\\${X}", "$X${X}", "$X${X}"),
        ("\\${X}${X}", "\\xx", "\\xx"),
        ("$5", "$5", ""),
        ("$X $", "x $", "$X $"),
    ],
)
def test_references_are_expanded_as_by_vite_and_next(value, newer, older):
    assert [expanded(expand, A=value)["A"] for expand in EXPANSIONS] == [newer, older]


@pytest.mark.parametrize("expand", EXPANSIONS)
def test_a_reference_reads_earlier_variables_expanded_and_later_ones_raw(expand):
    assert expanded(expand, A="\\$X", B="/${A}", C="/${D}", D="\\$X") == {"A": "$X", "B": "/x", "C": "/$X", "D": "$X"}


def test_a_variable_that_refers_to_itself_is_empty_in_vite():
    assert expanded(dotenv_vite.expand_12, A="$A") == {"A": ""}


@pytest.mark.parametrize("expand", EXPANSIONS)
def test_a_text_that_grows_endlessly_is_rejected(expand):
    with pytest.raises(UnparsableError, match="grow without limit"):
        expanded(expand, A="\\$`\\$A", B="x" * 1000 + "$A")


def test_a_value_may_grow_to_a_megabyte_and_no_character_more():
    assert len(dotenv_vite._replaced("x" * (1 << 20), "y", "")) == 1 << 20
    with pytest.raises(UnparsableError, match="grow without limit"):
        dotenv_vite._replaced("x" * (1 << 20), "x", "y")
