"""An undo gives back each unchanged line, and names each other one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.adopt.policy.edits import apply_edits, with_compose_files
from lessee.ops.adopt.policy.model import Edit, Span
from lessee.ops.adopt.policy.undone_edits import LeftLine, undone

REF = "ref+openbao://api-keys/{}#api_key"


def edit_of(content, old, new):
    start = content.index(old.encode())
    return Edit(Span("f", content.count(b"\n", 0, start) + 1, start, start + len(old)), new)


def env(*names):
    """An env file of these variables, and the edits that make references of them."""
    content = "".join(f"{name}=secret-of-{name}\n" for name in names).encode()
    return content, [edit_of(content, f"secret-of-{name}", REF.format(name)) for name in names]


def test_an_unchanged_file_comes_back_byte_for_byte():
    before = b"a\r\npw=secret"
    edits = [edit_of(before, "secret", "ref"), with_compose_files(".env", before, ["a", "b"])]
    assert undone(before, edits, apply_edits(before, edits)) == (before, ())


def test_what_a_person_changed_elsewhere_stays():
    before = b"a: 1\npw: secret\nc: 3\n"
    edits = [edit_of(before, "secret", "ref"), with_compose_files("f", before, ["x", "y"])]
    current = b"# new\na: 2\npw: ref\nc: 3\nd: 4\nCOMPOSE_FILE=x:y\n"
    assert undone(before, edits, current) == (b"# new\na: 2\npw: secret\nc: 3\nd: 4\n", ())


def test_a_line_that_a_person_changed_does_not_keep_its_neighbors():
    before, edits = env("A", "B", "C", "D")
    current = apply_edits(before, edits).replace(b"B=" + REF.format("B").encode(), b"B=mine").replace(b"C=", b"c = ")
    content, left = undone(before, edits, current)
    assert content == b"A=secret-of-A\nB=mine\nc = " + REF.format("C").encode() + b"\nD=secret-of-D\n"
    assert left == (
        LeftLine(2, (REF.format("B"),), is_marked=False),
        LeftLine(3, (REF.format("C"),), is_marked=True),
    )


def test_a_line_that_a_person_put_back_is_not_named():
    before, edits = env("A")
    assert undone(before, edits, before + b"new\n") == (before + b"new\n", ())


def test_a_line_that_a_person_moved_or_removed():
    before, edits = env("A", "B")
    after = apply_edits(before, edits).splitlines(keepends=True)
    assert undone(before, edits, after[1] + b"x\n" + after[0]) == (b"B=secret-of-B\nx\nA=secret-of-A\n", ())
    assert undone(before, edits, after[1]) == (
        b"B=secret-of-B\n",
        (LeftLine(1, (REF.format("A"),), is_marked=False),),
    )
    # Which of two equal lines was meant is not known, and nothing is left in an empty file.
    assert undone(before, edits, b"") == (
        b"",
        tuple(LeftLine(1, (REF.format(name),), is_marked=False) for name in "AB"),
    )


def test_the_override_is_named_where_a_person_added_to_the_setting():
    before = b"A=1\n"
    edits = [with_compose_files(".env", before, ["compose.yaml", "compose.lessee.yaml"])]
    mine = b"A=1\nCOMPOSE_FILE=compose.yaml:mine.yaml:compose.lessee.yaml\n"
    assert undone(before, edits, mine) == (mine, (LeftLine(2, ("compose.lessee.yaml",), is_marked=True),))
    assert undone(before, edits, b"A=2\n") == (b"A=2\n", ())


def test_lines_of_a_block_come_back_together():
    before = b"a: |-\n  one\n  two\nb: 1\n"
    assert undone(before, [edit_of(before, "|-\n  one\n  two", '"ref"')], b'a: "ref"\nb: 2\n') == (
        b"a: |-\n  one\n  two\nb: 2\n",
        (),
    )


def test_two_edits_of_one_line_are_one():
    before = b"x=a:b\n"
    edits = [edit_of(before, "a", "ref1"), edit_of(before, "b", "ref2"), Edit(Span("f", 1, 0, 0), "# ")]
    assert undone(before, edits, b"# x=ref1:ref2\ny=1\n") == (b"x=a:b\ny=1\n", ())


@pytest.mark.parametrize(
    ("before", "current", "expected"),
    [
        # An editor has given the last line an end, or the file those of another system.
        (b"pw=secret", b"pw=ref\nnew=1\n", b"pw=secret\nnew=1\n"),
        (b"a=1\npw=secret\n", b"a=1\r\npw=ref\r\n", b"a=1\r\npw=secret\r\n"),
        # The last line had no end before adopt added another one.
        (b"pw=secret", b"pw=ref\nCOMPOSE_FILE=x:y\nnew=1\n", b"pw=secret\nnew=1\n"),
        (b"pw=secret", b"COMPOSE_FILE=x:y\npw=ref\n", b"pw=secret"),
    ],
)
def test_the_ends_of_lines(before, current, expected):
    edits = [edit_of(before, "secret", "ref"), *([with_compose_files("f", before, ["x", "y"])] * (b"x:y" in current))]
    assert undone(before, edits, current) == (expected, ())


LINES = st.lists(st.sampled_from([b"a\n", b"b: 1\n", b"c\r\n", b"\n", b"d"]), max_size=12)


@given(LINES, st.integers(0, 2**32), LINES)
def test_edits_in_other_lines_are_never_lost(lines, seed, added):
    """Each edited line is unique, as a reference with its variable's name is."""
    draw = random.Random(seed)  # noqa: S311
    numbered = [b"%d " % number + line.strip() + b"\n" for number, line in enumerate(lines)]
    edited = {number for number in range(len(numbered)) if draw.random() < 0.4}
    changed = {number for number in edited if draw.random() < 0.3}
    starts = [sum(map(len, numbered[:number])) for number in range(len(numbered))]
    edits = [
        Edit(Span("f", number + 1, starts[number], starts[number] + len(numbered[number]) - 1), f"ref {number}")
        for number in edited
    ]
    after = [b"ref %d\n" % number if number in edited else line for number, line in enumerate(numbered)]
    after = [b"changed %d\n" % number if number in changed else line for number, line in enumerate(after)]
    news = [b"new " + line.strip() + b"\n" for line in added]
    place = draw.randint(0, len(after))
    expected = [b"changed %d\n" % number if number in changed else line for number, line in enumerate(numbered)]
    result, left = undone(b"".join(numbered), edits, b"".join([*after[:place], *news, *after[place:]]))
    assert result == b"".join([*expected[:place], *news, *expected[place:]])
    assert len(left) == len(changed)
