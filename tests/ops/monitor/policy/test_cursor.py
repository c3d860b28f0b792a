"""Which file of a log comes next, and which is the one in which somebody was."""

from lessee.ops.monitor.policy.cursor import (
    LEAST_TAIL,
    MOST_TAIL,
    File,
    Place,
    behind,
    following,
    hashed,
    past,
    same,
    tail_of,
)

PLACE = Place(began=100.0, device=1, inode=7, offset=50, tail="x", tail_length=50, at=101.0)


NOW = "audit.log"


def file(name, began, *, inode=1, size=100, packed=False):
    return File(name, 1, inode, size, began, packed)


def test_the_file_of_the_same_inode_is_tried_before_a_copy_and_a_copy_before_a_packed_one():
    packed = file("audit.log.1.gz", 100.0, inode=9, size=10, packed=True)
    copy, own = file("audit.log.1", 100.0, inode=8), file("audit.log.2", 100.0, inode=7)
    assert same(PLACE, [packed, copy, own]) == [own, copy, packed]


def test_a_file_that_began_otherwise_or_is_too_short_is_not_the_one():
    others = [file("a", 99.0, inode=7), file("b", None, inode=7), file("c", 100.0, inode=7, size=49)]
    assert same(PLACE, others) == []


def test_the_next_is_the_one_that_began_next_and_the_unpacked_one_of_two():
    later, packed = file("audit.log", 300.0), file("audit.log.1.gz", 200.0, packed=True)
    plain = file("audit.log.1", 200.0)
    assert following(PLACE, [later, packed, plain, file("x", 100.0), file("y", None)], NOW) == plain
    assert following(Place(200.0), [later, packed], NOW) == later
    assert following(Place(300.0), [later], NOW) is None


def test_a_clock_that_was_put_back_makes_no_file_be_read_twice_or_never():
    before, now, older = file("audit.log.1", 100.0), file("audit.log", 40.0), file("audit.log.2", 30.0)
    files = [before, now, older]
    assert following(PLACE, files, NOW) == now
    assert past(PLACE, now, files) == (100.0,)
    place = Place(40.0, past=(100.0,))
    assert following(place, files, NOW) is None
    assert behind(place, files) == 0
    later = file("audit.log", 50.0)
    assert following(place, [*files, later], NOW) == later
    assert past(place, later, files) == (100.0,)
    assert past(Place(50.0, past=(100.0,)), file("audit.log", 200.0), files) == ()


def test_what_is_behind_is_the_rest_of_the_file_and_all_that_began_later_once():
    files = [
        file("audit.log.1.gz", 200.0, packed=True, size=10),
        file("audit.log.1", 200.0, size=1000),
        file("audit.log.2", 100.0, size=60),
        file("audit.log.3", 50.0, size=1000),
        file("audit.log", None, size=5),
    ]
    assert behind(PLACE, files) == 10 + 1000
    assert behind(Place(100.0), files) == 1000
    assert behind(PLACE, [file("a", 100.0, size=10), file("a.gz", 100.0, size=10, packed=True)]) == 0


def test_a_place_is_known_by_its_whole_last_line_within_bounds():
    short, long = b"x" * 600 + b"\n" + b"y" * 10 + b"\n", b"a\n" + b"z" * 2000 + b"\n"
    assert tail_of(short) == short[-LEAST_TAIL:]
    assert tail_of(long) == b"z" * 2000 + b"\n"
    assert tail_of(b"no line") == b"no line"
    assert len(tail_of(b"q" * (MOST_TAIL + 5) + b"\n")) == MOST_TAIL
    assert hashed(b"a") != hashed(b"b")
