"""From what `status` says to the TCP port at which an agent tells how it is."""

import re

from lessee import config
from lessee.config import grammar
from lessee.config.grammar.problems import Problems

_LOOPBACK = r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]"
_ALONE = "all that it shows would be open to whoever reaches the port"


def listen(said: grammar.Status, problems: Problems) -> config.Listen | None:
    """A port asks for a token, or says in so many words that it does not: then on the loopback alone."""
    at = ("status",)
    if said.listen is None:
        for key in ("token_file", "insecure", "hosts"):
            if getattr(said, key):
                problems.follow(
                    (*at, key), "there is no port that it is for", todo="write `listen:` too, or leave it out"
                )
        return None
    if said.insecure and said.token_file is not None:
        problems.follow((*at, "insecure"), "`token_file` stands there too", todo="leave one of them out")
    elif said.insecure and not is_loopback(said.listen):
        todo = "write `token_file: F` instead, or listen at 127.0.0.1"
        problems.follow((*at, "insecure"), f"{_ALONE}, from other machines too", todo=todo)
    elif not said.insecure and said.token_file is None:
        todo = "write `token_file: F` beside it"
        if is_loopback(said.listen):
            todo += ", or `insecure: true`, for all on this machine may know how the agent is"
        problems.follow((*at, "listen"), _ALONE, todo=todo)
    return config.Listen(address=said.listen, token_file=said.token_file, hosts=said.hosts)


def is_loopback(address: str) -> bool:
    """Whether nobody on another machine reaches it."""
    return re.fullmatch(_LOOPBACK, address.rpartition(":")[0]) is not None
