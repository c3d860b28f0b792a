"""Resolves the read socket of an app."""

from collections.abc import Iterable, Mapping

from lessee.config import File, ReadSocket
from lessee.config.grammar.app import AppBlock, SocketBlock
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.resolution import contains
from lessee.config.status import is_loopback

_MAX_PATH = 107
"""Bytes (unix(7): sun_path, with the zero that ends it)."""


def resolve_socket(
    block: AppBlock, files: Iterable[File], state_dir: str, at: Path, problems: Problems
) -> ReadSocket | None:
    """The socket of an app, or None. By default, the owners of the files may read."""
    if block.socket is None:
        return None
    socket = SocketBlock(path=block.socket) if isinstance(block.socket, str) else block.socket
    where = (*at, "socket") if isinstance(block.socket, str) else (*at, "socket", "path")
    for directory, name in ((block.directory, "the app's directory"), (state_dir, "state_dir")):
        if contains(directory, socket.path):
            what = f"it is in {name}, where only the agent's own files may be"
            problems.add_dependent(where, what, todo="name a path outside of it, such as /run/sockets/web.sock")
    if (length := len(socket.path.encode())) > _MAX_PATH:
        what = f"it has {length} bytes, and the path of a Unix socket at most {_MAX_PATH}"
        problems.add_dependent(where, what, todo="name a shorter path, such as /run/sockets/web.sock")
    if socket.listen is not None and not is_loopback(socket.listen):
        what = "other machines could reach it, and the token would cross the network unencrypted"
        problems.add_dependent((*at, "socket", "listen"), what, todo="listen on 127.0.0.1 or [::1]")
    if (socket.listen is None) is not (socket.token_file is None):
        missing, given = ("token_file", "listen") if socket.token_file is None else ("listen", "token_file")
        what = f"`{given}` needs it"
        problems.add_dependent(
            (*at, "socket", missing), f"missing; {what}", todo=f"write `{missing}:`, or remove {given}"
        )
    owners = [file.owner for file in files] if socket.uids is None else []
    return ReadSocket(
        path=socket.path,
        uids=frozenset(owner[0] for owner in owners if owner is not None) | frozenset(socket.uids or ()),
        allows_own_user=socket.uids is None and (not owners or None in owners),
        gids=frozenset(socket.gids),
        listen=socket.listen,
        token_file=socket.token_file,
    )


def check_sockets(sockets: Mapping[str, ReadSocket | None], problems: Problems) -> None:
    """Two apps cannot have one socket or one port."""
    taken: dict[str, str] = {}
    for name, socket in sockets.items():
        if socket is None:
            continue
        for key, place in (("path", socket.path), ("listen", socket.listen)):
            path: Path = ("apps", name, "socket", key)
            if path not in problems.lines:
                path = path[:-1]
            if place is not None and (other := taken.setdefault(place, spell(path))) != spell(path):
                problems.add_dependent(path, f"{other} is the same", todo="give each app its own")
