"""Puts role_ids and secret_ids, or response-wrapping tokens for these, into files for the agents."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path

from lessee.core.errors import DeniedError
from lessee.host.directories import cannot_write, entries, open_directory, refuse_strangers
from lessee.ops.setup.policy.objects import Kind, Object
from lessee.vault.admin import AdminClient

ROLE_ID, SECRET_ID = "role_id", "secret_id"
_FOLDER = (0o700, None, None)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Tell = Callable[[str], None]


def missing(folder: Path, roles: Iterable[Object]) -> Iterator[tuple[Object, Path, tuple[str, ...]]]:
    """The roles without all of their files, where these belong, and what is not there."""
    for role in roles:
        place = folder / role.environment / role.name
        if absent := _absent(place):
            yield role, place, absent


def stale(client: AdminClient, folder: Path, roles: Iterable[Object]) -> Iterator[Path]:
    """The role_id files that are there and are not of the role as it is now: it was made anew since."""
    for role in roles:
        file = folder / role.environment / role.name / ROLE_ID
        try:
            held = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue  # There is none, or it is none of ours.
        if held != (client.read(f"{role.path}/role-id") or {}).get("role_id"):
            yield file


def write_credentials(
    client: AdminClient, folder: Path, roles: Iterable[Object], wrap_ttl: float | None, tell: Tell
) -> None:
    """Write the files that are missing; those that are there stay. Raises WriteError, DeniedError or VaultUnreachableError.

    With `wrap_ttl` in seconds, secret_id holds a response-wrapping token that serves once, within that time.
    """
    for role, place, _ in missing(folder, roles):
        with _opened(folder, place) as fd:
            absent = _absent(place)  # Another run may have written them since.
            if not absent:
                continue
            if ROLE_ID in absent:
                _write(fd, place, ROLE_ID, partial(_role_id, client, role))
            if SECRET_ID in absent:
                _write(fd, place, SECRET_ID, partial(_secret_id, client, role, wrap_ttl))
        tell(line_of(place, absent))


def line_of(place: Path, absent: Iterable[str]) -> str:
    """What is written where."""
    return f"  + {place}: {', '.join(absent)}"


def roles_of(wanted: Iterable[object]) -> list[Object]:
    """The roles among what is wanted."""
    return [one for one in wanted if isinstance(one, Object) and one.kind is Kind.ROLE]


def _absent(place: Path) -> tuple[str, ...]:
    return tuple(name for name in (ROLE_ID, SECRET_ID) if not os.path.lexists(place / name))


@contextmanager
def _opened(folder: Path, place: Path) -> Iterator[int]:
    """One run at a time writes there, the next waits for it."""
    for one in (folder, place.parent):
        os.close(open_directory(one, make=_FOLDER))
    fd = open_directory(place, make=_FOLDER)
    try:
        refuse_strangers(fd, place, uid=None, gid=None)
        with cannot_write(place):
            flock(fd, LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, place: Path, name: str, value: Callable[[], str]) -> None:
    """The file is there first: a secret_id that could not be written would be one too many."""
    new = f".{name}.new"
    with cannot_write(place / name):
        if new in entries(fd):
            os.unlink(new, dir_fd=fd)  # A run was ended here.
        file = os.open(new, _NEW, 0o600, dir_fd=fd)
    try:
        text = value()
        with cannot_write(place / name), os.fdopen(os.dup(file), "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(file)
        with cannot_write(place / name):
            os.rename(new, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        with suppress(FileNotFoundError):  # It was interrupted when all was done.
            os.unlink(new, dir_fd=fd)
        raise
    finally:
        os.close(file)


def _role_id(client: AdminClient, role: Object) -> str:
    path = f"{role.path}/role-id"
    value = (client.read(path) or {}).get("role_id")
    if not value:
        raise DeniedError("the role is not there", where=role.path, todo="set up roles as well")
    return str(value)


def _secret_id(client: AdminClient, role: Object, wrap_ttl: float | None) -> str:
    answer = client.write(f"{role.path}/secret-id", wrap_ttl=wrap_ttl)
    value = answer.wrapping_token if wrap_ttl is not None else answer.data.get("secret_id")
    if not value:
        raise DeniedError("the server gave no secret_id", where=role.path)
    return str(value)
