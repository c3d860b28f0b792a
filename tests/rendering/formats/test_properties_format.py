"""The format properties. tests/readers tests it with Java."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, properties, write

PIECES = (
    "=",
    ":",
    "#",
    "!",
    "\\",
    " ",
    "\t",
    "\f",
    "\n",
    "\r",
    "\r\n",
    "\\u0041",
    "\nx=1\n",
    "é",
    "😀",
    "\0",
    "\u2028",
)
any_text = st.characters(exclude_categories=["Cs"])
hostile = st.lists(st.sampled_from(PIECES) | any_text, max_size=12).map("".join)
AUTHOR = (
    "a",
    "b=",
    "c : ",
    "d ",
    "\n",
    "\r\n",
    "\r",
    "\\\n  ",
    "\\",
    "\\t",
    "\\u00e9",
    "\\ud83d",
    "# ",
    "!",
    " ",
    "\f",
    "=",
    "é",
)
author = st.lists(st.sampled_from(AUTHOR), max_size=14).map("".join)


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.properties.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


def read(text):
    return [(entry.key, entry.value) for entry in properties._read(text) if entry.key is not None]


@given(hostile)
@example(" = x")
def test_a_value_reads_back_whole_and_in_ascii(value):
    parts = ("a=", [value], "\nb ", [value], "\n c : x\\\n  ", [value], " \\u0041y \\\r\n!d= \r\n", "e", [value], "=1")
    text = write(document(*parts), "properties")
    assert read(text) == [("a", value), ("b", value), ("c", f"x{value} Ay !d= "), (f"e{value}", "1")]
    assert text.isascii()


@given(hostile)
def test_a_value_is_one_key_or_rejected(value):
    parts = ("a=1\n  ", [value], "\t2\n", [value], "x")
    if value in {"", "a"}:
        with pytest.raises(FormatError, match=r"^app\.properties\.j2:2: database/postgres: password makes a"):
            write(document(*parts), "properties")
        return
    assert read(write(document(*parts), "properties")) == [("a", "1"), (value, "2"), (f"{value}x", "")]


@given(author, hostile, author)
@example("\\", "", "")
@example("a=\\ud83d", "😀", "")
def test_no_value_changes_the_structure_with_any_text_of_the_author(before, value, after):
    try:
        text = write(document(before, [value], after), "properties")
    except FormatError:
        return
    harmless = read(f"{before}harmless{after}")
    assert read(text) == [(key.replace("harmless", value), text.replace("harmless", value)) for key, text in harmless]


@given(author)
def test_a_file_without_values_stays_byte_for_byte(text):
    assert write(document(text), "properties") == text


def test_entries_without_values_stay_byte_for_byte():
    text = write(document("# é\r\n\r\na : b \\\n\tc\nd=", ["v"], "\n\\\n e = \\u00e9 \\"), "properties")
    assert text == "# é\r\n\r\na : b \\\n\tc\nd=v\n\\\n e = \\u00e9 \\"


def test_a_value_is_written_as_plainly_as_it_can_be():
    parts = ("a = ", [' x="1: 2" # !'], "\nb.", ["c d=e"], " = ", ["é😀\\\t\n\r\f\0"], "\n")
    assert write(document(*parts), "properties") == (
        'a = \\ x="1: 2" # !\nb.c\\ d\\=e = \\u00E9\\uD83D\\uDE00\\\\\\t\\n\\r\\f\\u0000\n'
    )


@pytest.mark.parametrize(("data", "text"), [(True, "true"), (12, "12"), (1.5, "1.5")])
def test_a_scalar_is_its_text(data, text):
    assert write(document("a=", [data]), "properties") == f"a={text}"


def test_a_structure_is_rejected():
    with pytest.raises(FormatError, match="is a structure where a string is expected"):
        write(document("a=", [{"b": 1}]), "properties")


@pytest.mark.parametrize("parts", [("a=\\u12", ["canary"]), ("a=", ["canary"], "\\u"), ("\\uD83x=", ["canary"])])
def test_an_escape_that_java_rejects_is_rejected_by_line(parts):
    with pytest.raises(FormatError, match=r"^app\.properties\.j2:2: .u without four hex digits") as caught:
        write(document("\n", *parts), "properties")
    assert "canary" not in str(caught.value)
    with pytest.raises(FormatError, match=r"^.u without four hex digits"):
        outline("a=\\u12", "properties")


@pytest.mark.parametrize(
    "parts", [("a\\ b=1\n", ["a b"], "=2"), (["a b"], ":2\na\\u0020b"), (["a"], "=1\n", ["a"], "=2")]
)
def test_a_duplicate_key_is_rejected(parts):
    with pytest.raises(FormatError, match="database/postgres: password duplicates a key"):
        write(document(*parts), "properties")


def test_a_value_in_a_comment_stays_in_it():
    assert write(document("#", ["=\\é"], "\n  ! ", [1]), "properties") == "#=\\é\n  ! 1"
    for value in ("canary\nx=1", "canary\r", "canary\x85"):
        with pytest.raises(FormatError, match=r"^app\.properties\.j2:2: database/postgres: password has") as caught:
            write(document("\n#", [value]), "properties")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["a=2", "b=1", "a=1\nb=", ""])
def test_verification_rejects_a_value_that_reads_back_differently(text):
    marked = properties.mark_values(document("a=1"))
    with pytest.raises(FormatError, match="would parse back to different"):
        properties._verify(text, list(properties._read("a=1")), marked)


def test_the_outline_of_properties_names_the_keys_alone():
    assert outline("# c\na.b = x\\\n  y\n!\nc\\:d:\n\na.b=2\n", "properties") == ("a.b", "c:d")
    for junk in ("MIIEvQIBADANBgkq+hkiG9w0", "a b"):
        with pytest.raises(FormatError, match=r"^a line of the text has neither = nor :"):
            outline(f"a=1\n{junk}\n", "properties")
