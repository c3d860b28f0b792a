"""The time between a request's two entries in an audit log."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.decoder import decode
from lessee.ops.monitor.policy.request_times import MAX_PENDING, RequestTimes

AT = 1_790_000_000.0
ASKED, ANSWERED = "2026-09-21T14:13:20.000000001Z", "2026-09-21T14:13:20.250000001Z"


def entry(kind, time, *, number=1, keys=("time", "type", "auth", "request"), **request):
    fields = {
        "time": time,
        "type": kind,
        "auth": {"display_name": '"request":{"id":"forged"'},
        "request": {"id": f"r{number}", "operation": "read", "path": "secret/data/db", **request},
    }
    return json.dumps({key: fields[key] for key in keys}, separators=(",", ":")).encode()


def duration(*lines):
    """That of the last line's access."""
    requests = RequestTimes()
    return [decode(line, "vault", requests) for line in lines][-1].duration


@pytest.mark.parametrize(
    "keys", [("time", "type", "auth", "request"), ("auth", "request", "time", "type")], ids=["OpenBao", "sorted keys"]
)
def test_a_request_takes_the_time_between_its_two_entries(keys):
    found = duration(entry("request", ASKED, keys=keys), entry("response", ANSWERED, keys=keys))
    assert found == pytest.approx(0.25, abs=1e-6)


def test_a_prefix_of_the_audit_device_is_skipped():
    request = b"prefix " + entry("request", ASKED, keys=("auth", "request", "time", "type"))
    assert duration(request, entry("response", ANSWERED)) == pytest.approx(0.25, abs=1e-6)


def test_requests_that_overlap_have_their_own_times():
    requests = RequestTimes()
    for number in (1, 2):
        assert decode(entry("request", ASKED, number=number), "vault", requests) is None
    later = "2026-09-21T14:13:21.000000001Z"
    found = [
        decode(entry("response", at, number=one), "v", requests).duration for one, at in ((2, ANSWERED), (1, later))
    ]
    assert found == pytest.approx([0.25, 1.0], abs=1e-6)


def test_without_the_requests_entry_there_is_no_duration():
    assert duration(entry("response", ANSWERED)) is None
    assert duration(entry("request", ASKED, number=7), entry("response", ANSWERED)) is None
    assert decode(entry("response", ANSWERED), "vault").duration is None
    # An id is answered once.
    assert duration(entry("request", ASKED), entry("response", ANSWERED), entry("response", ANSWERED)) is None


@pytest.mark.parametrize("time", ["later", "2026-09-21T14:13:21Z", "0001-01-01T00:00:00", "x" * 30, "é"])
def test_a_time_after_the_answer_or_none_at_all_is_no_duration(time):
    assert duration(entry("request", time), entry("response", ANSWERED)) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"auth":{},"request":{"id":7},"time":"x","type":"request"}',
        b'{"auth":{},"time":"x","type":"request"}',
        b'{"time":"2026-09-21T14:13:20Z","type":"request"}',
        b'{"\xff,"type":"request"}',
        b"[" * 100_000 + b',"type":"request"}',
    ],
)
def test_a_line_that_cannot_be_read_is_no_request(line):
    requests = RequestTimes()
    requests.note(line)
    assert decode(entry("response", ANSWERED), "vault", requests).duration is None


def test_requests_that_are_never_answered_take_little_memory():
    requests = RequestTimes()
    for number in range(MAX_PENDING + 1):
        requests.note(entry("request", ASKED, number=number))
    assert requests.duration("r0", AT + 1) is None
    assert requests.duration("r1", AT + 1) == pytest.approx(1.0)


@given(st.binary(max_size=200))
def test_no_line_breaks_it(text):
    requests = RequestTimes()
    for line in (text, b'{"time":"' + text, b'{"time":"x","request":{"id":"' + text):
        requests.note(line)
