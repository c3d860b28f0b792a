"""Resolves the sockets of an app: where it reads itself, and where systemd reads its credentials."""

from collections.abc import Iterable

from lessee.config import App, CredentialSocket, File, ReadSocket
from lessee.config.containers import check_containers
from lessee.config.grammar.app import CredentialsBlock, SocketBlock
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.resolution import contains
from lessee.config.status import is_loopback

_MAX_PATH = 107
"""Bytes (unix(7): sun_path, with the zero that ends it)."""


def resolve_socket(
    block: str | SocketBlock, app_directory: str, files: Iterable[File], state_dir: str, at: Path, problems: Problems
) -> ReadSocket:
    """The socket of an app. By default, the owners of the files may read."""
    socket = SocketBlock(path=block) if isinstance(block, str) else block
    where = (*at, "socket") if isinstance(block, str) else (*at, "socket", "path")
    _check_path(socket.path, app_directory, state_dir, where, problems)
    if socket.listen is not None and not is_loopback(socket.listen):
        what = "other machines could reach it, and the token would cross the network unencrypted"
        problems.add_dependent((*at, "socket", "listen"), what, todo="listen on 127.0.0.1 or [::1]")
    if (socket.listen is None) is not (socket.token_file is None):
        missing, given = ("token_file", "listen") if socket.token_file is None else ("listen", "token_file")
        what = f"`{given}` needs it"
        problems.add_dependent(
            (*at, "socket", missing), f"missing; {what}", todo=f"write `{missing}:`, or remove {given}"
        )
    check_containers(socket.containers, (*at, "socket", "containers"), "read too", problems)
    if socket.containers and socket.listen is not None:
        what = "a client of `listen` cannot be found in a container"
        problems.add_dependent((*at, "socket", "listen"), what, todo="remove `listen`, or `containers`")
    owners = [file.owner for file in files] if socket.uids is None else []
    return ReadSocket(
        path=socket.path,
        uids=frozenset(owner[0] for owner in owners if owner is not None) | frozenset(socket.uids or ()),
        allows_own_user=socket.uids is None and (not owners or None in owners),
        gids=frozenset(socket.gids),
        containers=socket.containers,
        listen=socket.listen,
        token_file=socket.token_file,
    )


def resolve_credentials(
    block: CredentialsBlock, app_directory: str, state_dir: str, at: Path, problems: Problems
) -> CredentialSocket:
    """The socket from which systemd reads."""
    _check_path(block.socket, app_directory, state_dir, (*at, "credentials", "socket"), problems)
    return CredentialSocket(path=block.socket, units=frozenset(block.units))


def check_sockets(apps: Iterable[App], problems: Problems) -> None:
    """Two sockets cannot have one path or one port."""
    taken: dict[str, str] = {}
    for app in apps:
        places: list[tuple[Path, str | None]] = []
        if app.socket is not None:
            places += [(("socket", "path"), app.socket.path), (("socket", "listen"), app.socket.listen)]
        if app.credentials is not None:
            places.append((("credentials", "socket"), app.credentials.path))
        for key, place in places:
            path: Path = ("apps", app.name, *key)
            if path not in problems.lines:
                path = path[:-1]
            if place is not None and (other := taken.setdefault(place, spell(path))) != spell(path):
                problems.add_dependent(path, f"{other} is the same", todo="give each socket its own")


def _check_path(socket: str, app_directory: str, state_dir: str, where: Path, problems: Problems) -> None:
    for directory, name in ((app_directory, "the app's directory"), (state_dir, "state_dir")):
        if contains(directory, socket):
            what = f"it is in {name}, where only the agent's own files may be"
            problems.add_dependent(where, what, todo="name a path outside of it, such as /run/sockets/web.sock")
    check_length(socket, where, problems)


def check_length(socket: str, where: Path, problems: Problems) -> None:
    """The kernel takes no longer path of a Unix socket."""
    if (length := len(socket.encode())) > _MAX_PATH:
        what = f"it has {length} bytes, and the path of a Unix socket at most {_MAX_PATH}"
        problems.add_dependent(where, what, todo="name a shorter path, such as /run/sockets/web.sock")
