"""Who may read."""

import pytest

from lessee.read_api.policy.peers import Peer, Readers


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (Peer(1, 1000, frozenset({1000})), True),
        (Peer(1, 2000, frozenset({2000, 30})), True),
        (Peer(1, 0, frozenset({0})), False),
        (Peer(0, 1001, frozenset({1000})), False),
    ],
)
def test_a_user_or_a_member_of_a_group_may_read_and_root_is_a_user_as_any_other(peer, may):
    assert Readers(frozenset({1000}), frozenset({30})).allow(peer) is may
