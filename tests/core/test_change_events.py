"""What is told of a change, and what is made of whatever else comes that way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.change_events import LONGEST, Beat, Change, packed, unpacked
from lessee.core.immutable import replace

CHANGE = Change("production", "secret", "database/postgres", 4, "update", "2026-11-28T16:00:00.000+00:00")


def test_a_change_is_told_in_the_documented_words_and_understood_again():
    assert packed(CHANGE) == (
        b'{"environment":"production","mount":"secret","path":"database/postgres","version":4,'
        b'"operation":"update","at":"2026-11-28T16:00:00.000+00:00"}'
    )
    assert unpacked(packed(CHANGE)) == CHANGE
    assert CHANGE.whole == "production/database/postgres"
    assert b"namespace" in packed(replace(CHANGE, namespace="team"))
    of_nobody = Change(None, "auth/approle", "role/ci", None, "delete", "2026-11-28T16:00:00.000+00:00")
    assert unpacked(packed(of_nobody)) == of_nobody
    assert of_nobody.whole == "role/ci"


@pytest.mark.parametrize("beat", [Beat(), Beat("leaving"), Beat("here", 0.2)])
def test_the_monitor_says_that_it_is_there_and_when_it_goes(beat):
    assert unpacked(packed(beat)) == beat


RUBBISH = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[1, 2]",
    b'"lessee"',
    b"{}",
    b'{"heartbeat": "stopped"}',
    b'{"heartbeat": ["here"]}',
    b'{"heartbeat": "here", "every": 0}',
    b'{"heartbeat": "here", "every": 11}',
    b'{"heartbeat": "here", "path": "a"}',
    b'{"environment": 1, "mount": "secret", "path": "a", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "", "path": "a", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "secret", "path": "", "version": 1, "operation": "update", "at": ""}',
    b'{"environment": null, "mount": "secret", "path": "a", "version": "1", "operation": "update", "at": ""}',
    b"[" * 5000,
    b'{"environment": null, "mount": "secret", "path": "%s", "version": 1}' % (b"a" * LONGEST),
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_what_the_monitor_would_not_have_sent_means_nothing(rubbish):
    assert unpacked(rubbish) is None


@given(st.binary())
def test_no_bytes_are_more_than_nothing_a_heartbeat_or_a_change(rubbish):
    assert unpacked(rubbish) is None or isinstance(unpacked(rubbish), Beat | Change)
