"""The header of an MCP server's key, and the meaning of response statuses."""

from lessee.ops.validate.mcp_auth import _ACCEPTED, _REJECTED, _UNAVAILABLE, header_value


def test_authorization_has_a_bearer_token_and_other_headers_the_key():
    assert header_value("authorization", "k") == "Bearer k"
    assert header_value("X-API-Key", "k") == "k"


def test_each_status_has_one_meaning():
    assert not _ACCEPTED & _REJECTED
    assert not _UNAVAILABLE & (_ACCEPTED | _REJECTED)
    assert not {301, 400, 404, 429, 500} & (_ACCEPTED | _REJECTED)
