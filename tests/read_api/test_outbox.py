"""How much memory the unread replies of a socket take."""

import socket
from contextlib import ExitStack

import pytest

from lessee.read_api.outbox import Outbox


@pytest.fixture
def connections():
    """The agent's ends of three connections, whose clients read nothing."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(3)]
        yield [stack.enter_context(end) for pair in pairs for end in pair][::2]


def is_open(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True


def test_the_clients_that_take_longest_are_left_when_unread_replies_are_too_many(connections):
    outbox, (first, second, third) = Outbox(10), connections
    with outbox.sending(first, 5), outbox.sending(second, 5):
        assert is_open(first)
        with outbox.sending(third, 8):
            assert [is_open(each) for each in connections] == [False, False, True]
    with outbox.sending(third, 99):
        assert is_open(third)


def test_what_a_client_has_read_does_not_count(connections):
    outbox, (first, second, _) = Outbox(10), connections
    with outbox.sending(first, 9):
        pass
    with outbox.sending(second, 9):
        assert is_open(first)
