"""A snapshot that lessee 0.1.0 saved is read; the code of 0.1.0 encodes it here."""

import pytest

from lessee.core.errors import LesseeError
from lessee.core.last_known_good import FORMAT, SnapshotHeader, check_header, decode_snapshot, parse_header
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from support.released import run

PACKS = """
import msgspec
from lessee.core.last_good import Label, pack
from lessee.core.paths import Dynamic, Folder, Ref
from lessee.core.secrets import Marker, Secret
content = pack(
    {Ref("secret", "a/b", 3): Secret({"v": "CANARY-0b1d"}, Marker(3, "then"))},
    {Folder("secret", "f/"): {"x": Secret({"w": 1})}},
    {Dynamic("database/creds/a"): Secret({"password": "CANARY-0b1d"}), Dynamic("aws/creds/b"): Secret({"key": "k"})},
    {Dynamic("database/creds/a"): 2000.0},
)
print(msgspec.json.encode(Label("web", "production", 1000.0)).decode(), content.decode(), sep="\\n")
"""
REF, FOLDER, LEASED, ENDLESS = (
    Ref("secret", "a/b", 3),
    Folder("secret", "f/"),
    DynamicSecret("database/creds/a"),
    DynamicSecret("aws/creds/b"),
)
NEEDS = frozenset({REF, FOLDER, LEASED, ENDLESS})


@pytest.fixture(scope="module")
def saved():
    """The header and the content of a snapshot of 0.1.0."""
    return [line.encode() for line in run("0.1.0", PACKS).splitlines()]


def test_a_snapshot_of_0_1_0_is_read_with_all_its_secrets(saved):
    header = parse_header(saved[0])
    assert header == SnapshotHeader("web", "production", 1000.0, 1)
    check_header(header, "web", "production", 60.0, 1050.0)
    secrets = decode_snapshot(saved[1], NEEDS, 1050.0, header.format)
    assert secrets.secrets == {REF: Secret({"v": "CANARY-0b1d"})}
    assert secrets.folders == {FOLDER: {"x": Secret({"w": 1})}}
    assert secrets.dynamic == {LEASED: Secret({"password": "CANARY-0b1d"}), ENDLESS: Secret({"key": "k"})}


def test_an_expired_lease_of_it_is_refused(saved):
    with pytest.raises(LesseeError, match="expired: database/creds/a"):
        decode_snapshot(saved[1], NEEDS, 2000.0, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"app": "a", "environment": "", "saved_at": 1.0, "format": 3}', f"in format 3; this one reads {FORMAT}"),
        (b'{"format": 3}', f"in format 3; this one reads {FORMAT}"),
        (b'{"app": "a", "environment": "", "saved_at": 1.0, "format": 1}', "does not begin like a snapshot"),
        (b'{"app": "a", "format": 2}', "does not begin like a snapshot"),
        (b"{", "does not begin like a snapshot"),
    ],
)
def test_a_header_of_a_newer_format_or_of_none_is_refused(text, why):
    with pytest.raises(LesseeError, match=why):
        parse_header(text)


def test_a_header_of_the_present_format_is_read():
    text = b'{"app": "a", "environment": "e", "saved_at": 1.0, "format": 2}'
    assert parse_header(text) == SnapshotHeader("a", "e", 1.0)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"issued": [1]}', b'{"issued": [{}]}', b"\xff"])
def test_a_content_that_0_1_0_did_not_write_is_refused(content):
    with pytest.raises(LesseeError, match="does not contain a snapshot"):
        decode_snapshot(content, NEEDS, 0.0, 1)
