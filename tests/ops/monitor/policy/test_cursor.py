"""Which file of a log is next, and which contains a position."""

from lessee.ops.monitor.policy.cursor import (
    MAX_TAIL,
    MIN_TAIL,
    File,
    Position,
    candidates,
    hash_of,
    line_tail,
    next_file,
    past_after,
    unread_bytes,
)

PLACE = Position(began=100.0, device=1, inode=7, offset=50, tail="x", tail_length=50, at=101.0)


CURRENT = "audit.log"


def file(name, began, *, inode=1, size=100, compressed=False):
    return File(name, 1, inode, size, began, compressed)


def test_the_file_with_the_same_inode_is_tried_before_a_copy_and_a_copy_before_a_compressed_one():
    compressed = file("audit.log.1.gz", 100.0, inode=9, size=10, compressed=True)
    copy, own = file("audit.log.1", 100.0, inode=8), file("audit.log.2", 100.0, inode=7)
    assert candidates(PLACE, [compressed, copy, own]) == [own, copy, compressed]


def test_a_file_with_another_beginning_or_too_few_bytes_is_no_candidate():
    others = [file("a", 99.0, inode=7), file("b", None, inode=7), file("c", 100.0, inode=7, size=49)]
    assert candidates(PLACE, others) == []


def test_the_next_file_is_the_one_that_began_next_preferably_uncompressed():
    later, compressed = file("audit.log", 300.0), file("audit.log.1.gz", 200.0, compressed=True)
    plain = file("audit.log.1", 200.0)
    assert next_file(PLACE, [later, compressed, plain, file("x", 100.0), file("y", None)], CURRENT) == plain
    assert next_file(Position(200.0), [later, compressed], CURRENT) == later
    assert next_file(Position(300.0), [later], CURRENT) is None


def test_a_clock_set_back_makes_no_file_be_read_twice_or_never():
    before, now, older = file("audit.log.1", 100.0), file("audit.log", 40.0), file("audit.log.2", 30.0)
    files = [before, now, older]
    assert next_file(PLACE, files, CURRENT) == now
    assert past_after(PLACE, now, files) == (100.0,)
    position = Position(40.0, past=(100.0,))
    assert next_file(position, files, CURRENT) is None
    assert unread_bytes(position, files) == 0
    later = file("audit.log", 50.0)
    assert next_file(position, [*files, later], CURRENT) == later
    assert past_after(position, later, files) == (100.0,)
    assert past_after(Position(50.0, past=(100.0,)), file("audit.log", 200.0), files) == ()


def test_unread_bytes_are_the_rest_of_the_file_and_each_later_file_once():
    files = [
        file("audit.log.1.gz", 200.0, compressed=True, size=10),
        file("audit.log.1", 200.0, size=1000),
        file("audit.log.2", 100.0, size=60),
        file("audit.log.3", 50.0, size=1000),
        file("audit.log", None, size=5),
    ]
    assert unread_bytes(PLACE, files) == 10 + 1000
    assert unread_bytes(Position(100.0), files) == 1000
    assert unread_bytes(PLACE, [file("a", 100.0, size=10), file("a.gz", 100.0, size=10, compressed=True)]) == 0


def test_a_position_is_identified_by_its_whole_last_line_within_bounds():
    short, long = b"x" * 600 + b"\n" + b"y" * 10 + b"\n", b"a\n" + b"z" * 2000 + b"\n"
    assert line_tail(short) == short[-MIN_TAIL:]
    assert line_tail(long) == b"z" * 2000 + b"\n"
    assert line_tail(b"no line") == b"no line"
    assert len(line_tail(b"q" * (MAX_TAIL + 5) + b"\n")) == MAX_TAIL
    assert hash_of(b"a") != hash_of(b"b")
