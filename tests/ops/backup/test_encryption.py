"""Archives of the most recipients can be read, and longer headers are refused before they are parsed."""

import io

import pyrage
import pytest

from lessee.core.errors import ConfigError
from lessee.ops.backup.encryption import HEADER_LIMIT, decrypt, encrypt
from lessee.ops.backup.keys import MOST_RECIPIENTS, Keys, recipients
from lessee.ops.backup.policy.archive_format import ArchiveError

IDENTITY = pyrage.x25519.Identity.generate()
KEYS = Keys((str(IDENTITY),), (str(IDENTITY.to_public()),))


def test_an_archive_of_the_most_recipients_opens():
    file = io.BytesIO()
    encrypt(iter([b"clear"]), file, recipients([KEYS.public_keys[0]] * MOST_RECIPIENTS, None))
    file.seek(0)
    with decrypt(file, KEYS, "here") as clear:
        assert clear.read() == b"clear"


def test_more_recipients_are_refused():
    with pytest.raises(ConfigError, match="more than 200 recipients"):
        recipients([KEYS.public_keys[0]] * (MOST_RECIPIENTS + 1), None)


def test_a_header_beyond_the_limit_is_refused_and_its_rest_not_read():
    stanza = b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n"
    file = io.BytesIO(b"age-encryption.org/v1\n" + stanza * 10_000)
    with (
        pytest.raises(ArchiveError, match="here: no archive, or one without its beginning"),
        decrypt(file, KEYS, "here"),
    ):
        pass
    assert file.tell() == HEADER_LIMIT
