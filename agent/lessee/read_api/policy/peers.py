"""Who may read from a socket: the kernel says which user a process is of."""

from lessee.core.immutable import ImmutableStruct


class Peer(ImmutableStruct, frozen=True):
    """The process at the other end of a connection, as it was when it connected."""

    pid: int
    """0: it is in another PID namespace."""
    uid: int
    gids: frozenset[int]
    """Its group and its supplementary groups."""


class Readers(ImmutableStruct, frozen=True):
    """The users and groups that may read."""

    uids: frozenset[int]
    gids: frozenset[int] = frozenset()

    def allow(self, peer: Peer) -> bool:
        """Whether this process may read. Root is a user as any other: it may be root of another container."""
        return peer.uid in self.uids or not self.gids.isdisjoint(peer.gids)
