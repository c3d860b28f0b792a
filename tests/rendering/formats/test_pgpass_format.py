"""The format pgpass, tested with libpq, which reads a real file to open a connection."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import make_conninfo

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, pgpass, write

PIECES = (
    ":",
    "\\",
    "\\:",
    "*",
    "*:",
    "#",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "'",
    '"',
    "\n*:*:*:*:stolen\n",
    "é",
    "\u2028",
)
any_text = st.characters(exclude_categories=["Cs"])
hostile = st.lists(st.sampled_from(PIECES) | any_text, max_size=12).map("".join)
AUTHOR = ("h", ":", "*:", "*:*:", "*:*:*:*:", "\\", "\\:", "#", "\n", "\r\n", " ", "*", "p")
author = st.lists(st.sampled_from(AUTHOR), max_size=14).map("".join)


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.pgpass.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """The password that libpq uses, or an empty string, without a server."""
    path = tmp_path_factory.mktemp("pgpass") / ".pgpass"
    path.touch(mode=0o600)
    calm = {"hostaddr": "127.0.0.1", "port": "1", "sslmode": "disable", "gssencmode": "disable", "passfile": path}

    def ask(text, **who):
        path.write_bytes(text.encode())
        connection = pq.PGconn.connect_start(make_conninfo(**calm | who).encode())
        try:
            return connection.password.decode()
        finally:
            connection.finish()

    return ask


def fits(text):
    """Whether a line of a C text file can contain the value."""
    return not re.search("[\n\r\0]", text)


@given(hostile)
@example("*")
@example("#")
@example("\\")
def test_a_password_reads_back_whole_or_is_rejected(ask, value):
    parts = ("# c\nh:1:d:u:", [value], "\r\nh:1:d:v:x\\:", [value], "y\\")
    if not fits(value):
        with pytest.raises(FormatError, match=r"^app\.pgpass\.j2:2: database/postgres: password contains a newline"):
            write(document(*parts), "pgpass")
        return
    text = write(document(*parts), "pgpass")
    assert ask(text, host="h", dbname="d", user="u") == value
    assert ask(text, host="h", dbname="d", user="v") == f"x:{value}y\\"


@pytest.mark.long
@pytest.mark.parametrize("field", ["host", "port", "dbname", "user"])
@given(value=hostile.filter(lambda value: fits(value) and "," not in value and value))
@example(value="*")
@example(value="#h")
@example(value="::1")
def test_a_value_is_one_field_and_matches_only_itself(ask, field, value):
    who = {"host": "h", "port": "1", "dbname": "d", "user": "u"}
    parts = [part for text in (who | {field: [value]}).values() for part in (text, ":")]
    text = write(document(*parts, "p\n"), "pgpass")
    assert ask(text, **who | {field: value}) == "p"
    assert ask(text, **who | {field: f"{value}x"}) == ""


@given(author, st.sampled_from(["*", "", "#"]) | hostile, author)
@example("*:*:*:*:\\", "", "")
@example("*:*:", "*", ":*:p")
@example("", "#", ":*:*:*:p\n*:*:*:*:q")
@example("", "", "#\n*:*:*:*:q")
def test_no_value_makes_an_entry_match_more_or_less_with_any_text_of_the_author(ask, before, value, after):
    try:
        text = write(document(before, [value], after), "pgpass")
    except FormatError:
        return
    stray = {"host": "stray", "port": "2", "dbname": "stray", "user": "stray"}
    assert ask(text, **stray) == ask(f"{before}harmless{after}", **stray).replace("harmless", value)


@given(author)
def test_a_file_without_values_stays_byte_for_byte(text):
    assert write(document(text), "pgpass") == text


@pytest.mark.parametrize(
    "parts",
    [
        (["canary"],),
        ("h:1:d:", ["canary"]),
        ("h:1:d:u:p:", ["canary"]),
        (" # ", ["canary"]),
        ("h\\:1:d:u:", ["canary"]),
    ],
)
def test_a_value_on_a_line_that_is_not_an_entry_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.pgpass\.j2:2: database/postgres: password is on a line") as caught:
        write(document("#\n", *parts), "pgpass")
    assert "canary" not in str(caught.value)


def test_a_value_in_a_comment_stays_in_it():
    assert write(document("# ", ["a:b"], "\n"), "pgpass") == "# a:b\n"
    for value in ("canary\n*:*:*:*:x", "canary\r", "canary\0", "canary\x85"):
        with pytest.raises(
            FormatError, match=r"^app\.pgpass\.j2:1: database/postgres: password (has|contains) "
        ) as caught:
            write(document("# ", [value], "\n"), "pgpass")
        assert "canary" not in str(caught.value)


def test_a_structure_is_rejected():
    with pytest.raises(FormatError, match="is a structure where a string is expected"):
        write(document("h:1:d:u:", [["p"]]), "pgpass")


@pytest.mark.parametrize("text", ["h:1:d:u:q", "*:1:d:u:p", "#", "h:1:d:u:p\nh:1:d:u:p", "h:1:d:u:p:"])
def test_verification_rejects_a_value_that_reads_back_differently(text):
    with pytest.raises(FormatError, match="would parse back to different"):
        pgpass._verify(text, [["h", "1", "d", "u", "p"]], pgpass.mark_values(document("h:1:d:u:p")))


def test_the_outline_of_pgpass_counts_the_entries_alone():
    text = "# h:1:d:u:p\nh:1:d:u:p\n\nno entry\n*:*:*:v:\\:\r\n"
    assert outline(text, "pgpass") == ("entry[0]", "entry[1]")
