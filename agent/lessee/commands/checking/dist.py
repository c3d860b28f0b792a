"""What a build wrote, searched for every secret of the environment: none may reach a visitor."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from lessee.core.checking.findings import Finding
from lessee.core.record import Record
from lessee.core.validation.traces import SHORTEST, Trace, Traces
from lessee.host.project import find, read
from lessee.validation.dist import Part, Unread, files, parts
from lessee.validation.inventory import MOST, Inventory
from lessee.validation.subject import Subject

_PATIENCE = 60.0
"""Seconds in which Vault is to tell what the environment holds."""
_ROTATE = "take it out of the build, and rotate it: whoever had a copy has it"


class Searched(Record, frozen=True):
    """What was found, and how much was looked at and looked for, in words."""

    findings: tuple[Finding, ...]
    summary: str


def check_dist(folders: Iterable[str], config: str | None, environ: Mapping[str, str]) -> Searched:
    """Raises Refused, VaultUnreachable or ConfigError where the environment's values cannot be known."""
    path = find(config, environ)
    said = read(path, environ, blocks=("validate", "rotation"))
    said = replace(said, validate=replace(said.validate, timeout=_PATIENCE))
    with closing(Subject(said, path, environ, now=time.time())) as subject:
        subject.reach()
        inventory, traces, public = subject.inventory(), subject.traces(), subject.public()
    findings = list(_unknown(inventory, traces, str(subject.space.prefix), str(path)))
    looking = _Looking(traces)
    for folder in folders:
        findings += looking.look(Path(folder))
    size, secrets = looking.size / 2**20, len(inventory.secrets)
    summary = (
        f"{looking.count} files ({size:.1f} MiB) searched for {traces.count} values of {secrets} secrets; "
        f"not looked for: {traces.short} shorter than {SHORTEST} characters, {len(public)} listed as public"
    )
    return Searched(tuple(findings), summary)


def _unknown(inventory: Inventory, traces: Traces, prefix: str, file: str) -> Iterator[Finding]:
    """What could not be looked for."""
    if not traces.count:
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


class _Looking:
    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self.count = 0
        self.size = 0

    def look(self, folder: Path) -> Iterator[Finding]:
        closed: list[OSError] = []
        before = self.count
        if folder.is_dir():
            for path in files(folder, closed):
                self.count += 1
                yield from self._file(path)
        for exc in closed:
            yield _unread(Path(str(exc.filename)), exc.strerror or "")
        if self.count == before and not closed:
            yield Finding("dist-unread", "error", "there are no files in it", "build it first", str(folder))

    def _file(self, path: Path) -> Iterator[Finding]:
        told = set()
        try:
            for part in parts(path, self._traces.longest):
                for trace in self._traces.search(part.content):
                    key = (trace.place, trace.encoding, part.unpacked)
                    if key not in told:
                        told.add(key)
                        yield _found(path, part, trace)
            self.size += path.stat().st_size
        except Unread as exc:
            yield _unread(path, str(exc))
        except OSError as exc:
            yield _unread(path, exc.strerror or "")


def _found(path: Path, part: Part, trace: Trace) -> Finding:
    where = f"at byte {part.at + trace.at}{' of what is packed in it' if part.unpacked else ''}"
    line = 0 if part.unpacked else part.line + part.content.count(b"\n", 0, trace.at)
    what = f"it holds the value of {trace.place}, {trace.encoding}, {where}"
    return Finding("secret-in-dist", "error", what, _ROTATE, str(path), line)


def _unread(path: Path, why: str) -> Finding:
    return Finding("dist-unread", "error", f"it cannot be searched: {why}", "mend it, or leave it out", str(path))
