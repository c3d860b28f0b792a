"""Resolves the TCP listener of the block `status`."""

import re

from lessee.config import Listen
from lessee.config.grammar import StatusBlock
from lessee.config.grammar.problems import Problems

_LOOPBACK = r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]"
_OPEN = "every client that reaches the port could read the status"


def resolve_listener(block: StatusBlock, problems: Problems) -> Listen | None:
    """The TCP listener, or None. Requests need a token, unless `allow_unauthenticated` is set on a loopback address."""
    at = ("status",)
    if block.listen is None:
        for key in ("token_file", "allow_unauthenticated", "allowed_hosts"):
            if getattr(block, key):
                problems.add_dependent(
                    (*at, key), "it applies only to `listen`, which is missing", todo="write `listen:`, or remove it"
                )
        return None
    if block.allow_unauthenticated and block.token_file is not None:
        what = "it contradicts `token_file`"
        problems.add_dependent((*at, "allow_unauthenticated"), what, todo="remove one of them")
    elif block.allow_unauthenticated and not is_loopback(block.listen):
        todo = "write `token_file: PATH` instead, or listen on 127.0.0.1"
        problems.add_dependent((*at, "allow_unauthenticated"), f"{_OPEN}, even from other machines", todo=todo)
    elif not block.allow_unauthenticated and block.token_file is None:
        todo = "add `token_file: PATH`"
        if is_loopback(block.listen):
            todo += ", or `allow_unauthenticated: true` if every user of this machine may read the status"
        problems.add_dependent((*at, "listen"), _OPEN, todo=todo)
    return Listen(address=block.listen, token_file=block.token_file, allowed_hosts=block.allowed_hosts)


def is_loopback(address: str) -> bool:
    """Whether clients on other machines cannot reach this `host:port`."""
    return re.fullmatch(_LOOPBACK, address.rpartition(":")[0]) is not None
