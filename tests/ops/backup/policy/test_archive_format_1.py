"""The manifest and the records of an archive of 0.1.0 are read under today's names; the code of 0.1.0 encodes them."""

import json

import pytest

from lessee.ops.backup.policy.archive_format import (
    SECRETS,
    SERVER,
    ArchiveError,
    Member,
    encode_manifest,
    parse_manifest,
)
from lessee.ops.backup.policy.records import ServerObject, encode_record, parse_object
from support.released import run

ENCODES = """
from lessee.core.backup.manifest import Counts, Manifest, Member, encoded
from lessee.core.backup.records import Thing, line
import sys
for sealed_by in ("age1abc", ""):
    members = tuple(Member(name, 1, "0" * 64) for name in ("server.ndjson", "kv.ndjson"))
    manifest = Manifest(1, "0.1.0", "2026-11-29T10:00:00Z", "id", "name", "2.7.2", Counts(secrets=2), members, "1" * 64,
                        "team", sealed_by, ("tokens and leases",))
    print(encoded(manifest).decode().replace("\\n", " "))
for kind in ("kept", "role"):
    print(line(Thing(kind, "database/config/main", {"kind": "kept"})).decode(), end="")
"""


@pytest.fixture(scope="module")
def written():
    return [line.encode() for line in run("0.1.0", ENCODES).splitlines()]


@pytest.mark.parametrize(("index", "key"), [(0, "age1abc"), (1, "")])
def test_a_manifest_of_0_1_0_is_read(written, index, key):
    manifest = parse_manifest(written[index])
    assert (manifest.format, manifest.made_by, manifest.authenticated_by, manifest.namespace) == (
        1,
        "0.1.0",
        key,
        "team",
    )
    assert manifest.members == (Member(SERVER, 1, "0" * 64), Member(SECRETS, 1, "0" * 64))
    assert (manifest.counts.secrets, manifest.gaps, manifest.pinned) == (2, ("tokens and leases",), False)
    # An archive that is pinned is written again with its records as they are.
    assert parse_manifest(encode_manifest(manifest)) == manifest


def test_a_server_object_of_0_1_0_is_read(written):
    data = {"kind": "kept"}
    assert parse_object(written[2], 1) == ServerObject("reference", "database/config/main", data)
    assert parse_object(written[3], 1) == ServerObject("role", "database/config/main", data)
    with pytest.raises(ArchiveError, match="malformed"):
        parse_object(written[2])


def test_a_record_of_this_version_is_read_in_an_archive_of_format_1():
    record = ServerObject("reference", "database/config/main", {})
    assert parse_object(encode_record(record), 1) == record


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_malformed_record_of_format_1_is_refused(text):
    with pytest.raises(ArchiveError, match="a record is malformed"):
        parse_object(text, 1)


def test_a_malformed_manifest_of_format_1_is_refused(written):
    with pytest.raises(ArchiveError, match="malformed"):
        parse_manifest(json.dumps(json.loads(written[0]) | {"sealed_by": 5}).encode())
