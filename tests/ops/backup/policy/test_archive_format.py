"""Archives are parsed strictly: altered content is refused."""

import json
import tarfile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.ops.backup.policy import archive_format as m
from lessee.ops.backup.policy.archive_format import (
    TAR_BLOCK,
    TAR_END,
    ArchiveError,
    read_header,
    tar_header,
    tar_padding,
)
from lessee.ops.backup.policy.comparison import Server, objections
from lessee.ops.backup.policy.records import (
    LONGEST_LINE,
    Secret,
    ServerObject,
    Version,
    encode_record,
    fingerprint,
    parse_object,
    parse_secret,
)

KEY = b"k" * 32
HASH = "0" * 64
MEMBERS = (m.Member(m.SERVER, 5, HASH), m.Member(m.SECRETS, 7, HASH))
MANIFEST = m.Manifest(1, "lessee 1", "2026-01-01T00:00:00+00:00", "id", "main", "2.7.2", m.Counts(), MEMBERS, KEY.hex())
SECRET = Secret(
    "secret/",
    "a",
    2,
    2,
    {"max_versions": 0},
    (
        Version(1, {"v": "canary"}, fingerprint(KEY, "secret/", "a", {"v": "canary"}), "2026-01-01T00:00:00Z"),
        Version(2, None, "", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"),
    ),
)
scalars = st.none() | st.booleans() | st.integers() | st.text()
data = st.dictionaries(st.text(), scalars | st.lists(scalars, max_size=3), max_size=4)


def changed(**changes):
    return msgspec.json.encode(replace(SECRET, **changes))


@given(data)
def test_a_secret_survives_encoding(values):
    secret = replace(SECRET, versions=(Version(1, values, fingerprint(KEY, "secret/", "a", values)),))
    assert parse_secret(encode_record(secret).rstrip(b"\n"), KEY) == secret


def test_an_object_survives_encoding_and_its_repr_hides_data():
    server_object = ServerObject("config", "auth/jwt/config", {"x": "canary"})
    assert parse_object(encode_record(server_object)) == server_object
    assert "canary" not in repr(server_object) + repr(SECRET.versions[0])


def test_fingerprints_depend_on_path_key_and_data():
    prints = {
        fingerprint(KEY, "secret/", "a", {"v": 1}),
        fingerprint(KEY, "secret/", "b", {"v": 1}),
        fingerprint(KEY, "other/", "a", {"v": 1}),
        fingerprint(b"other", "secret/", "a", {"v": 1}),
        fingerprint(KEY, "secret/", "a", {"v": "1"}),
    }
    assert len(prints) == 5
    assert fingerprint(KEY, "s/", "a", {"a": 1, "b": 2}) == fingerprint(KEY, "s/", "a", {"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{}", "malformed"),
        (b"\xff", "malformed"),
        (b"[" * 100_000, "malformed"),
        (changed(path="../b"), "a path with"),
        (changed(path="a/./b"), "a path with"),
        (changed(path="b"), "version 1 does not match its fingerprint"),
        (changed(versions=(replace(SECRET.versions[0], data={"v": 2}),)), "version 1 does not match its fingerprint"),
        (changed(versions=(replace(SECRET.versions[0], data=None),)), "version 1 does not match its fingerprint"),
        (changed(versions=SECRET.versions[::-1]), "out of order"),
        (changed(versions=SECRET.versions[:1] * 2), "out of order"),
        (changed(current=1), "out of order"),
    ],
)
def test_an_altered_record_is_refused(text, what):
    with pytest.raises(ArchiveError, match=what) as caught:
        parse_secret(text, KEY)
    assert "canary" not in str(caught.value)


def test_a_record_too_long_to_read_is_not_written():
    for record in (
        ServerObject("role", "a", {"x": "x" * LONGEST_LINE}),
        replace(SECRET, settings={"x": "x" * LONGEST_LINE}),
    ):
        with pytest.raises(ArchiveError, match="too large"):
            encode_record(record)


def test_a_manifest_survives_encoding_and_its_repr_hides_the_key():
    assert m.parse_manifest(m.encode_manifest(MANIFEST)) == MANIFEST
    assert KEY.hex() not in repr(MANIFEST)


def encoded(**changes):
    return json.dumps(json.loads(m.encode_manifest(MANIFEST)) | changes).encode()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "malformed"),
        (b"[" * 100_000, "malformed"),
        (
            encoded(format=3),
            "the archive has format 3, and this lessee reads 2; use the version of lessee that saved it",
        ),
        (encoded(format=0), "the archive has format 0"),
        (encoded(created=5), "malformed"),
        (encoded(key="short"), "malformed"),
        (encoded(members=[]), "unexpected members"),
        (encoded(members=[{"name": "../x", "size": 1, "sha256": HASH}]), "unexpected members"),
        (encoded(members=[{"name": m.SERVER, "size": -1, "sha256": HASH}]), "malformed"),
    ],
)
def test_a_malformed_manifest_is_refused(text, what):
    with pytest.raises(ArchiveError, match=what):
        m.parse_manifest(text)


def test_a_later_format_is_read_with_any_format():
    assert m.parse_manifest(encoded(format=2), any_format=True).format == 2


def test_an_hmac_matches_one_manifest_and_one_identity():
    digest = m.manifest_hmac(b"manifest", b"identity")
    assert len(digest) == 64
    assert m.is_authentic(b"manifest", b"identity", digest)
    assert not m.is_authentic(b"manifest.", b"identity", digest)
    assert not m.is_authentic(b"manifest", b"another", digest)
    assert not m.is_authentic(b"manifest", b"identity", b"")


@given(st.integers(0, 1 << 40))
def test_a_tar_header_survives_encoding(size):
    assert read_header(tar_header("kv.ndjson", size)) == ("kv.ndjson", size)
    assert (size + len(tar_padding(size))) % TAR_BLOCK == 0


def test_the_end_is_recognized_and_anything_else_refused():
    assert read_header(TAR_END[:TAR_BLOCK]) is None
    block = tar_header("a", 5)
    for bad, what in [
        (b"x" * TAR_BLOCK, "contains no tar file"),
        (block[:100], "contains no tar file"),
        (block[:5] + b"y" + block[6:], "contains no tar file"),
        (_of_type(tarfile.SYMTYPE), "not a regular file"),
        (_of_type(tarfile.XHDTYPE), "not a regular file"),
        (_of_type(tarfile.GNUTYPE_LONGNAME), "not a regular file"),
    ]:
        with pytest.raises(ArchiveError, match=what):
            read_header(bad)


def _of_type(kind):
    info = tarfile.TarInfo("a")
    info.type = kind
    return info.tobuf()


def test_an_archive_of_another_cluster_or_newer_server_raises_objections():
    server = Server("id", "main", "2.7.2", "raft")

    def reasons(*, authenticated=True, expected=True, **changes):
        return list(
            objections(
                replace(MANIFEST, **changes), server, authenticated=authenticated, authentication_expected=expected
            )
        )

    assert reasons() == []
    assert reasons(server_version="2.7.2+ent") == []
    assert reasons(server_version="2.6.9") == []
    assert reasons(server_version="2.10.0") == [
        "the archive is of a newer server version, 2.10.0, than this server, 2.7.2"
    ]
    assert reasons(cluster_id="x") == ["the archive is of another cluster, main"]
    assert reasons(cluster_id="x", cluster_name="") == ["the archive is of another cluster, x"]
    assert reasons(namespace="team") == ["the archive is of the namespace team, and the configuration has root"]
    assert "not authenticated with your key" in reasons(authenticated=False)[0]
    assert reasons(authenticated=False, expected=False) == []
