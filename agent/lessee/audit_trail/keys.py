"""The Ed25519 key that signs a trail, and the public one that anybody may have."""

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.core.errors import ConfigError, LesseeError, WriteError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_LARGEST = 16 * 1024
_OTHERS = 0o037


class Public:
    """Tells what its key signed."""

    def __init__(self, key: "Ed25519PublicKey") -> None:
        self._key = key

    def is_genuine(self, content: bytes, signature: str) -> bool:
        """Whether this is the key's signature of it, in base64."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # Of a sidecar, few have a trail.

        try:
            self._key.verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        """As openssl reads it."""
        from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

        return self._key.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)


class Private:
    """Signs."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key

    def sign(self, content: bytes) -> str:
        """In base64."""
        return base64.b64encode(self._key.sign(content)).decode()

    @property
    def public(self) -> Public:
        """What is to be handed out."""
        return Public(self._key.public_key())


def private_key(path: Path) -> Private | None:
    """What is in the file; None where there is none. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    text = _read(path, _OTHERS)
    if text is None:
        return None
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError):  # TypeError: there is a password on it.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong(
            "it holds no private key of Ed25519 in PEM, without a password", path, "`lessee audit key` makes one"
        )
    return Private(key)


def make_key(path: Path) -> Private:
    """A new key in a new file, 0600. Raises WriteError."""
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    # Not by the pid: in a container that is always the same, and who was killed here would bar all that follow.
    fresh = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(fresh, path)  # Whole at once, and never over another.
        finally:
            fresh.unlink()
    except OSError as exc:
        what = f"the trail's key cannot be made: {exc.strerror}"
        raise WriteError(what, where=str(path), todo="name a file in a folder that can be written") from None
    return Private(key)


def public_key(path: Path) -> Public:
    """What is in the file. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    text = _read(path, 0)
    if text is None:
        raise _wrong("there is no such file", path, "`lessee audit key` prints the public key")
    try:
        key = load_pem_public_key(text)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _wrong("it holds no public key of Ed25519 in PEM", path, "`lessee audit key` prints it")
    return Public(key)


def _read(path: Path, closed_to: int) -> bytes | None:
    try:
        # A FIFO must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _wrong(f"it cannot be read: {exc.strerror}", path) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _wrong("it is no file", path)
        if found.st_mode & closed_to:
            raise _wrong("others may read or change it", path, "chmod 600")
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def _wrong(what: str, path: Path, todo: str = "") -> ConfigError:
    return ConfigError([LesseeError(f"the trail's key: {what}", where=str(path), todo=todo)])
