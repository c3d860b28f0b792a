"""One audit trail has entries of 0.1.0 and of this version, in any order; the code of 0.1.0 writes its entries here."""

import json

import pytest

from lessee.audit_trail.policy.entries import (
    ALTERED,
    FORMAT,
    REPAIRED,
    decode_entry,
    encode_line,
    is_torn_entry,
    newer_format,
)
from lessee.audit_trail.policy.entry_format_1 import _NAMES
from lessee.audit_trail.writer import AuditTrailWriter
from lessee.core.immutable import replace
from support.models.audit_trails import action, verdict_of
from support.released import run

ADDS = """
import sys
from pathlib import Path
from lessee.core.trail.entries import Act, Actor
from lessee.host.trail.writing import Writer
actor = Actor("agent", 10001, "lessee", "web-1")
writer = Writer(Path(sys.argv[1]), Path(sys.argv[2]))
for name, outcome in (("rotation begun", "begun"), ("published", "done"), ("something else", "failed")):
    writer.add([Act("2026-11-29T10:00:00.000Z", actor, "production", name, {"app": "web", "n": 1}, outcome)])
writer.close()
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "trail", tmp_path / "trail.key"


def added(place, count):
    writer = AuditTrailWriter(*place)
    for n in range(count):
        writer.add([action(n)])
    writer.close()


def lines(place):
    return [line for file in sorted(place[0].glob("*.jsonl")) for line in file.read_bytes().splitlines(keepends=True)]


@pytest.mark.no_cover
def test_both_versions_write_one_chain_which_verifies(place):
    run("0.1.0", ADDS, *place)
    added(place, 2)
    run("0.1.0", ADDS, *place)
    added(place, 1)
    verdict = verdict_of(place[0])
    assert (verdict.entries, verdict.findings, verdict.notes) == (9, (), ())
    entries = [decode_entry(line) for line in lines(place)]
    assert [entry.format for entry in entries] == [1, 1, 1, 2, 2, 1, 1, 1, 2]
    assert [(entry.action.name, entry.action.outcome) for entry in entries[:3]] == [
        ("rotation started", "started"),
        ("generation published", "done"),
        ("something else", "failed"),
    ]
    assert entries[0].action.subject == {"app": "web", "n": 1}
    assert [encode_line(entry) for entry in entries] == lines(place)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"published"', b'"read"'),
        (b'"begun"', b'"done"'),
        (b'"act":"something', b'"act":"Something'),
        (b'"n":1,', b'"n": 1,'),
    ],
)
def test_a_change_of_an_entry_of_0_1_0_is_reported(place, before, after):
    run("0.1.0", ADDS, *place)
    added(place, 1)
    [file] = place[0].glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(before, after, 1))
    assert verdict_of(place[0]).findings


def test_an_entry_under_its_new_names_has_no_signature_of_0_1_0(place):
    run("0.1.0", ADDS, *place)
    [file] = place[0].glob("*.jsonl")
    first, *rest = lines(place)
    file.write_bytes(encode_line(replace(decode_entry(first), format=FORMAT)) + b"".join(rest))
    assert any("entry 1: was changed" in str(finding) for finding in verdict_of(place[0]).findings)


@pytest.mark.no_cover
def test_what_a_writer_of_0_1_0_found_altered_is_reported(place):
    run("0.1.0", ADDS.replace("something else", "trail found altered"), *place)
    [finding] = verdict_of(place[0]).findings
    assert "its writer found the audit trail altered" in str(finding)


def test_an_entry_of_a_newer_format_is_named_as_such(place):
    added(place, 2)
    [file] = place[0].glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"format":2', b'"format":3'))
    assert [str(finding) for finding in verdict_of(place[0]).findings] == [
        f"{file.name}:{n}: entry {n}: has format 3, and this lessee reads 2: verify it with the version that wrote it"
        for n in (1, 2)
    ]


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"format": "x"}', b'{"format":2}', b"\xff"])
def test_a_line_without_a_newer_format_has_none(line):
    assert newer_format(line) is None
    assert decode_entry(line) is None


def test_an_entry_that_names_a_format_without_its_fields_is_none(place):
    added(place, 1)
    entry = json.loads(lines(place)[0])
    for number in (1, 3):
        assert decode_entry(json.dumps(entry | {"format": number}, separators=(",", ":")).encode() + b"\n") is None


def test_the_beginning_of_an_entry_of_either_version_is_a_torn_one():
    for name in (b"previous_hash", b"before"):
        text = b'{"n":7,"%b":"ab","head":6' % name
        assert all(is_torn_entry(text[:size], 7, "ab") for size in range(len(text)))
        assert not is_torn_entry(text, 8, "ab")


def test_each_action_has_another_name():
    assert len(set(_NAMES.values())) == len(_NAMES)
    assert not set(_NAMES) & set(_NAMES.values())
    assert {ALTERED, REPAIRED} < set(_NAMES.values())
