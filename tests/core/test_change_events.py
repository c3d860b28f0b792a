"""Change events are encoded as documented, and decoding rejects everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.change_events import MAX_MESSAGE_BYTES, Change, Heartbeat, decode_message, encode_message
from lessee.core.immutable import replace

CHANGE = Change("production", "secret", "database/postgres", 4, "update", "2026-11-28T16:00:00.000+00:00")


def test_a_change_is_encoded_as_documented_and_decoded_again():
    assert encode_message(CHANGE) == (
        b'{"environment":"production","mount":"secret","path":"database/postgres","version":4,'
        b'"operation":"update","at":"2026-11-28T16:00:00.000+00:00"}'
    )
    assert decode_message(encode_message(CHANGE)) == CHANGE
    assert CHANGE.full_path == "production/database/postgres"
    assert b"namespace" in encode_message(replace(CHANGE, namespace="team"))
    without_environment = Change(None, "auth/approle", "role/ci", None, "delete", "2026-11-28T16:00:00.000+00:00")
    assert decode_message(encode_message(without_environment)) == without_environment
    assert without_environment.full_path == "role/ci"


@pytest.mark.parametrize("beat", [Heartbeat(), Heartbeat("stopping"), Heartbeat("alive", 0.2)])
def test_a_heartbeat_is_encoded_and_decoded_again(beat):
    assert decode_message(encode_message(beat)) == beat


INVALID = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[1, 2]",
    b'"lessee"',
    b"{}",
    b'{"heartbeat": "stopped"}',
    b'{"heartbeat": ["alive"]}',
    b'{"heartbeat": "alive", "interval": 0}',
    b'{"heartbeat": "alive", "interval": 11}',
    b'{"heartbeat": "alive", "path": "a"}',
    b'{"environment": 1, "mount": "secret", "path": "a", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "", "path": "a", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "secret", "path": "", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "secret", "path": "a", "version": "1", "operation": "update", "at": ""}',
    b"[" * 5000,
    b'{"environment": null, "mount": "secret", "path": "%s", "version": 1}' % (b"a" * MAX_MESSAGE_BYTES),
]


@pytest.mark.parametrize("message", INVALID)
def test_an_invalid_message_is_rejected(message):
    assert decode_message(message) is None


@given(st.binary())
def test_any_bytes_are_a_heartbeat_a_change_or_rejected(message):
    assert decode_message(message) is None or isinstance(decode_message(message), Heartbeat | Change)
