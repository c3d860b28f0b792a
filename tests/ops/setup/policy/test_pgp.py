"""Which files are public PGP keys."""

import base64

import pytest

from lessee.core.errors import UsageError
from lessee.ops.setup.policy.initialization import public_key

NEW, OLD = b"\xc6\x02\x04\x00", b"\x98\x02\x04\x00"  # A packet with tag 6, in the new and in the old format.
SECRET_NEW, SECRET_OLD = b"\xc5\x02\x04\x00", b"\x94\x02\x04\x00"


def armored(packets, *, kind="PUBLIC", headers="", checksum="\n=AAAA", end="\n"):
    body = base64.b64encode(packets).decode()
    text = f"-----BEGIN PGP {kind} KEY BLOCK-----\n{headers}\n{body}{checksum}\n-----END PGP {kind} KEY BLOCK-----\n"
    return text.replace("\n", end).encode()


@pytest.mark.parametrize("packets", [NEW, OLD])
@pytest.mark.parametrize(
    "content",
    [
        lambda packets: packets,
        armored,
        lambda packets: armored(packets, headers="Comment: a key\nVersion: 1\n"),
        lambda packets: armored(packets, checksum=""),
        lambda packets: armored(packets, end="\r\n"),
        lambda packets: b"\n" + armored(packets),
    ],
    ids=["binary", "armored", "with headers", "without a checksum", "with CRLF", "after an empty line"],
)
def test_a_public_key_is_sent_in_base64_without_armor(packets, content):
    assert base64.b64decode(public_key(content(packets), "key.asc")) == packets


@pytest.mark.parametrize("content", [SECRET_NEW, SECRET_OLD, armored(SECRET_NEW, kind="PRIVATE")])
def test_a_private_key_is_refused(content):
    with pytest.raises(UsageError, match=r"^key\.asc: the file holds a private key"):
        public_key(content, "key.asc")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\xc2\x00",
        b"-----BEGIN PGP MESSAGE-----\n",
        armored(NEW, kind="NO"),
        armored(NEW)[:-20],
        armored(NEW).replace(b"=AAAA", b"\xff\xff"),
        armored(NEW, checksum="!"),
    ],
)
def test_other_content_is_refused(content):
    with pytest.raises(UsageError, match=r"the file holds no public PGP key; write it with `gpg --export NAME > FILE`"):
        public_key(content, "key.asc")
