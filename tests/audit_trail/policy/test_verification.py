"""Verification finds every alteration of an audit trail, and where it is."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail.keys import PrivateKey
from lessee.audit_trail.policy.entries import (
    ALTERED,
    FIRST_HASH,
    MAX_TEXT,
    Head,
    decode_entry,
    decode_head,
    encode_line,
    hash_line,
    is_torn_entry,
    truncate,
)
from lessee.audit_trail.policy.file_names import first_entry, segment_name, sort_key
from lessee.audit_trail.policy.verification import Line, verify
from lessee.core.immutable import replace
from support.models.audit_trails import Chain, action

FILE = "000000000001.jsonl"


@pytest.fixture(scope="module")
def chain():
    return Chain(6)


def test_an_intact_trail_verifies_and_each_entry_has_the_hash_of_the_previous_line(chain):
    assert chain.verdict().findings == ()
    assert chain.verdict().notes == ()
    assert chain.verdict().entries == 6
    entries = [decode_entry(line) for line in chain.lines]
    assert [entry.previous_hash for entry in entries] == [FIRST_HASH, *map(hash_line, chain.lines[:-1])]


def test_a_missing_head_is_reported():
    assert Chain(0).found(head=b"") == ["head.json:1: entry 0: is missing"]


def test_a_change_of_any_part_of_an_entry_is_reported(chain):
    entry = decode_entry(chain.lines[2])
    others = [
        replace(entry, action=replace(entry.action, outcome="failed")),
        replace(entry, previous_hash=FIRST_HASH),
        replace(entry, signature=decode_entry(chain.lines[3]).signature),
        replace(entry, signature="none"),
    ]
    texts = [encode_line(other) for other in others]
    texts += [
        chain.lines[2].replace(b'"app"', b'"ap"'),
        chain.lines[2].replace(b":", b": ", 1),
        b"{}\n",
        b"\xff\n",
        b"\n",
    ]
    for text in texts:
        assert chain.found([*chain.lines[:2], text, *chain.lines[3:]]) == [
            f"{FILE}:3: entry 3: was changed, or was not written by lessee"
        ]


def test_recomputed_hashes_are_not_signed(chain):
    other = PrivateKey(Ed25519PrivateKey.generate())
    made, previous_hash = [], hash_line(chain.lines[2])
    for line in chain.lines[3:]:
        entry = decode_entry(line)
        entry = chain.signed(
            replace(entry, previous_hash=previous_hash, action=replace(entry.action, name="app rolled back")), other
        )
        made.append(encode_line(entry))
        previous_hash = hash_line(made[-1])
    head = encode_line(chain.signed(replace(chain.head, hash=previous_hash), other))
    found = chain.found([*chain.lines[:3], *made], head)
    assert found[0] == "head.json:1: entry 6: was changed, or is signed by another key"
    assert [one.split(": ")[1] for one in found[1:]] == ["entry 4", "entry 5", "entry 6"]
    assert chain.found([*chain.lines[:3], *made])[0].startswith(f"{FILE}:4: entry 4: was changed")


def test_missing_entries_are_reported_where_they_were(chain):
    lines = chain.lines
    assert chain.found(lines[1:]) == [
        f"{FILE}:1: entry 2: the file was renamed: it begins with entry 2",
        f"{FILE}:1: entry 2: entry 1 is missing before it",
    ]
    assert chain.found([*lines[:2], *lines[4:]]) == [f"{FILE}:3: entry 5: entries 3 to 4 are missing before it"]
    assert chain.found(lines[:4]) == [f"{FILE}:5: entry 5: entries 5 to 6 are missing at the end: head.json is newer"]
    assert chain.found([]) == ["head.json:1: entry 1: entries 1 to 6 are missing at the end: head.json is newer"]


def test_reordered_and_duplicate_entries_are_reported(chain):
    first, second, third, *rest = chain.lines
    assert chain.found([first, third, second, *rest]) == [
        f"{FILE}:2: entry 3: entry 2 is missing before it",
        f"{FILE}:3: entry 2: is in the wrong place, or is a duplicate",
    ]
    assert chain.found([first, second, second, third, *rest]) == [
        f"{FILE}:3: entry 2: is in the wrong place, or is a duplicate"
    ]


def test_an_inserted_entry_is_reported_and_later_ones_are_not(chain):
    forged = encode_line(chain.signed(decode_entry(chain.lines[3]), PrivateKey(Ed25519PrivateKey.generate())))
    assert chain.found([*chain.lines[:3], forged, *chain.lines[3:]]) == [
        f"{FILE}:4: entry 4: was changed, or was not written by lessee"
    ]
    assert len(chain.found([*chain.lines, forged])) == 1


def test_a_truncated_line_is_reported_and_the_rest_is_verified(chain):
    assert chain.found([*chain.lines[:-1], chain.lines[-1][:40]]) == [f"{FILE}:6: entry 6: is truncated"]
    assert chain.found([*chain.lines[:2], chain.lines[2][:40], *chain.lines[3:]]) == [
        f"{FILE}:3: entry 3: is truncated"
    ]


def test_the_torn_entry_of_a_killed_writer_is_not_an_alteration():
    chain = Chain(3)
    head = encode_line(chain.head)
    chain.add(action(3))
    newer = chain.lines[3]
    for torn in (newer[:1], newer[:20], newer[:-1]):
        verdict = chain.verdict([*chain.lines[:3], torn], head)
        assert verdict.findings == ()
        assert "a writer was killed while it wrote this entry" in verdict.notes[0]
    verdict = chain.verdict(head=head)
    assert verdict.findings == ()
    assert verdict.notes == ("head.json: a writer was killed before it updated this file; the next writer repairs it",)
    assert chain.found([*chain.lines[:3], b'{"n":5,"previous_hash'], head) == [f"{FILE}:4: entry 4: is truncated"]
    forged = encode_line(chain.signed(decode_entry(newer), PrivateKey(Ed25519PrivateKey.generate())))
    assert chain.found([*chain.lines[:3], forged], head) == [
        f"{FILE}:4: entry 4: was changed, or was not written by lessee"
    ]


def test_a_changed_or_restored_head_is_reported():
    chain = Chain(3)
    old = encode_line(chain.head)
    chain.add(action(3))
    chain.add(action(4))
    assert chain.found(head=old) == ["head.json:1: entry 3: is older than the audit trail, which continues to entry 5"]
    for head in (old.replace(b'"n":3', b'"n":4'), b"{}", b"\xff", old[:-1]):
        assert chain.found(head=head)[0].split(": ", 2)[2] == "was changed, or is signed by another key"
    assert chain.found(head=b"") == ["head.json:1: entry 0: is missing"]


def test_the_signature_of_an_entry_is_not_valid_for_a_head(chain):
    entry = decode_entry(chain.lines[0])
    head = encode_line(replace(chain.head, signature=entry.signature))
    assert chain.found(head=head) == ["head.json:1: entry 6: was changed, or is signed by another key"]


def test_a_replaced_key_is_reported_once(chain):
    other = Chain(6)
    assert chain.found(other.lines, encode_line(other.head)) == [
        (
            "head.json:1: entry 6: nothing is signed by this key: it is the wrong key, "
            "or the key or the audit trail was replaced"
        )
    ]


def test_a_single_changed_entry_is_no_replaced_key():
    chain = Chain(1)
    changed = chain.lines[0].replace(b'"app"', b'"ap"')
    found = f"{FILE}:1: entry 1: was changed, or was not written by lessee"
    assert chain.found([changed]) == [found]
    assert chain.found([changed], b"") == ["head.json:1: entry 0: is missing", found]


def test_a_copy_of_a_head_reveals_a_trail_that_was_truncated_with_its_head():
    chain = Chain(3)
    lines, early = list(chain.lines), encode_line(chain.head)
    chain.add(action(3))
    copies = {"copy.json": encode_line(chain.head)}
    assert chain.found(copies=copies) == []
    assert chain.found(lines, early) == []
    assert chain.found(lines, early, copies=copies) == [
        f"{FILE}:4: entry 4: entry 4 is missing at the end: copy.json is newer"
    ]


def test_an_alteration_that_a_writer_found_stays_reported():
    chain = Chain(2)
    chain.add(action(name=ALTERED, subject={"what": "head.json is missing"}))
    chain.add(action(3))
    assert chain.found() == [f"{FILE}:3: entry 3: its writer found the audit trail altered: head.json is missing"]


def test_two_histories_with_one_key_are_distinguished():
    chain = Chain(3)
    copies = {"copy.json": encode_line(chain.head)}
    one = chain.lines[2]
    fork = Chain(2)
    fork.key, fork.lines, fork.head = chain.key, chain.lines[:2], chain.signed(Head(2, hash_line(chain.lines[1])))
    fork.add(action(9))
    fork.add(action(10))
    assert fork.found(copies=copies) == [
        "copy.json:1: entry 3: differs here: the audit trail was rewritten, or one of the two was changed"
    ]
    mixed = [*fork.lines[:2], one, fork.lines[3]]
    assert fork.found(mixed) == [f"{FILE}:4: entry 4: does not match the previous entry: one of the two was changed"]


def test_a_missing_or_renamed_file_is_reported():
    chain = Chain(4)
    names = [segment_name(1), segment_name(1), segment_name(3), segment_name(3)]
    lines = [Line(name, number, text) for name, number, text in zip(names, (1, 2, 1, 2), chain.lines, strict=True)]
    head, genuine = encode_line(chain.head), chain.key.public.is_genuine
    assert verify(lambda: lines, head, genuine).findings == ()
    assert [str(one) for one in verify(lambda: lines[2:], head, genuine).findings] == [
        "000000000003.jsonl:1: entry 3: entries 1 to 2 are missing before it"
    ]
    renamed = [*lines[:2], *(replace(line, file=segment_name(7)) for line in lines[2:])]
    assert [one.what for one in verify(lambda: renamed, head, genuine).findings] == [
        "the file was renamed: it begins with entry 3"
    ]


def test_file_names_sort_in_order_of_creation():
    names = [segment_name(10), segment_name(2, 1), segment_name(2)]
    assert sorted(names, key=sort_key) == [segment_name(2), segment_name(2, 1), segment_name(10)]
    assert [first_entry(name) for name in (segment_name(7), "head.json", "7.jsonl")] == [7, None, None]


def test_only_the_exact_encoding_is_decoded():
    line = Chain(1).lines[0]
    assert encode_line(decode_entry(line)) == line
    for text in (line[:-1], b" " + line, line * 2, b"[" * 5000, b"null\n"):
        assert decode_entry(text) is None
        assert decode_head(text) is None
    assert decode_head(msgspec.json.encode(Head()) + b"\n") == Head()
    assert not is_torn_entry(line, 1, FIRST_HASH)
    assert is_torn_entry(line[:-1], 1, FIRST_HASH)


def test_texts_are_truncated_and_encodable():
    assert truncate("x" * 2 * MAX_TEXT) == "x" * (MAX_TEXT - 1) + "…"
    assert truncate("\udc80a") == "?a"
