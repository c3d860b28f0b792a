"""Copies the file of an MCP client to a folder of backups."""

import hashlib
import os
from pathlib import Path

from lessee.host.directories import translate_write_errors
from lessee.host.user_file import UserFile, sync_folder


def back_up(file: UserFile, directory: Path) -> Path:
    """Copy the file to a directory that only the owner can enter; reuse an equal copy. Raises WriteError."""
    digest = hashlib.sha256(os.fsencode(file.real) + b"\0" + file.content).hexdigest()[:12]
    backup = directory / f"{file.real.name}.{digest}"
    with translate_write_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if backup.is_symlink() or not backup.exists() or backup.read_bytes() != file.content:
            _write_backup(backup, file.content)
        backup.chmod(0o600)
    return backup


def _write_backup(backup: Path, content: bytes) -> None:
    staged = backup.with_name(f".{backup.name}.new")
    staged.unlink(missing_ok=True)
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    staged.replace(backup)
    sync_folder(backup.parent)
