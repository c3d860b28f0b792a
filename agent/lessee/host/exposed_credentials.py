"""Finds files with the agent's credentials that every user of the machine can read."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lessee.config import Config, HttpTarget, logins_of
from lessee.core.immutable import ImmutableStruct

_PUBLIC = frozenset({"role_id_file", "cert_file", "jwt_file"})
"""Keys of files that alone are no credential; a service account's JWT is readable for each process of its container."""


class ExposedCredential(ImmutableStruct, frozen=True):
    """A file that every user can read, and its mode."""

    path: str
    mode: int

    @property
    def todo(self) -> str:
        """What to do about it."""
        return f"chmod 600 {self.path}; its owner must be the agent's user, who reads it"


def exposed_credentials(config: Config) -> Iterator[ExposedCredential]:
    """Each of these files once. On a read-only mount, as for Compose's secrets, the mode is not this machine's."""
    for path in dict.fromkeys(_files(config)):
        # Another user may own a directory of the path; nothing is opened.
        with suppress(OSError):
            real = Path(os.path.realpath(path))
            status = real.stat()
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_mode & stat.S_IROTH
                and not os.statvfs(real).f_flag & os.ST_RDONLY
                and _is_reachable(real.parents)
            ):
                yield ExposedCredential(path, stat.S_IMODE(status.st_mode))


def _is_reachable(directories: Iterable[Path]) -> bool:
    """Whether every user may enter all of these."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in directories)


def _files(config: Config) -> Iterator[str]:
    for vault in logins_of(config):
        keys = [key for key in vault.auth.__struct_fields__ if key.endswith("_file") and key not in _PUBLIC]
        yield from filter(None, (*(getattr(vault.auth, key) for key in keys), vault.client_key_file))
    for source in config.sources.values():
        yield from source.credential_files
    for app in config.apps.values():
        if app.socket is not None and app.socket.token_file is not None:
            yield app.socket.token_file
        if app.notify is not None and isinstance(app.notify.target, HttpTarget):
            yield from app.notify.target.header_files.values()
    if config.status.listen is not None and config.status.listen.token_file is not None:
        yield config.status.listen.token_file
