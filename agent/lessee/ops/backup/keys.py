"""The age identities that open an archive, and the recipients that it is made for."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import ArchiveError

VARIABLE = "LESSEE_BACKUP_KEY_FILE"
_LARGEST = 64 * 1024
_OTHERS = 0o077


class Keys(ImmutableStruct, frozen=True):
    """What a key file holds: each identity's secret, and its public part."""

    hidden = ("secrets",)

    secrets: tuple[str, ...]
    public_keys: tuple[str, ...]

    def identities(self) -> list[Any]:
        """As pyrage takes them."""
        identity = load_pyrage().x25519.Identity
        return [identity.from_str(secret) for secret in self.secrets]


def load_pyrage() -> Any:
    """The library, which is an extra. Raises LesseeError."""
    try:
        import pyrage  # noqa: PLC0415  # As its extra says, only backups need it.
    except ImportError:
        raise LesseeError("pyrage is not installed", todo="install it with `pip install 'lessee[backup]'`") from None
    return pyrage


def keys(option: str | None, environ: Mapping[str, str]) -> Keys | None:
    """Of --key-file or $LESSEE_BACKUP_KEY_FILE; None where neither names a file. Raises ConfigError."""
    named = option or environ.get(VARIABLE)
    return _read(Path(named)) if named else None


def require_keys(found: Keys | None) -> Keys:
    """Raises ConfigError where there is no key."""
    if found is None:
        todo = f"name the age identity's file with --key-file or ${VARIABLE} (`age-keygen -o FILE` makes one)"
        raise _wrong("no key opens archives", "", todo)
    return found


def recipients(configured: Sequence[str], found: Keys | None) -> list[Any]:
    """As pyrage takes them: those of the configuration, else our own. Raises ConfigError."""
    pyrage = load_pyrage()
    texts = configured or require_keys(found).public_keys
    try:
        return [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError:
        raise _wrong("one is no public key of age", "backup.recipients", "`age-keygen -y FILE` prints it") from None


def _read(path: Path) -> Keys:
    try:
        # A FIFO must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise _wrong(f"the key file cannot be read: {exc.strerror}", str(path)) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _wrong("the key file is no file", str(path))
        if found.st_mode & _OTHERS:
            raise _wrong("others may read the key file", str(path), "chmod 600")
        text = os.read(fd, _LARGEST)
    finally:
        os.close(fd)
    lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
    secrets = tuple(line for line in lines if line and not line.startswith("#"))
    pyrage = load_pyrage()
    try:
        made = [pyrage.x25519.Identity.from_str(secret) for secret in secrets]
    except pyrage.IdentityError:
        todo = "expected lines that begin with AGE-SECRET-KEY-1, as `age-keygen` writes them, without a passphrase"
        raise _wrong("the key file holds no identity of age", str(path), todo) from None
    if not made:
        raise _wrong("the key file is empty", str(path))
    return Keys(secrets, tuple(str(identity.to_public()) for identity in made))


def _wrong(what: str, where: str, todo: str = "") -> ConfigError:
    return ConfigError([LesseeError(what, where=where, todo=todo)])


def does_not_open(where: str) -> ArchiveError:
    """No identity fits."""
    todo = "name the key that it was made for with --key-file"
    return ArchiveError("the key does not open this archive", where=where, todo=todo)
