"""The format dotenv, tested with python-dotenv on real files."""

import io
import os
import re
import string
from pathlib import Path

import pytest
from dotenv import dotenv_values, parser
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import dotenv, outline, write

PIECES = ("'", '"', "$", "${", "}", "${HOME}", ":-", "#", " #", "\n", "\r", "\r\n", "\\", " ", "=", "\t", "`")
MORE_PIECES = (
    "\nLD_PRELOAD=/tmp/x.so\n",
    "é",
    "😀",
    "\x85",
    "\u2028",
    "\x0b",
    "\x1c",
    "\x7f",
    "\ufeff",
    "export ",
)
any_text = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
hostile = st.lists(st.sampled_from(PIECES + MORE_PIECES) | any_text, max_size=12).map("".join)
author = st.lists(st.sampled_from([*PIECES, *"aB1_", "A=", "A='", 'B="', "\ufeff", "\x0c", "\\n"]), max_size=14)


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.env.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


def read(text, folder, **options):
    path = folder / "app.env"
    path.write_bytes(text.encode())
    return dict(dotenv_values(path, **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dotenv")


@pytest.fixture(autouse=True)
def _home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/the/test")


@given(hostile)
@example("x\\")
@example("$")
@example("\ufeff\r")
def test_every_value_reads_back_whole_in_every_quoting(folder, value):
    text = write(
        document("BARE=", [value], "\nexport SINGLE='", [value], "'\nDOUBLE=\"", [value], '" # c\nLAST=1\n'),
        "dotenv",
    )
    assert read(text, folder) == {"BARE": value, "SINGLE": value, "DOUBLE": value, "LAST": "1"}


@pytest.mark.long
@given(st.lists(hostile, min_size=1, max_size=4), hostile)
def test_adjacent_values_read_back_as_one(folder, values, other):
    parts = [part for value in values for part in ("${", [value], "{$")]
    text = write(document("A=", *parts, "\nB=", [other]), "dotenv")
    assert read(text, folder) == {"A": "".join("${" + value + "{$" for value in values), "B": other}


@pytest.mark.no_cover
@given(hostile)
def test_python_dotenv_before_1_2_3_reads_the_same_values(folder, value):
    # Its quoting rules: there a quote after two backslashes closed nothing.
    old = {
        "_single_quoted_value": re.compile(r"'((?:\\'|[^'])*)'"),
        "_double_quoted_value": re.compile(r'"((?:\\"|[^"])*)"'),
    }
    text = write(document("A=", [value], "\nB='", [value], "'\nC='quoted'\n"), "dotenv")
    with pytest.MonkeyPatch.context() as patch:
        for name, pattern in old.items():
            patch.setattr(parser, name, pattern)
        assert read(text, folder) == {"A": value, "B": value, "C": "quoted"}


@given(author.map("".join))
def test_verification_reads_a_file_as_python_dotenv_does(text):
    theirs = [
        (binding.key, binding.value)
        for binding in parser.parse_stream(io.StringIO(newlines(text)))
        if binding.key is not None
    ]
    ours = [
        (newlines(statement.key), dotenv._decode(statement.literal) if statement.assigns else None)
        for statement in dotenv._read(text)
        if statement.key is not None
    ]
    assert ours == theirs


def newlines(text):
    """The text after universal newline translation."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.no_cover
@given(author.map("".join), hostile, author.map("".join))
def test_no_value_adds_or_removes_a_variable_with_any_text_of_the_author(folder, before, value, after):
    try:
        text = write(document(before, [value], after), "dotenv")
    except FormatError:
        return
    harmless = read(f"{before}harmless{after}", folder, interpolate=False)
    values = read(text, folder, interpolate=False)
    if set(values) != set(harmless):  # The value is in a name.
        assert {name.replace("harmless", value) for name in harmless} == set(values)


@pytest.mark.no_cover
@given(author.map("".join))
def test_a_file_without_values_stays_byte_for_byte(text):
    assert write(document(text), "dotenv") == text


def test_lines_without_values_stay_byte_for_byte():
    text = write(document("# head\r\n\r\nX = 'a' # b\r\nA=", ["v"], ' # c\r\nno assignment\r\nB="\\x"  '), "dotenv")
    assert text == "# head\r\n\r\nX = 'a' # b\r\nA='v' # c\r\nno assignment\r\nB=\"\\x\"  "


def test_quotes_of_the_author_are_decoded_as_by_python_dotenv(folder):
    text = write(
        document('A="\\t\\"\\\\', ["x"], "\r\n$\\q\"\nB='\\'\\n\\\\", ["x"], "'\nC= a\\n", ["x"], "  \n"),
        "dotenv",
    )
    assert read(text, folder) == {"A": '\t"\\x\n$\\q', "B": "'\\n\\x", "C": "a\\nx"}


def test_the_authors_own_interpolation_is_kept(folder):
    text = write(document("A=${HOME}/$", ["${HOME}"], "${NOT_SET:-it's}${:-d}${}", ["{x}"], "\n"), "dotenv")
    assert read(text, folder) == {"A": "/home/of/the/test/$${HOME}it'sd{x}"}


@pytest.mark.parametrize("braces", [("${", "}"), ("${A:-", "}"), ("${A", ":-x}")])
def test_a_value_inside_braces_of_the_author_is_rejected(braces):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:1: database/postgres: password is inside"):
        write(document("A=", braces[0], ["HOME"], braces[1]), "dotenv")


def test_a_comment_after_a_bare_value_is_not_part_of_it(folder):
    text = write(document("A=a ", ["b #"], " # for ", ["it's"], "\nB= # ", ["x"], "\n"), "dotenv")
    assert text == "A='a b #' # for it's\nB= # x\n"
    assert read(text, folder) == {"A": "a b #", "B": ""}


@pytest.mark.parametrize("line_break", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
@pytest.mark.parametrize("before", ["# ", "A=1 # "])
def test_a_line_break_in_a_comment_is_rejected(before, line_break):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: .* several lines") as caught:
        write(document("\n", before, [f"canary{line_break}B=1"]), "dotenv")
    assert "canary" not in str(caught.value)


def test_a_value_may_be_part_of_a_name(folder):
    text = write(document(["db"], "_URL=", ["x"], "\nexport '", ["B_"], "2'='y'\n"), "dotenv")
    assert read(text, folder) == {"db_URL": "x", "B_2": "y"}


@pytest.mark.no_cover
@given(hostile.filter(lambda text: not set(text) <= set(string.ascii_letters + string.digits + "_")))
@example("A\nB")
@example("é")
def test_a_name_that_is_invalid_is_rejected(value):
    with pytest.raises(FormatError, match="does not form a valid variable name"):
        write(document("N", [value], "=x"), "dotenv")


def test_a_name_that_begins_with_a_digit_is_rejected():
    with pytest.raises(FormatError, match=r"app\.env\.j2:1: .*does not form a valid"):
        write(document(["1A"], "=x"), "dotenv")


@pytest.mark.parametrize("parts", [(["A"], "=x\nA=y"), ("A=x\n", ["A"], "=y"), (["A"], "=x\n", ["A"], "=y")])
def test_a_duplicate_name_is_rejected(parts):
    with pytest.raises(FormatError, match="duplicates the name of a variable"):
        write(document(*parts), "dotenv")


def test_duplicate_names_of_the_author_are_kept():
    assert write(document("A=1\nA=", ["x"]), "dotenv") == "A=1\nA='x'"


@pytest.mark.parametrize("parts", [(["x"],), ("A ", ["x"]), ("A='x'", ["x"]), ("export ", ["x"], "\nB=1")])
def test_a_value_on_a_line_that_assigns_nothing_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: database/postgres: password is on a line"):
        write(document("#\n", *parts), "dotenv")


def test_an_open_quote_of_the_author_is_found_before_it_swallows_a_value():
    with pytest.raises(FormatError, match=r"^app\.env\.j2:3: the file would parse back to different.*close the quotes"):
        write(document("X=1\nA='x\nB=", ["canary"], "\nC=1\n"), "dotenv")


def test_a_nul_is_rejected_since_no_environment_can_contain_it():
    for before in ("A=", "# "):
        with pytest.raises(FormatError, match="contains a NUL") as caught:
            write(document(before, ["canary\0"]), "dotenv")
        assert "canary" not in str(caught.value)


def test_verification_rejects_a_file_that_lost_a_statement():
    statements = list(dotenv._read("A=1\nB=2\n"))
    meanings = [dotenv._meaning(statement) for statement in statements]
    marked = dotenv.mark_values(document("A=1\nB=2\n"))
    with pytest.raises(FormatError, match="would parse back to different"):
        dotenv._verify("A=1\n", statements, meanings, marked)


def test_the_outline_of_dotenv_names_the_variables():
    assert outline("# c\nexport A='x\nB=y'\n\n  # d\nC=\nA=2\n", "dotenv") == ("A", "C")


@pytest.mark.parametrize("line", ["C", "'=", "MIIEvQIBADANBgkq+hkiG9w0", "a b"])
def test_text_that_may_be_part_of_a_value_is_not_a_name(line):
    with pytest.raises(FormatError, match=r"^a line of the text assigns no variable"):
        outline(f"A=1\n{line}\nB=2\n", "dotenv")


def test_the_example_of_the_repository_reads_as_pydantic_would(tmp_path: Path):
    secret = "p'a\"s$s${HOME}#w\\o\nrd"
    text = write(
        document("# Simba\nDATABASE_URL=postgresql://simba:", [secret], "@db:5432/simba\nPORT=", [5432]),
        "dotenv",
    )
    assert read(text, tmp_path) == {
        "DATABASE_URL": f"postgresql://simba:{secret}@db:5432/simba",
        "PORT": "5432",
    }


@given(author.map("".join), hostile, author.map("".join))
@example("A=1\nB=", "${A}", "\nC=${A}${HOME}${NO:-d}${NO}")
def test_the_variables_of_a_file_are_those_that_python_dotenv_sets(folder, before, value, after):
    try:
        text = write(document(before, [value], after), "dotenv")
    except FormatError:
        return
    theirs = {newlines(name): value for name, value in read(text, folder).items() if value is not None}
    ours = {newlines(name): value for name, value in dotenv.variables(text, os.environ).items()}
    assert ours == theirs
