"""Whether a trail is whole, and where it is not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lessee.audit_trail.policy.entries import (
    ALTERED,
    START,
    Entry,
    Head,
    entry_of,
    hash_of,
    head_of,
    is_begun,
    signed_part,
)
from lessee.audit_trail.policy.file_names import HEAD, first_of
from lessee.core.immutable import Record

Genuine = Callable[[bytes, str], bool]
"""Whether this is the key's signature of these bytes."""

_REPLACED = "nothing here is signed by this key: the key was replaced, or the trail was, or it is the wrong key"


class Line(Record, frozen=True):
    """A line of a file, from 1; its text with the newline."""

    file: str
    number: int
    text: bytes


_NOWHERE = Line(HEAD, 0, b"")


class Finding(Record, frozen=True):
    """What is wrong at a place. `n`: the entry, as far as one can tell."""

    file: str
    line: int
    n: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: entry {self.n}: {self.what}"


class Verdict(Record, frozen=True):
    """How many entries there are, what is wrong with them, and what is no alteration but worth a word."""

    entries: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def verify(
    lines: Callable[[], Iterable[Line]], head: bytes | None, genuine: Genuine, copies: Mapping[str, bytes] | None = None
) -> Verdict:
    """Read the trail once; only where something is wrong, a second time, with the signature of each entry.

    `copies`: heads that were kept elsewhere, by where they are: the trail must go on from each of them.
    """
    walk = _Walk(genuine, each=False, copies=copies or {})
    verdict = walk.whole(lines(), head)
    if not verdict.findings:
        return verdict
    walk = _Walk(genuine, each=True, copies=copies or {})
    closer = walk.whole(lines(), head)
    if walk.odd > 1 and not walk.signed:
        return Verdict(closer.entries, (Finding(HEAD, 1, walk.odd, _REPLACED),), closer.notes)
    return closer


@dataclass
class _Walk:
    genuine: Genuine
    each: bool
    """Whether each entry's signature is looked at."""
    copies: Mapping[str, bytes]
    n: int = 0
    odd: int = 0
    """Lines since then that are no entries: each was one that was changed, or was put in."""
    hash: str | None = START
    """Of the last line; None: it is wrong, and that is told of already."""
    entries: int = 0
    signed: int = 0
    """Entries and heads of which the signature was found good."""
    last: Line = _NOWHERE
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _heads: dict[str, Head] = field(default_factory=dict)
    _hashes: dict[int, str] = field(default_factory=dict)
    _newest: Entry | None = None
    _torn: Line | None = None

    def whole(self, lines: Iterable[Line], head: bytes | None) -> Verdict:
        self._take_heads(head)
        wanted = {one.n for one in self._heads.values()}
        for line in lines:
            if self._torn is not None:
                self._tell_odd(self._torn, "is cut")
                self._torn = None
            self._take(line)
            if self.hash is not None and self.n in wanted:
                self._hashes[self.n] = self.hash
        self._see_end()
        return Verdict(self.entries, tuple(self.findings), tuple(self.notes))

    def _take_heads(self, head: bytes | None) -> None:
        if head is None:
            self.findings.append(Finding(HEAD, 1, 0, "is missing"))
        for name, text in {**({HEAD: head} if head is not None else {}), **self.copies}.items():
            made = head_of(text)
            if made is None or not self._is_genuine(made):
                what = "was changed, or is signed by another key"
                self.findings.append(Finding(name, 1, made.n if made is not None else 0, what))
            else:
                self._heads[name] = made

    def _take(self, line: Line) -> None:
        if not line.text.endswith(b"\n"):
            self._torn = line
            return
        self.last = line
        entry = entry_of(line.text)
        if entry is None or ((self.each or self._is_beyond(entry)) and not self._is_genuine(entry)):
            self._tell_odd(line, "was changed, or is none of lessee's")
            return
        self.entries += 1
        if line.number == 1 and first_of(line.file) != entry.n:
            self._tell(line, f"the file's name says another: it was renamed; it begins with {entry.n}", n=entry.n)
        if entry.act.act == ALTERED:
            # What it found may be mended to the eye since, such as a head that it had to write anew.
            self._tell(line, f"its writer found the trail altered: {entry.act.subject.get('what', '')}", n=entry.n)
        if entry.n <= self.n:
            self._tell(line, "stands in the wrong place, or twice", n=entry.n)
            self.hash = None
            return
        if entry.n > self.n + self.odd + 1:
            self._tell(line, f"{_missing(self.n + self.odd + 1, entry.n - 1)} before it", n=entry.n)
        elif self.hash is not None and entry.before != self.hash:
            self._tell(line, "does not follow the one before it: one of the two was changed", n=entry.n)
        self.n, self.odd, self.hash, self._newest = entry.n, 0, hash_of(line.text), entry

    def _see_end(self) -> None:
        head = self._heads.get(HEAD)
        if self._torn is not None:
            is_next = head is not None and head.n <= self.n and self.hash is not None
            if is_next and is_begun(self._torn.text, self.n + 1, self.hash or ""):
                place = f"{self._torn.file}:{self._torn.number}"
                self.notes.append(f"{place}: a writer was ended in the middle of it; the next one mends that")
            else:
                self._tell_odd(self._torn, "is cut")
        for name, one in self._heads.items():
            self._compare(name, one)
        if head is None or self._newest is None or self.n <= head.n:
            return
        if self._newest.head > head.n:
            self.findings.append(Finding(HEAD, 1, head.n, f"is older than the trail, which goes to entry {self.n}"))
        else:
            self.notes.append(f"{HEAD}: a writer was ended before it wrote this; the next one mends that")

    def _is_beyond(self, entry: Entry) -> bool:
        """Whether the head's signature does not speak for it."""
        head = self._heads.get(HEAD)
        return head is not None and entry.n > head.n

    def _compare(self, name: str, one: Head) -> None:
        if one.n > self.n + self.odd:
            first = self.n + self.odd + 1
            what = f"{_missing(first, one.n)} at the end: {name} knows of them"
            self.findings.append(Finding(self.last.file, self.last.number + 1, first, what))
        elif one.n and self._hashes.get(one.n, one.hash) != one.hash:
            what = "is another here: the trail was written anew, or one of the two was changed"
            self.findings.append(Finding(name, 1, one.n, what))

    def _is_genuine(self, made: Entry | Head) -> bool:
        good = self.genuine(signed_part(made), made.signature)
        self.signed += good
        return good

    def _tell(self, line: Line, what: str, *, n: int) -> None:
        self.findings.append(Finding(line.file, line.number, n, what))

    def _tell_odd(self, line: Line, what: str) -> None:
        self.odd, self.hash = self.odd + 1, None
        self._tell(line, what, n=self.n + self.odd)


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
