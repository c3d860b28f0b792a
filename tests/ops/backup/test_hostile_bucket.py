"""A hostile server in the place of a bucket: no request to it is endless, and no archive fills the disk."""

from itertools import chain, repeat

import pytest

from lessee.config.grammar.backup import S3Bucket
from lessee.core.errors import WriteError
from lessee.ops.backup import s3
from lessee.ops.backup.policy.archive_format import ArchiveError
from support.programs.sidecar import eventually
from support.servers.hostile_peer import MIB, STORE, HostilePeer

_KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary-9d1c"}
_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
NAME = "lessee-2026-01-01T000000Z.age"
ARCHIVES = {
    "no size": (lambda: chain([_OK + b"\r\n"], repeat(b"x" * MIB)), "does not say how large the archive is"),
    "a size of 10^15 bytes": (
        lambda: chain([_OK + b"Content-Length: 1000000000000000\r\n\r\n"], repeat(b"x" * MIB)),
        "the archive has 1000000000000000 bytes, and ",
    ),
    "a byte now and then": (
        lambda: chain([_OK + b"Content-Length: 1000\r\n\r\n"], chain.from_iterable(repeat((b"x", 0.3)))),
        "cannot fetch the archive: an answer that takes longer than 1 s, and a second for each 16 KiB",
    ),
    "an endless error": (STORE["an endless error"], "cannot fetch the archive: an answer with more than 65536 parts"),
}


@pytest.fixture
def connect(monkeypatch):
    monkeypatch.setattr(s3, "_TIMEOUT", 1.0)

    def connect(peer):
        return s3.S3Store(S3Bucket(bucket="docs", endpoint=f"http://127.0.0.1:{peer.port}"), _KEYS)

    return connect


@pytest.mark.parametrize("attack", ARCHIVES)
def test_an_archive_of_a_hostile_server_is_refused_before_it_takes_the_disk_or_hours(connect, attack):
    pieces, reason = ARCHIVES[attack]
    with HostilePeer(pieces) as peer:
        with pytest.raises(ArchiveError, match=reason.replace("^", r"\^")):
            connect(peer).open(NAME)
        eventually(lambda: peer.connections == 0, "the end of all connections")


@pytest.mark.thorough
@pytest.mark.parametrize("attack", ["a byte of the head now and then", "a byte of the body now and then"])
def test_a_list_of_a_slow_server_ends(connect, attack):
    with HostilePeer(STORE[attack]) as peer, pytest.raises(WriteError, match="an answer that takes longer than 1 s"):
        connect(peer).names()


def test_a_server_whose_list_never_ends_is_refused(connect):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>"
        b"</ListBucketResult>"
    )

    def pieces():
        pages.append(1)
        text = page % len(pages)
        return [_OK + b"Content-Length: %d\r\n\r\n" % len(text), text]

    pages = []
    with HostilePeer(pieces) as peer, pytest.raises(WriteError, match="the bucket lists more than"):
        connect(peer).names()
    assert len(pages) == s3._MAX_PAGES
