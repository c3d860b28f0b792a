"""A trail that was altered shows it, and where."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail.keys import Private
from lessee.audit_trail.policy.entries import (
    ALTERED,
    LONGEST,
    START,
    Head,
    cut,
    entry_of,
    hash_of,
    head_of,
    is_begun,
    line_of,
)
from lessee.audit_trail.policy.file_names import first_of, order, segment
from lessee.audit_trail.policy.verification import Line, verify
from lessee.core.immutable import replace
from support.models.audit_trails import Chain, act

FILE = "000000000001.jsonl"


@pytest.fixture(scope="module")
def chain():
    return Chain(6)


def test_a_whole_trail_is_whole_and_each_line_names_the_hash_of_the_one_before(chain):
    assert chain.verdict().findings == ()
    assert chain.verdict().notes == ()
    assert chain.verdict().entries == 6
    entries = [entry_of(line) for line in chain.lines]
    assert [entry.before for entry in entries] == [START, *map(hash_of, chain.lines[:-1])]


def test_no_trail_at_all_has_no_head():
    assert Chain(0).found(head=b"") == ["head.json:1: entry 0: is missing"]


def test_a_changed_entry_is_named_whatever_of_it_was_changed(chain):
    entry = entry_of(chain.lines[2])
    others = [
        replace(entry, act=replace(entry.act, outcome="failed")),
        replace(entry, before=START),
        replace(entry, signature=entry_of(chain.lines[3]).signature),
        replace(entry, signature="none"),
    ]
    texts = [line_of(other) for other in others]
    texts += [
        chain.lines[2].replace(b'"app"', b'"ap"'),
        chain.lines[2].replace(b":", b": ", 1),
        b"{}\n",
        b"\xff\n",
        b"\n",
    ]
    for text in texts:
        assert chain.found([*chain.lines[:2], text, *chain.lines[3:]]) == [
            f"{FILE}:3: entry 3: was changed, or is none of lessee's"
        ]


def test_whoever_makes_all_hashes_anew_cannot_sign_them(chain):
    other = Private(Ed25519PrivateKey.generate())
    made, before = [], hash_of(chain.lines[2])
    for line in chain.lines[3:]:
        entry = entry_of(line)
        entry = chain.signed(replace(entry, before=before, act=replace(entry.act, act="rolled back")), other)
        made.append(line_of(entry))
        before = hash_of(made[-1])
    head = line_of(chain.signed(replace(chain.head, hash=before), other))
    found = chain.found([*chain.lines[:3], *made], head)
    assert found[0] == "head.json:1: entry 6: was changed, or is signed by another key"
    assert [one.split(": ")[1] for one in found[1:]] == ["entry 4", "entry 5", "entry 6"]
    assert chain.found([*chain.lines[:3], *made])[0].startswith(f"{FILE}:4: entry 4: was changed")


def test_entries_that_are_gone_are_counted_where_they_stood(chain):
    lines = chain.lines
    assert chain.found(lines[1:]) == [
        f"{FILE}:1: entry 2: the file's name says another: it was renamed; it begins with 2",
        f"{FILE}:1: entry 2: entry 1 is missing before it",
    ]
    assert chain.found([*lines[:2], *lines[4:]]) == [f"{FILE}:3: entry 5: entries 3 to 4 are missing before it"]
    assert chain.found(lines[:4]) == [
        f"{FILE}:5: entry 5: entries 5 to 6 are missing at the end: head.json knows of them"
    ]
    assert chain.found([]) == ["head.json:1: entry 1: entries 1 to 6 are missing at the end: head.json knows of them"]


def test_entries_in_another_order_or_twice_are_named(chain):
    first, second, third, *rest = chain.lines
    assert chain.found([first, third, second, *rest]) == [
        f"{FILE}:2: entry 3: entry 2 is missing before it",
        f"{FILE}:3: entry 2: stands in the wrong place, or twice",
    ]
    assert chain.found([first, second, second, third, *rest]) == [
        f"{FILE}:3: entry 2: stands in the wrong place, or twice"
    ]


def test_an_entry_that_was_put_in_is_named_and_those_behind_it_are_not(chain):
    forged = line_of(chain.signed(entry_of(chain.lines[3]), Private(Ed25519PrivateKey.generate())))
    assert chain.found([*chain.lines[:3], forged, *chain.lines[3:]]) == [
        f"{FILE}:4: entry 4: was changed, or is none of lessee's"
    ]
    assert len(chain.found([*chain.lines, forged])) == 1


def test_a_line_that_is_cut_is_no_line_and_the_rest_is_still_looked_at(chain):
    assert chain.found([*chain.lines[:-1], chain.lines[-1][:40]]) == [f"{FILE}:6: entry 6: is cut"]
    assert chain.found([*chain.lines[:2], chain.lines[2][:40], *chain.lines[3:]]) == [f"{FILE}:3: entry 3: is cut"]


def test_what_a_writer_that_was_ended_leaves_is_no_alteration():
    chain = Chain(3)
    head = line_of(chain.head)
    chain.add(act(3))
    newer = chain.lines[3]
    for torn in (newer[:1], newer[:20], newer[:-1]):
        verdict = chain.verdict([*chain.lines[:3], torn], head)
        assert verdict.findings == ()
        assert "ended in the middle" in verdict.notes[0]
    verdict = chain.verdict(head=head)
    assert verdict.findings == ()
    assert verdict.notes == ("head.json: a writer was ended before it wrote this; the next one mends that",)
    assert chain.found([*chain.lines[:3], b'{"n":5,"before'], head) == [f"{FILE}:4: entry 4: is cut"]
    forged = line_of(chain.signed(entry_of(newer), Private(Ed25519PrivateKey.generate())))
    assert chain.found([*chain.lines[:3], forged], head) == [f"{FILE}:4: entry 4: was changed, or is none of lessee's"]


def test_a_head_that_was_changed_or_put_back_is_found():
    chain = Chain(3)
    old = line_of(chain.head)
    chain.add(act(3))
    chain.add(act(4))
    assert chain.found(head=old) == ["head.json:1: entry 3: is older than the trail, which goes to entry 5"]
    for head in (old.replace(b'"n":3', b'"n":4'), b"{}", b"\xff", old[:-1]):
        assert chain.found(head=head)[0].split(": ", 2)[2] == "was changed, or is signed by another key"
    assert chain.found(head=b"") == ["head.json:1: entry 0: is missing"]


def test_an_entry_signature_is_none_of_a_head(chain):
    entry = entry_of(chain.lines[0])
    head = line_of(replace(chain.head, signature=entry.signature))
    assert chain.found(head=head) == ["head.json:1: entry 6: was changed, or is signed by another key"]


def test_a_key_that_was_replaced_is_told_once(chain):
    other = Chain(6)
    assert chain.found(other.lines, line_of(other.head)) == [
        (
            "head.json:1: entry 6: nothing here is signed by this key: "
            "the key was replaced, or the trail was, or it is the wrong key"
        )
    ]


def test_an_older_head_kept_elsewhere_finds_a_trail_that_was_cut_together_with_its_head():
    chain = Chain(3)
    lines, early = list(chain.lines), line_of(chain.head)
    chain.add(act(3))
    kept = {"copy.json": line_of(chain.head)}
    assert chain.found(copies=kept) == []
    assert chain.found(lines, early) == []
    assert chain.found(lines, early, copies=kept) == [
        f"{FILE}:4: entry 4: entry 4 is missing at the end: copy.json knows of them"
    ]


def test_what_a_writer_found_altered_is_told_for_good():
    chain = Chain(2)
    chain.add(act(act=ALTERED, subject={"what": "head.json is missing"}))
    chain.add(act(3))
    assert chain.found() == [f"{FILE}:3: entry 3: its writer found the trail altered: head.json is missing"]


def test_two_histories_of_the_same_key_do_not_pass_for_one():
    chain = Chain(3)
    kept = {"copy.json": line_of(chain.head)}
    one = chain.lines[2]
    fork = Chain(2)
    fork.key, fork.lines, fork.head = chain.key, chain.lines[:2], chain.signed(Head(2, hash_of(chain.lines[1])))
    fork.add(act(9))
    fork.add(act(10))
    assert fork.found(copies=kept) == [
        "copy.json:1: entry 3: is another here: the trail was written anew, or one of the two was changed"
    ]
    mixed = [*fork.lines[:2], one, fork.lines[3]]
    assert fork.found(mixed) == [f"{FILE}:4: entry 4: does not follow the one before it: one of the two was changed"]


def test_files_follow_each_other_and_one_that_is_gone_or_renamed_is_named():
    chain = Chain(4)
    names = [segment(1), segment(1), segment(3), segment(3)]
    lines = [Line(name, number, text) for name, number, text in zip(names, (1, 2, 1, 2), chain.lines, strict=True)]
    head, genuine = line_of(chain.head), chain.key.public.is_genuine
    assert verify(lambda: lines, head, genuine).findings == ()
    assert [str(one) for one in verify(lambda: lines[2:], head, genuine).findings] == [
        "000000000003.jsonl:1: entry 3: entries 1 to 2 are missing before it"
    ]
    renamed = [*lines[:2], *(replace(line, file=segment(7)) for line in lines[2:])]
    assert [one.what for one in verify(lambda: renamed, head, genuine).findings] == [
        "the file's name says another: it was renamed; it begins with 3"
    ]


def test_names_of_files_sort_as_they_were_made():
    names = [segment(10), segment(2, 1), segment(2)]
    assert sorted(names, key=order) == [segment(2), segment(2, 1), segment(10)]
    assert [first_of(name) for name in (segment(7), "head.json", "7.jsonl")] == [7, None, None]


def test_only_what_a_writer_would_write_is_read():
    line = Chain(1).lines[0]
    assert line_of(entry_of(line)) == line
    for text in (line[:-1], b" " + line, line * 2, b"[" * 5000, b"null\n"):
        assert entry_of(text) is None
        assert head_of(text) is None
    assert head_of(msgspec.json.encode(Head()) + b"\n") == Head()
    assert not is_begun(line, 1, START)
    assert is_begun(line[:-1], 1, START)


def test_texts_are_cut_and_sound():
    assert cut("x" * 2 * LONGEST) == "x" * (LONGEST - 1) + "…"
    assert cut("\udc80a") == "?a"
