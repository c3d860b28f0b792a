"""Encrypts a file with this host's key; without the key it can be neither read nor changed."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import check_writers, open_directory, translate_write_errors

KEY_VARIABLE, DEFAULT_KEY_FILE = "LESSEE_HOST_KEY_FILE", Path("/etc/lessee/host.key")
"""The place of the key."""

_OWN_PREFIX = b"lessee encrypted "
_MAGIC = _OWN_PREFIX + b"1\n"
_OLD_MAGIC = b"lessee sealed 1\n"
"""How the files of lessee 0.1.0 begin. It derives the key from this text too."""
_NONCE, _KEY = 12, 32
_LARGEST_FILE = 64 * 2**20
_LARGEST_KEY = 65536
# A FIFO would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class EncryptedFile(ImmutableStruct, frozen=True):
    """The parts of a file. The label is readable without the key, but cannot be changed without it."""

    path: Path
    label: bytes
    ciphertext: bytes
    magic: bytes = _MAGIC
    """The first line: the version of the format."""


def key_file(environ: Mapping[str, str]) -> Path:
    """The path of the host's key: a file of at least 32 bytes that only its owner and group may read."""
    return Path(environ.get(KEY_VARIABLE) or DEFAULT_KEY_FILE)


def encrypt(path: Path, label: bytes, content: bytes, key: Path) -> None:
    """Write the file atomically, and create the key if it does not exist.

    It overwrites no file of another program. Raises LesseeError.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # Imported only where a file is encrypted.

    assert b"\n" not in label
    _check_directories(path, key)
    cipher = AESGCM(_derived(_key(key, make=True), _MAGIC))
    nonce = os.urandom(_NONCE)
    head = _MAGIC + label + b"\n"
    folder = open_directory(path.parent, make=(0o700, None, None))
    try:
        check_writers(folder, path.parent, uid=None, gid=None)
        with translate_write_errors(path):
            _check_overwrite(folder, path)
            _write(folder, path.name, head + nonce + cipher.encrypt(nonce, content, head))
    finally:
        os.close(folder)


def read(path: Path) -> EncryptedFile:
    """The file with its label, which only `decrypt` verifies. Raises LesseeError."""
    content = _content(path, _LARGEST_FILE, "no snapshot exists yet: the agent writes it once Vault has served the app")
    magic = next((magic for magic in (_MAGIC, _OLD_MAGIC) if content.startswith(magic)), b"")
    label, newline, ciphertext = content.removeprefix(magic).partition(b"\n")
    if not magic and content.startswith(_OWN_PREFIX):
        what = "a newer version of lessee encrypted this file"
        raise LesseeError(what, where=str(path), todo="use that version, or remove the file")
    if not magic or not newline:
        raise LesseeError("not a file that lessee encrypted", where=str(path), todo="remove it, or name another file")
    return EncryptedFile(path, label, ciphertext, magic)


def decrypt(file: EncryptedFile, key: Path) -> bytes:
    """The content that was encrypted with this label. Raises LesseeError."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # As above.

    _check_directories(file.path, key)
    cipher = AESGCM(_derived(_key(key, make=False), file.magic))
    nonce, ciphertext = file.ciphertext[:_NONCE], file.ciphertext[_NONCE:]
    try:
        return cipher.decrypt(nonce, ciphertext, file.magic + file.label + b"\n")
    except (InvalidTag, ValueError):
        what = f"the file was changed or truncated, or encrypted with another key than {key}"
        raise LesseeError(what, where=str(file.path), todo="restore that key, or remove the file") from None


def _check_directories(path: Path, key: Path) -> None:
    # A copy of the directory would contain both.
    if os.path.realpath(path.parent) == os.path.realpath(key.parent):
        todo = f"move the file, or name another key with ${KEY_VARIABLE}"
        raise LesseeError("the file is in the same directory as its key", where=str(path), todo=todo)


def _check_overwrite(folder: int, path: Path) -> None:
    # A wrong path in the configuration must not destroy a user's file. A link is replaced, and its target stays.
    try:
        fd = os.open(path.name, _READ, dir_fd=folder)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.ELOOP}:
            return
        raise
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        start = os.read(fd, len(_OWN_PREFIX)) if regular else b""
        if not regular or (start not in {b"", _OWN_PREFIX} and not start.startswith(_OLD_MAGIC)):
            what = "not overwritten, as it is not a file that lessee encrypted"
            raise LesseeError(what, where=str(path), todo="name another file, or remove this one")
    finally:
        os.close(fd)


def _derived(material: bytes, magic: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415  # As above.

    return HKDF(SHA256(), _KEY, salt=None, info=magic.rstrip(b"\n")).derive(material)


def _key(path: Path, *, make: bool) -> bytes:
    if make and not os.path.lexists(path):
        _make_key(path)
    material = _content(path, _LARGEST_KEY, f"the key does not exist; ${KEY_VARIABLE} names another")
    if len(material) < _KEY:
        raise LesseeError(f"a key has at least {_KEY} bytes", where=str(path), todo="write random bytes into it")
    return material


def _make_key(path: Path) -> None:
    try:
        folder = open_directory(path.parent, make=None)
    except WriteError as exc:
        todo = f"create its directory, or name another key with ${KEY_VARIABLE}"
        raise WriteError(f"cannot create the key: {exc.what}", where=str(path), todo=todo) from None
    temporary = f".{path.name}.{os.urandom(4).hex()}"
    try:
        check_writers(folder, path.parent, uid=None, gid=None)
        with translate_write_errors(path):
            try:
                _fill(folder, temporary, os.urandom(_KEY))
                # Another agent may create a key at the same time: the first one wins.
                with suppress(FileExistsError):
                    os.link(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
    finally:
        os.close(folder)


def _content(path: Path, limit: int, missing: str) -> bytes:
    """The content of a file that the agent's uid or root owns, and only the group may read too. Raises LesseeError."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise LesseeError(missing, where=str(path)) from None
    except OSError as exc:
        what = "it is a symbolic link" if path.is_symlink() else f"cannot be read: {exc.strerror}"
        raise LesseeError(what, where=str(path)) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise LesseeError("it is not a regular file", where=str(path))
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o027:
            todo = f"chown {os.geteuid()} and chmod 600, after you checked which users may have read it"
            raise LesseeError("other users own it, or may read or write it", where=str(path), todo=todo)
        if status.st_size > limit:
            raise LesseeError(f"it is larger than {limit} bytes", where=str(path))
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(limit)
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
