"""The age identities that decrypt archives, and the recipients that they are encrypted for."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.archive_format import ArchiveError

VARIABLE = "LESSEE_BACKUP_KEY_FILE"
MOST_RECIPIENTS = 200
"""As many as fit into the largest header that is read."""
_LARGEST = 64 * 1024
_OTHERS = 0o077


class Keys(ImmutableStruct, frozen=True):
    """The identities in a key file: their secrets and public keys."""

    hidden = ("secrets",)

    secrets: tuple[str, ...]
    public_keys: tuple[str, ...]

    def identities(self) -> list[Any]:
        """The identities as pyrage objects."""
        identity = load_pyrage().x25519.Identity
        return [identity.from_str(secret) for secret in self.secrets]


def load_pyrage() -> Any:
    """Import pyrage, which is an extra. Raises LesseeError."""
    try:
        import pyrage  # noqa: PLC0415  # Only backups need this extra.
    except ImportError:
        raise LesseeError("pyrage is not installed", todo="install it with `pip install 'lessee[backup]'`") from None
    return pyrage


def keys(option: str | None, environ: Mapping[str, str]) -> Keys | None:
    """The keys from --key-file or $LESSEE_BACKUP_KEY_FILE; None if neither is set. Raises ConfigError."""
    named = option or environ.get(VARIABLE)
    return _read(Path(named)) if named else None


def require_keys(found: Keys | None) -> Keys:
    """The keys. Raises ConfigError if there are none."""
    if found is None:
        todo = f"name the age identity's file with --key-file or ${VARIABLE} (`age-keygen -o FILE` creates one)"
        raise _config_error("no key to decrypt archives", "", todo)
    return found


def recipients(configured: Sequence[str], found: Keys | None) -> list[Any]:
    """The recipients as pyrage objects: the configured ones, otherwise those of the keys. Raises ConfigError."""
    pyrage = load_pyrage()
    texts = configured or require_keys(found).public_keys
    if len(texts) > MOST_RECIPIENTS:
        raise _config_error(f"more than {MOST_RECIPIENTS} recipients", "backup.recipients", "share an identity")
    try:
        return [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError:
        todo = "`age-keygen -y FILE` prints the public key"
        raise _config_error("an item is not a public key of age", "backup.recipients", todo) from None


def _read(path: Path) -> Keys:
    try:
        # O_NONBLOCK: opening a FIFO must not block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise _config_error(f"cannot read the key file: {exc.strerror}", str(path)) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _config_error("the key file is not a regular file", str(path))
        if found.st_mode & _OTHERS:
            raise _config_error("other users may read the key file", str(path), f"run `chmod 600 {path}`")
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
        raise _config_error("the key file has an invalid age identity", str(path), todo) from None
    if not made:
        raise _config_error("the key file is empty", str(path))
    return Keys(secrets, tuple(str(identity.to_public()) for identity in made))


def _config_error(what: str, where: str, todo: str = "") -> ConfigError:
    return ConfigError([LesseeError(what, where=where, todo=todo)])


def wrong_key_error(where: str) -> ArchiveError:
    """The error for an archive that no identity decrypts."""
    todo = "use --key-file with the key that it was encrypted for"
    return ArchiveError("the key does not decrypt this archive", where=where, todo=todo)
