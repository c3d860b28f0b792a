"""What a build wrote, searched for every secret of the environment: none may reach a visitor."""

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
from lessee.ops.validate.context import Subject
from lessee.ops.validate.dist import Part, UnreadError, files, in_name, parts, printable
from lessee.ops.validate.inventory import MOST, Inventory

_PATIENCE = 60.0
"""Seconds in which Vault is to tell what the environment holds."""
_ROTATE = "take it out of the build, and rotate it: whoever had a copy has it"


class DistReport(ImmutableStruct, frozen=True):
    """What was found, and how much was looked at and looked for, in words."""

    findings: tuple[Finding, ...]
    summary: str


def check_dist(folders: Iterable[str], config: str | None, environ: Mapping[str, str]) -> DistReport:
    """Raises DeniedError, VaultUnreachableError or ConfigError where the environment's values cannot be known."""
    path = find(config, environ)
    said = read(path, environ, blocks=("validate", "rotation"))
    said = replace(said, validate=replace(said.validate, timeout=_PATIENCE))
    with closing(Subject(said, path, environ, now=time.time())) as subject:
        subject.reach()
        inventory, detector, public = subject.inventory(), subject.detector(), subject.public()
    findings = list(_unknown(inventory, detector, str(subject.scope.prefix), str(path)))
    looking = _DistSearch(detector)
    for folder in folders:
        findings += looking.look(Path(folder))
    size, secrets = looking.size / 2**20, len(inventory.secrets)
    summary = (
        f"{looking.count} files ({size:.1f} MiB) searched for {detector.count} values of {secrets} secrets; "
        f"not looked for: {detector.short} shorter than {SHORTEST} characters, {inventory.plain} named as places, "
        f"names or times, {len(public)} listed as public, nor what was leased, or was there before a rotation"
    )
    return DistReport(tuple(findings), summary)


def _unknown(inventory: Inventory, detector: LeakDetector, prefix: str, file: str) -> Iterator[Finding]:
    """What could not be looked for."""
    if not detector.count:
        what, todo = "there is no secret to look for", "give the check a token that may read the environment"
        yield Finding("dist-unknown", "error", what, todo, file)
        return
    if inventory.unseen:
        what = f"of the environment's secrets {inventory.unseen} or more could not be read in {_PATIENCE:g} s"
        yield Finding("dist-unknown", "error", what, f"try again; more than {MOST} are too many", file)
    if not inventory.listed:
        what = f"the token may not list {prefix or 'the secrets'}: looked for what the configuration names, and no more"
        yield Finding("dist-unknown", "warning", what, "give the check a token that may read all", file)
    if inventory.refused:
        what = f"the token may not read {', '.join(inventory.refused)}"
        yield Finding("dist-unknown", "warning", what, "give the check a token that may read all", file)


class _DistSearch:
    def __init__(self, detector: LeakDetector) -> None:
        self._detector = detector
        self.count = 0
        self.size = 0

    def look(self, folder: Path) -> Iterator[Finding]:
        """A folder, or a file by itself."""
        if not os.access(folder, os.F_OK):
            yield Finding("dist-unread", "error", "it is not there", "build it first", printable(folder))
            return
        closed: list[OSError] = []
        before = self.count
        for path in (folder,) if folder.is_file() else files(folder, closed):
            self.count += 1
            yield from self._file(path, folder)
        for exc in closed:
            yield self._unread(Path(exc.filename or folder), folder, exc.strerror or "")
        if self.count == before and not closed:
            yield Finding("dist-unread", "error", "there are no files in it", "build it first", printable(folder))

    def _file(self, path: Path, folder: Path) -> Iterator[Finding]:
        for leak in in_name(path, folder, self._detector):
            what = f"the name of a file in it holds the value of {leak.field}, {leak.encoding}"
            yield Finding("secret-in-dist", "error", what, _ROTATE, printable(folder))
        told = set()
        try:
            for part in parts(path, self._detector.longest):
                for leak in self._detector.search(part.content):
                    key = (leak.field, leak.encoding, part.unpacked)
                    if key not in told:
                        told.add(key)
                        yield self._found(path, folder, part, leak)
            self.size += path.stat().st_size
        except UnreadError as exc:
            yield self._unread(path, folder, str(exc))
        except OSError as exc:
            yield self._unread(path, folder, exc.strerror or "")

    def _found(self, path: Path, folder: Path, part: Part, leak: Leak) -> Finding:
        where = f"at byte {part.at + leak.offset}{' of what is packed in it' if part.unpacked else ''}"
        line = 0 if part.unpacked else part.line + part.content.count(b"\n", 0, leak.offset)
        what = f"it holds the value of {leak.field}, {leak.encoding}, {where}"
        return self._about(path, folder, "secret-in-dist", what, _ROTATE, line)

    def _unread(self, path: Path, folder: Path, why: str) -> Finding:
        what = f"it cannot be searched: {why}"
        return self._about(path, folder, "dist-unread", what, "mend it, or leave it out")

    def _about(self, path: Path, folder: Path, rule: str, what: str, todo: str, line: int = 0) -> Finding:
        """Of a file; one whose name holds a value is not named."""
        if in_name(path, folder, self._detector):
            unnamed = f"a file whose name holds a value of a secret: {what}"
            return Finding(rule, "error", unnamed, todo, printable(folder))
        return Finding(rule, "error", what, todo, printable(path), line)
