"""The Ed25519 key that signs an audit trail, and its public key, which verifies it."""

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


class PublicKey:
    """Verifies signatures."""

    def __init__(self, key: "Ed25519PublicKey") -> None:
        self._key = key

    def is_genuine(self, content: bytes, signature: str) -> bool:
        """Whether this is the key's signature of the content, in base64."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # Few sidecars have an audit trail.

        try:
            self._key.verify(base64.b64decode(signature, validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        """The key in PEM, as openssl reads it."""
        from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

        return self._key.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)


class PrivateKey:
    """Creates signatures."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key

    def sign(self, content: bytes) -> str:
        """The signature of the content, in base64."""
        return base64.b64encode(self._key.sign(content)).decode()

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey(self._key.public_key())


def private_key(path: Path) -> PrivateKey | None:
    """The key in the file; None if the file does not exist. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    text = _read(path, _OTHERS)
    if text is None:
        return None
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError):  # TypeError: the key is encrypted with a password.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong(
            "it does not contain an unencrypted Ed25519 private key in PEM", path, "`lessee audit key` creates one"
        )
    return PrivateKey(key)


def make_key(path: Path) -> PrivateKey:
    """Create a key in a new file, 0600. Raises WriteError."""
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    # Not named by pid: in a container the pid is always the same, and a killed process would block all later ones.
    fresh = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(fresh, path)  # Atomic, and never replaces an existing file.
        finally:
            fresh.unlink()
    except OSError as exc:
        what = f"the audit trail's key cannot be created: {exc.strerror}"
        raise WriteError(what, where=str(path), todo="name a file in a writable directory") from None
    return PrivateKey(key)


def public_key(path: Path) -> PublicKey:
    """The public key in the file. Raises ConfigError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    text = _read(path, 0)
    if text is None:
        raise _wrong("the file does not exist", path, "`lessee audit key` prints the public key")
    try:
        key = load_pem_public_key(text)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _wrong("it does not contain an Ed25519 public key in PEM", path, "`lessee audit key` prints it")
    return PublicKey(key)


def _read(path: Path, forbidden_mode: int) -> bytes | None:
    try:
        # O_NONBLOCK: opening a FIFO must not block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _wrong(f"it cannot be read: {exc.strerror}", path) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _wrong("it is not a regular file", path)
        if found.st_mode & forbidden_mode:
            raise _wrong("other users may read or change it", path, "run chmod 600")
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def _wrong(what: str, path: Path, todo: str = "") -> ConfigError:
    return ConfigError([LesseeError(f"the audit trail's key: {what}", where=str(path), todo=todo)])
