"""Verification: whether an audit trail is intact, and where it was altered."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lessee.audit_trail.policy.entries import (
    ALTERED,
    FIRST_HASH,
    FORMAT,
    Entry,
    Head,
    decode_entry,
    decode_head,
    hash_line,
    is_torn_entry,
    newer_format,
    signed_part,
)
from lessee.audit_trail.policy.file_names import HEAD, first_entry
from lessee.core.immutable import ImmutableStruct

SignatureCheck = Callable[[bytes, str], bool]
"""Whether this is the key's signature of these bytes."""

_REPLACED = "nothing is signed by this key: it is the wrong key, or the key or the audit trail was replaced"


class Line(ImmutableStruct, frozen=True):
    """A line of a file; `number` counts from 1, and `text` includes the newline."""

    file: str
    number: int
    text: bytes


_NOWHERE = Line(HEAD, 0, b"")


class Finding(ImmutableStruct, frozen=True):
    """An alteration, and where it is. `n`: the number of the entry, as far as it can be determined."""

    file: str
    line: int
    n: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: entry {self.n}: {self.what}"


class Verdict(ImmutableStruct, frozen=True):
    """The number of entries, the alterations, and notes on what is not an alteration."""

    entries: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def verify(
    lines: Callable[[], Iterable[Line]],
    head: bytes | None,
    is_genuine: SignatureCheck,
    copies: Mapping[str, bytes] | None = None,
) -> Verdict:
    """Read the audit trail once. If something is wrong, read it again and check the signature of each entry.

    `copies`: heads that were copied elsewhere, by their location: the audit trail must continue each of them.
    """
    walk = _Walk(is_genuine, check_each=False, copies=copies or {})
    verdict = walk.run(lines(), head)
    if not verdict.findings:
        return verdict
    walk = _Walk(is_genuine, check_each=True, copies=copies or {})
    detailed = walk.run(lines(), head)
    if walk.invalid > 1 and not walk.signed:
        return Verdict(detailed.entries, (Finding(HEAD, 1, walk.invalid, _REPLACED),), detailed.notes)
    return detailed


@dataclass
class _Walk:
    is_genuine: SignatureCheck
    check_each: bool
    """Whether each entry's signature is checked."""
    copies: Mapping[str, bytes]
    n: int = 0
    invalid: int = 0
    """Invalid lines since entry `n`: each was a changed or an inserted entry."""
    hash: str | None = FIRST_HASH
    """The hash of the last line; None if the line is invalid and already reported."""
    entries: int = 0
    signed: int = 0
    """Entries and heads with a valid signature."""
    last: Line = _NOWHERE
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _heads: dict[str, Head] = field(default_factory=dict)
    _hashes: dict[int, str] = field(default_factory=dict)
    _newest: Entry | None = None
    _torn: Line | None = None

    def run(self, lines: Iterable[Line], head: bytes | None) -> Verdict:
        self._read_heads(head)
        heads = {head.n for head in self._heads.values()}
        for line in lines:
            if self._torn is not None:
                self._report_invalid(self._torn, "is truncated")
                self._torn = None
            self._read(line)
            if self.hash is not None and self.n in heads:
                self._hashes[self.n] = self.hash
        self._check_end()
        return Verdict(self.entries, tuple(self.findings), tuple(self.notes))

    def _read_heads(self, head: bytes | None) -> None:
        if head is None:
            self.findings.append(Finding(HEAD, 1, 0, "is missing"))
        for name, text in {**({HEAD: head} if head is not None else {}), **self.copies}.items():
            record = decode_head(text)
            if record is None or not self._is_signed(record):
                what = "was changed, or is signed by another key"
                self.findings.append(Finding(name, 1, record.n if record is not None else 0, what))
            else:
                self._heads[name] = record

    def _read(self, line: Line) -> None:
        if not line.text.endswith(b"\n"):
            self._torn = line
            return
        self.last = line
        entry = decode_entry(line.text)
        if entry is None or ((self.check_each or self._is_after_head(entry)) and not self._is_signed(entry)):
            self._report_invalid(line, _why_invalid(line.text))
            return
        self.entries += 1
        if line.number == 1 and first_entry(line.file) != entry.n:
            self._report(line, f"the file was renamed: it begins with entry {entry.n}", n=entry.n)
        if entry.action.name == ALTERED:
            # The writer may have replaced what it found altered, such as the head.
            self._report(
                line, f"its writer found the audit trail altered: {entry.action.subject.get('what', '')}", n=entry.n
            )
        if entry.n <= self.n:
            self._report(line, "is in the wrong place, or is a duplicate", n=entry.n)
            self.hash = None
            return
        if entry.n > self.n + self.invalid + 1:
            self._report(line, f"{_missing(self.n + self.invalid + 1, entry.n - 1)} before it", n=entry.n)
        elif self.hash is not None and entry.previous_hash != self.hash:
            self._report(line, "does not match the previous entry: one of the two was changed", n=entry.n)
        self.n, self.invalid, self.hash, self._newest = entry.n, 0, hash_line(line.text), entry

    def _check_end(self) -> None:
        head = self._heads.get(HEAD)
        if self._torn is not None:
            is_next = head is not None and head.n <= self.n and self.hash is not None
            if is_next and is_torn_entry(self._torn.text, self.n + 1, self.hash or ""):
                place = f"{self._torn.file}:{self._torn.number}"
                self.notes.append(f"{place}: a writer was killed while it wrote this entry; the next writer repairs it")
            else:
                self._report_invalid(self._torn, "is truncated")
        for name, copy in self._heads.items():
            self._check_head(name, copy)
        if head is None or self._newest is None or self.n <= head.n:
            return
        if self._newest.head > head.n:
            self.findings.append(
                Finding(HEAD, 1, head.n, f"is older than the audit trail, which continues to entry {self.n}")
            )
        else:
            self.notes.append(f"{HEAD}: a writer was killed before it updated this file; the next writer repairs it")

    def _is_after_head(self, entry: Entry) -> bool:
        """Whether the head's signature does not cover this entry."""
        head = self._heads.get(HEAD)
        return head is not None and entry.n > head.n

    def _check_head(self, name: str, head: Head) -> None:
        if head.n > self.n + self.invalid:
            first = self.n + self.invalid + 1
            what = f"{_missing(first, head.n)} at the end: {name} is newer"
            self.findings.append(Finding(self.last.file, self.last.number + 1, first, what))
        elif head.n and self._hashes.get(head.n, head.hash) != head.hash:
            what = "differs here: the audit trail was rewritten, or one of the two was changed"
            self.findings.append(Finding(name, 1, head.n, what))

    def _is_signed(self, record: Entry | Head) -> bool:
        is_valid = self.is_genuine(signed_part(record), record.signature)
        self.signed += is_valid
        return is_valid

    def _report(self, line: Line, what: str, *, n: int) -> None:
        self.findings.append(Finding(line.file, line.number, n, what))

    def _report_invalid(self, line: Line, what: str) -> None:
        self.invalid, self.hash = self.invalid + 1, None
        self._report(line, what, n=self.n + self.invalid)


def _why_invalid(text: bytes) -> str:
    if (newer := newer_format(text)) is not None:
        return f"has format {newer}, and this lessee reads {FORMAT}: verify it with the version that wrote it"
    return "was changed, or was not written by lessee"


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
