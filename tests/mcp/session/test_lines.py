"""Chunks of a pipe become lines, however they are cut."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.mcp.session.lines import Lines


@given(st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"x", b"\n"))))
def test_however_it_is_cut_the_lines_are_the_same(chunks):
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    assert [*found, lines.rest()] == b"".join(chunks).split(b"\n")


def test_of_a_line_that_is_too_long_its_beginning_comes_and_the_next_is_whole():
    lines = Lines(longest=4)
    assert lines.feed(b"abc") == []
    assert lines.feed(b"defg") == []
    assert lines.feed(b"hi\njk\nlmnopq\nr") == [b"abcd", b"jk", b"lmno"]
    assert lines.rest() == b"r"


def test_what_has_come_of_the_last_line_is_given_once():
    lines = Lines()
    lines.feed(b"a\nbc")
    assert (lines.rest(), lines.rest()) == (b"bc", b"")
