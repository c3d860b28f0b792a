"""The format systemd, and the rejected values. tests/readers tests it with systemd."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, systemd, write

PIECES = (
    "'",
    '"',
    "$",
    "`",
    "#",
    ";",
    "\n",
    "\r",
    "\r\n",
    "\\",
    " ",
    "=",
    "\t",
    "é",
    "\ufdd0",
    "\U0010ffff",
    "A=",
    "B='",
)
any_text = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
hostile = st.lists(st.sampled_from(PIECES) | any_text, max_size=12).map("".join)
author = st.lists(st.sampled_from([*PIECES, *"aB1_", "\\\n"]), max_size=14).map("".join)


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.env.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "db/main: password") for part in parts),
    )


def read(text):
    return [(line.name, line.value) for line in systemd._read(text) if line.name is not None]


@pytest.mark.parametrize(
    ("before", "value", "after", "text"),
    [
        ("A=", "x", "\n", 'A="x"\n'),
        (" A =", " x\n", "", ' A =" x\n"'),
        ("A='a", "'", "'\n", 'A="a\'"\n'),
        ('A="a\\"\\q', '\\"$`', '"\r\n', 'A="a\\"\\\\q\\\\\\"\\$\\`"\r\n'),
        ("A= a\\ ", "b", " \\  \nB=1\n", 'A="a b  "\nB=1\n'),
        ("A='a' ", "b", ' "c"  d\\\ne  \n', 'A="ab \\"c\\"  de"\n'),
        ("A='a'\t'b'", "", "\n", 'A="ab"\n'),
        ("A=a", " # ", "c\\", 'A="a # c"'),
        ('A="a\\\nb\r', "\r", '"', 'A="ab\r\r"'),
        ("# ", "it's", "\n;\nA=1\n", "# it's\n;\nA=1\n"),
        ("A=1 # ; '\nB=", "", "", 'A=1 # ; \'\nB=""'),
    ],
)
def test_a_value_is_written_as_one_literal_in_double_quotes(before, value, after, text):
    assert write(document(before, [value], after), "systemd") == text


@given(hostile)
@example("\\")
def test_every_value_reads_back_or_systemd_does_not_accept_it(value):
    doc = document("A=", [value], "\nB='x", [value], "y'\nC=1\n")
    if re.search("[\ufdd0-\ufdef]", value) or any(ord(char) & 0xFFFE == 0xFFFE for char in value):
        with pytest.raises(FormatError, match="password contains a Unicode noncharacter") as caught:
            write(doc, "systemd")
        assert str(caught.value).startswith("app.env.j2:1: ")
    else:
        assert read(write(doc, "systemd")) == [("A", value), ("B", f"x{value}y"), ("C", "1")]


@given(author, hostile, author)
def test_no_value_adds_or_removes_a_variable_with_any_text_of_the_author(before, value, after):
    try:
        text = write(document(before, [value], after), "systemd")
    except FormatError:
        return
    harmless = [name for name, _ in read(f"{before}harmless{after}")]
    assert [name for name, _ in read(text)] == [name.replace("harmless", value) for name in harmless]


@pytest.mark.no_cover
@given(author)
def test_a_file_without_values_stays_byte_for_byte(text):
    try:
        assert write(document(text), "systemd") == text
    except FormatError as exc:
        assert "Unicode noncharacter" in str(exc)  # noqa: PT017  # Else it is a failure.


def test_a_code_point_that_is_not_a_character_is_rejected_in_the_authors_text_too():
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: .* systemd ignores the whole file; remove it"):
        write(document("A=1\nB=a\ufdd0\n"), "systemd")
    assert write(document("# \ufdd0", ["\ufffe"]), "systemd") == "# \ufdd0\ufffe"


@pytest.mark.parametrize(
    "parts", [(["x"],), ("A ", ["x"]), ("A='x'\n", ["x"], "\nB=1"), ("export ", ["A"], "\n"), ("A=1\n=", ["x"])]
)
def test_a_value_on_a_line_that_assigns_nothing_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:\d: db/main: password is on a line"):
        write(document(*parts), "systemd")


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["export A", "1A", "A-B", "'A'", "é", "\ufeffA"])
def test_a_value_of_a_variable_that_systemd_would_drop_is_rejected(name):
    with pytest.raises(FormatError, match=r"password is on a line with an invalid name"):
        write(document(name, "=", ["canary"]), "systemd")


def test_a_value_may_be_part_of_a_name():
    assert write(document(["db"], "_URL=", ["x"], "\n B", ["2"], " =y\n"), "systemd") == 'db_URL="x"\n B2 =y\n'


@pytest.mark.parametrize("value", ["", "1", "a b", "a=b", "a\nb", "é"])
def test_a_name_that_is_invalid_is_rejected(value):
    with pytest.raises(FormatError, match="does not form a valid variable name"):
        write(document([value], "=x"), "systemd")


@pytest.mark.parametrize("parts", [(["A"], "=x\nA=y"), ("A=x\n", ["A"], " =y"), (["A"], "=x\n", ["A"], "=y")])
def test_a_duplicate_name_is_rejected(parts):
    with pytest.raises(FormatError, match="duplicates the name of a variable"):
        write(document(*parts), "systemd")


@pytest.mark.parametrize("text", ["A='", 'A="', 'A="\\', "A='a' \"b"])
def test_a_quote_that_is_not_closed_is_rejected_next_to_a_value(text):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: a quote is not closed; close it"):
        write(document("X=", ["x"], "\n", text), "systemd")
    assert write(document(text), "systemd") == text


@pytest.mark.parametrize("line_break", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
@pytest.mark.parametrize("before", ["# ", " ;"])
def test_a_line_break_in_a_comment_is_rejected(before, line_break):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: .* several lines") as caught:
        write(document("\n", before, [f"canary{line_break}B=1"]), "systemd")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "parts", [("# ", ["a\\"], "\nB=1"), ("# ", ["a"], "\\\nB=1"), ("# a\\\nB=", ["1"]), (";\\\\", ["\\"])]
)
def test_a_comment_that_old_systemd_reads_on_after_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:1: the comment ends in a backslash"):
        write(document(*parts), "systemd")
    assert write(document("# a\\\\\nB=", ["1"]), "systemd") == '# a\\\\\nB="1"'


@pytest.mark.parametrize("before", ["A=", "# "])
def test_a_nul_is_rejected_since_no_environment_can_contain_it(before):
    with pytest.raises(FormatError, match="contains a NUL") as caught:
        write(document(before, ["canary\0"]), "systemd")
    assert "canary" not in str(caught.value)


def test_verification_rejects_a_file_that_lost_a_variable():
    marked = systemd.mark_values(document("A=1\nB=", ["x"]))
    lines = list(systemd._read(marked.text))
    with pytest.raises(FormatError, match=r"^app\.env\.j2: the file would parse back to different"):
        systemd._verify('A=1B="x"', lines, marked)


def test_the_outline_of_systemd_names_the_variables_that_a_service_gets():
    assert outline("# c\nA='x\nB=y'\n D =2\nA=3\nexport E=1\n;\n", "systemd") == ("A", "D")
    for junk in ("C", "MIIEvQIBADANBgkq+hkiG9w0"):
        with pytest.raises(FormatError, match=r"^a line of the text assigns no variable"):
            outline(f"A=1\n{junk}\n", "systemd")
