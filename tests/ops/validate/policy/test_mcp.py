"""What an MCP server is sent, and what its answer means."""

from lessee.ops.validate.policy.mcp import LET_IN, REFUSED, UNWELL, credential


def test_in_authorization_a_key_is_a_bearer_token_and_elsewhere_itself():
    assert credential("authorization", "k") == "Bearer k"
    assert credential("X-API-Key", "k") == "k"


def test_no_answer_means_both():
    assert not LET_IN & REFUSED
    assert not UNWELL & (LET_IN | REFUSED)
    assert not {301, 400, 404, 429, 500} & (LET_IN | REFUSED)
