"""Chunks of a pipe are split into lines."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.mcp.session.line_splitter import LineSplitter


@given(st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"x", b"\n"))))
def test_the_lines_do_not_depend_on_the_chunks(chunks):
    splitter = LineSplitter()
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert [*found, splitter.take_rest()] == b"".join(chunks).split(b"\n")


def test_a_too_long_line_is_truncated_and_the_next_is_complete():
    splitter = LineSplitter(max_line=4)
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"defg") == []
    assert splitter.feed(b"hi\njk\nlmnopq\nr") == [b"abcd", b"jk", b"lmno"]
    assert splitter.take_rest() == b"r"


def test_an_incomplete_last_line_is_returned_once():
    splitter = LineSplitter()
    splitter.feed(b"a\nbc")
    assert (splitter.take_rest(), splitter.take_rest()) == (b"bc", b"")
