"""`lessee check --dist`: searches the output of a frontend build for every secret of the environment."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.leaks import SHORTEST, Leak, LeakDetector
from lessee.host.project import find, read
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.dist import IncompleteReadError, Part, files, leaks_in_name, parts, printable
from lessee.ops.validate.inventory import MAX_SECRETS, Inventory

_PATIENCE = 60.0
"""Seconds to read the environment's secrets from Vault."""
_ROTATE = "remove it from the build, and rotate it: every copy of the build contains it"


class DistReport(ImmutableStruct, frozen=True):
    """The findings, and a summary of what was searched and searched for."""

    findings: tuple[Finding, ...]
    summary: str


def check_dist(folders: Iterable[str], config: str | None, environ: Mapping[str, str]) -> DistReport:
    """Search directories. Raises DeniedError, VaultUnreachableError or ConfigError if secrets cannot be read."""
    path = find(config, environ)
    settings = read(path, environ, blocks=("validate", "rotation"))
    settings = replace(settings, validate=replace(settings.validate, timeout=_PATIENCE))
    with closing(ValidationContext(settings, path, environ, now=time.time())) as context:
        context.connect()
        inventory, detector, public = context.inventory(), context.detector(), context.public_fields()
    findings = list(_unknown(inventory, detector, str(context.scope.prefix), str(path)))
    search = _DistSearch(detector)
    for folder in folders:
        findings += search.add_folder(Path(folder))
    size, secrets, others = search.size / 2**20, len(inventory.secrets), inventory.non_secret_count
    summary = (
        f"{search.count} files ({size:.1f} MiB) searched for {detector.count} values of {secrets} secrets; "
        f"not searched for: {detector.short} shorter than {SHORTEST} characters, {others} named like places, "
        f"names or times, {len(public)} listed as public, leased credentials, and values from before a rotation"
    )
    return DistReport(tuple(findings), summary)


def _unknown(inventory: Inventory, detector: LeakDetector, prefix: str, file: str) -> Iterator[Finding]:
    """Findings for the secrets that could not be read."""
    if not detector.count:
        what, todo = "no secret to search for", "use a token that may read the environment"
        yield Finding("dist-incomplete", "error", what, todo, file)
        return
    if inventory.unread:
        what = f"{inventory.unread} or more of the environment's secrets could not be read within {_PATIENCE:g} s"
        yield Finding("dist-incomplete", "error", what, f"try again; more than {MAX_SECRETS} are too many", file)
    if not inventory.listed:
        what = (
            f"the token may not list {prefix or 'the secrets'}: searched only for secrets that the configuration names"
        )
        yield Finding("dist-incomplete", "warning", what, "use a token that may read all secrets", file)
    if inventory.denied:
        what = f"the token may not read {', '.join(inventory.denied)}"
        yield Finding("dist-incomplete", "warning", what, "use a token that may read all secrets", file)


class _DistSearch:
    def __init__(self, detector: LeakDetector) -> None:
        self._detector = detector
        self.count = 0
        self.size = 0

    def add_folder(self, folder: Path) -> Iterator[Finding]:
        """Search a directory, or a single file."""
        if not os.access(folder, os.F_OK):
            yield Finding("dist-unreadable", "error", "not found", "run the build first", printable(folder))
            return
        closed: list[OSError] = []
        before = self.count
        for path in (folder,) if folder.is_file() else files(folder, closed):
            self.count += 1
            yield from self._file(path, folder)
        for exc in closed:
            yield self._unread(Path(exc.filename or folder), folder, exc.strerror or "")
        if self.count == before and not closed:
            yield Finding("dist-unreadable", "error", "it has no files", "run the build first", printable(folder))

    def _file(self, path: Path, folder: Path) -> Iterator[Finding]:
        for leak in leaks_in_name(path, folder, self._detector):
            what = f"the name of a file in it contains the value of {leak.field}, {leak.encoding}"
            yield Finding("secret-in-dist", "error", what, _ROTATE, printable(folder))
        seen = set()
        try:
            for part in parts(path, self._detector.longest):
                for leak in self._detector.search(part.content):
                    key = (leak.field, leak.encoding, part.decompressed)
                    if key not in seen:
                        seen.add(key)
                        yield self._found(path, folder, part, leak)
            self.size += path.stat().st_size
        except IncompleteReadError as exc:
            yield self._unread(path, folder, str(exc))
        except OSError as exc:
            yield self._unread(path, folder, exc.strerror or "")

    def _found(self, path: Path, folder: Path, part: Part, leak: Leak) -> Finding:
        where = f"at byte {part.at + leak.offset}{' of its uncompressed content' if part.decompressed else ''}"
        line = 0 if part.decompressed else part.line + part.content.count(b"\n", 0, leak.offset)
        what = f"it contains the value of {leak.field}, {leak.encoding}, {where}"
        return self._about(path, folder, "secret-in-dist", what, _ROTATE, line)

    def _unread(self, path: Path, folder: Path, why: str) -> Finding:
        what = f"cannot search it: {why}"
        return self._about(path, folder, "dist-unreadable", what, "repair or omit it")

    def _about(self, path: Path, folder: Path, rule: str, what: str, todo: str, line: int = 0) -> Finding:
        """A finding in a file; it does not name a file whose name contains a value."""
        if leaks_in_name(path, folder, self._detector):
            unnamed = f"a file whose name contains a secret: {what}"
            return Finding(rule, "error", unnamed, todo, printable(folder))
        return Finding(rule, "error", what, todo, printable(path), line)
