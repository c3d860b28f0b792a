"""Keeps a content in a file that is of no use without this host's key, and cannot be changed without it."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import check_writers, open_directory, translate_write_errors

VARIABLE, USUAL = "LESSEE_HOST_KEY_FILE", Path("/etc/lessee/host.key")
"""Where the key is."""

_OURS = b"lessee sealed "
_MAGIC = _OURS + b"1\n"
_NONCE, _KEY = 12, 32
_MOST = 64 * 2**20
_MOST_KEY = 65536
# A FIFO would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sealed(ImmutableStruct, frozen=True):
    """What stands in a file. The label can be read by everybody, and by nobody be changed."""

    path: Path
    label: bytes
    box: bytes


def key_file(environ: Mapping[str, str]) -> Path:
    """The host's key: a file of 32 bytes or more that only its owner and group may read, wherever it comes from."""
    return Path(environ.get(VARIABLE) or USUAL)


def seal(path: Path, label: bytes, content: bytes, key: Path) -> None:
    """Write the file, whole or not at all, and never over another's; the key is made where there is none.

    Raises LesseeError.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # Of those who seal alone.

    assert b"\n" not in label
    _refuse_beside(path, key)
    cipher = AESGCM(_derived(_key(key, make=True)))
    nonce = os.urandom(_NONCE)
    head = _MAGIC + label + b"\n"
    folder = open_directory(path.parent, make=(0o700, None, None))
    try:
        check_writers(folder, path.parent, uid=None, gid=None)
        with translate_write_errors(path):
            _refuse_another(folder, path)
            _write(folder, path.name, head + nonce + cipher.encrypt(nonce, content, head))
    finally:
        os.close(folder)


def read(path: Path) -> Sealed:
    """What stands there, of which the label is not proved yet. Raises LesseeError."""
    content = _content(path, _MOST, "there is nothing kept yet: it is written once Vault has served the app")
    label, newline, box = content.removeprefix(_MAGIC).partition(b"\n")
    if not content.startswith(_MAGIC) or not newline:
        raise LesseeError("it is no sealed file of lessee's", where=str(path), todo="remove it, or name another")
    return Sealed(path, label, box)


def unseal(sealed: Sealed, key: Path) -> bytes:
    """The content, as it was sealed with this label. Raises LesseeError."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # As above.

    _refuse_beside(sealed.path, key)
    cipher = AESGCM(_derived(_key(key, make=False)))
    nonce, box = sealed.box[:_NONCE], sealed.box[_NONCE:]
    try:
        return cipher.decrypt(nonce, box, _MAGIC + sealed.label + b"\n")
    except (InvalidTag, ValueError):
        what = f"it was changed, cut, or sealed with another key than {key}"
        raise LesseeError(what, where=str(sealed.path), todo="bring that key back, or remove the file") from None


def _refuse_beside(path: Path, key: Path) -> None:
    # Whoever carries the folder away would have both.
    if os.path.realpath(path.parent) == os.path.realpath(key.parent):
        todo = f"name a file elsewhere, or a key with ${VARIABLE}"
        raise LesseeError("it lies beside the key that opens it", where=str(path), todo=todo)


def _refuse_another(folder: int, path: Path) -> None:
    # A slip of the pen in a configuration must not cost somebody's file. A link goes, and what it leads to stays.
    try:
        fd = os.open(path.name, _READ, dir_fd=folder)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.ELOOP}:
            return
        raise
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        if not regular or os.read(fd, len(_OURS)) not in {b"", _OURS}:
            what = "what stands there is no sealed file of lessee's, and is not written over"
            raise LesseeError(what, where=str(path), todo="name another file, or remove it")
    finally:
        os.close(fd)


def _derived(material: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415  # As above.

    return HKDF(SHA256(), _KEY, salt=None, info=b"lessee sealed 1").derive(material)


def _key(path: Path, *, make: bool) -> bytes:
    if make and not os.path.lexists(path):
        _make_key(path)
    material = _content(path, _MOST_KEY, f"there is no such key; ${VARIABLE} names another")
    if len(material) < _KEY:
        raise LesseeError(f"a key has {_KEY} bytes or more", where=str(path), todo="give it random ones")
    return material


def _make_key(path: Path) -> None:
    try:
        folder = open_directory(path.parent, make=None)
    except WriteError as exc:
        todo = f"make its folder, or name another key with ${VARIABLE}"
        raise WriteError(f"the key cannot be made: {exc.what}", where=str(path), todo=todo) from None
    temporary = f".{path.name}.{os.urandom(4).hex()}"
    try:
        check_writers(folder, path.parent, uid=None, gid=None)
        with translate_write_errors(path):
            try:
                _fill(folder, temporary, os.urandom(_KEY))
                # Another agent may make one at this moment: the first counts.
                with suppress(FileExistsError):
                    os.link(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
    finally:
        os.close(folder)


def _content(path: Path, most: int, absent: str) -> bytes:
    """A file of ours that at most its group may read too. Raises LesseeError."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise LesseeError(absent, where=str(path)) from None
    except OSError as exc:
        what = "a link stands there" if path.is_symlink() else f"cannot be read: {exc.strerror}"
        raise LesseeError(what, where=str(path)) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise LesseeError("it is no file", where=str(path))
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o027:
            todo = f"chown {os.geteuid()} and chmod 600, after a look at who may have read it"
            raise LesseeError("others own it, may read it or may write it", where=str(path), todo=todo)
        if status.st_size > most:
            raise LesseeError(f"it is larger than {most} bytes", where=str(path))
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(most)
    finally:
        os.close(fd)


def _write(folder: int, name: str, content: bytes) -> None:
    temporary = f".{name}.{os.urandom(4).hex()}"
    try:
        _fill(folder, temporary, content)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _fill(folder: int, name: str, content: bytes) -> None:
    with os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=folder), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
