"""Whatever a server answers, the client raises an error of its own."""

import pytest

from lessee.core.failures import Kind
from lessee.vault.responses import RequestFailedError, parse_error, parse_raw_data, parse_response, raw_data

DEEP = b"[" * 40_000
"""Deeper than any parser follows, and with fewer values than an answer may have."""
MALFORMED = {
    "nothing of JSON": b"<html>",
    "a list": b"[]",
    "lists in data": b'{"data":{"a":' + DEEP,
    "lists in an unknown field": b'{"unknown":' + DEEP,
    "a key that is not UTF-8, without an envelope": b'{"initialized\xff":true}',
    "a key that is not UTF-8": b'{"request_id":"1","data":{"a\xff":1}}',
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_an_outage(content):
    with pytest.raises(RequestFailedError, match="the answer is truncated or not Vault's") as caught:
        parse_response({}, content)
    assert caught.value.failure.kind is Kind.UNAVAILABLE
    assert parse_error(503, {}, content).failure.kind is Kind.UNAVAILABLE
    with pytest.raises(RequestFailedError, match="the answer is truncated or not Vault's"):
        parse_raw_data(raw_data(content), dict[str, object])


@pytest.mark.parametrize(
    "date",
    [
        "",
        "x",
        "Sun, 29 Nov 26 18:30:222222222222222226",
        f"Sun, 29 Nov {'20' * 20} 18:30:00 GMT",
        f"Sun, 29 Nov 26 18:30:17 +{'23' * 20}",
        "Sun, 29 Nov 2026 18:30:17 +9999",
    ],
)
def test_a_malformed_date_is_no_date(date):
    assert parse_response({"date": date}, b"{}").date is None
