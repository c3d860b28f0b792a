"""Searches contents: files of a working tree, what is staged, and the versions of the git history."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from lessee.core.immutable import replace
from lessee.core.sensitive.leaks import LeakDetector
from lessee.core.sensitive.names import SecretField
from lessee.ops.scan import plugins
from lessee.ops.scan.contents import BinaryError, Part, parts
from lessee.ops.scan.files import UnreadError, find_files, open_file
from lessee.ops.scan.policy.baseline import FILE
from lessee.ops.scan.policy.findings import Finding, findings_of
from lessee.ops.scan.policy.lines import SeenLines
from lessee.ops.scan.policy.places import Place, place_of
from lessee.ops.scan.policy.search import Hit, SearchResult, search
from lessee.ops.scan.repository import Blob, BlobReader, Repository

_MESSAGE = "commit message"
"""The file of a finding in a commit's message."""


class Scanner:
    """Searches contents, and counts what it has searched."""

    def __init__(self, salt: bytes, known: Mapping[str, SecretField]) -> None:
        """`known`: the fields in Vault by their values."""
        self._salt = salt
        self._fields = {value: str(field) for value, field in known.items()}
        self._values = {field: value for value, field in known.items()}
        self._detector = LeakDetector((field, value) for value, field in known.items())
        self.files = 0
        self.binary = 0
        """Files that were not searched because they are no text."""
        self.commits = 0
        self.placeholders = 0
        self.unread: dict[str, str] = {}
        """What could not be searched, with the reasons."""
        self.values: set[str] = set()
        """The values that were found: no text of a report may contain one."""

    def scan_tree(self, base: Path, root: Path) -> Iterator[Finding]:
        """Search the files below `root`, or the file `root`; their paths are relative to `base`."""
        prefix = "" if root == base else f"{root.relative_to(base)}/"
        names = [""] if root.is_file() else find_files(root, self.unread)
        for name in names:
            path = f"{prefix}{name}".rstrip("/")
            if path != FILE:
                yield from self._scan_file(base / path, path)

    def scan_staged(self, repository: Repository) -> Iterator[Finding]:
        """Search the lines that a commit would add."""
        with repository.reader() as reader:
            blobs, seen = repository.staged(), SeenLines(most=1 << 62)
            for blob in blobs:
                self._remember(reader, blob.before, seen)
            for blob in blobs:
                if blob.oid and blob.path != FILE:
                    yield from self._scan_version(reader, blob, seen)

    def scan_history(self, repository: Repository, revisions: str = "") -> Iterator[Finding]:
        """Search the lines that the commits added, and their messages."""
        seen, searched, messages = SeenLines(), set[bytes](), set[str]()
        with repository.reader() as reader:
            for commit, blobs in groupby(repository.history(revisions), key=lambda blob: blob.commit):
                for blob in blobs:
                    if not blob.path:
                        if commit not in messages:
                            self.commits += 1
                            yield from self._found(self._search(blob.message, _TEXT).hits, _MESSAGE, commit)
                        messages = {commit}  # A merge is printed once for each parent.
                    elif blob.oid and blob.path != FILE and (name := bytes.fromhex(blob.oid)) not in searched:
                        searched.add(name)
                        if revisions:  # A version from before the range was not searched.
                            self._remember(reader, blob.before, seen)
                        yield from self._scan_version(reader, blob, seen)

    def _scan_file(self, path: Path, name: str) -> Iterator[Finding]:
        try:
            with open_file(path) as file:
                hits = [
                    hit for part in parts(file.read) for hit in self._hits(part.text, place_of(name), part.lines_before)
                ]
        except BinaryError:
            self.binary += 1
        except UnreadError as exc:
            self.unread[name] = str(exc)
        except OSError as exc:
            self.unread[name] = exc.strerror or "cannot be read"
        else:
            self.files += 1
            yield from self._found(hits, name)

    def _scan_version(self, reader: BlobReader, blob: Blob, seen: SeenLines) -> Iterator[Finding]:
        place, hits = place_of(blob.path), list[Hit]()
        try:
            for part in _parts(reader, blob.oid):
                new = seen.new(part.text)
                if new.new:
                    found = new.located(SearchResult(tuple(self._hits(new.text, place)), 0))
                    hits += (_moved(hit, part.lines_before) for hit in found)
                    seen.add(part.text)
        except BinaryError:
            self.binary += 1
        except UnreadError as exc:
            self.unread[blob.path] = str(exc)
        else:
            self.files += 1
            yield from self._found(hits, blob.path, blob.commit)

    def _remember(self, reader: BlobReader, oid: str, seen: SeenLines) -> None:
        with suppress(BinaryError, UnreadError):
            for part in _parts(reader, oid) if oid else ():
                seen.add(part.text)

    def _hits(self, text: str, place: Place, lines_before: int = 0) -> Iterator[Hit]:
        result = self._search(text, place)
        yield from (_moved(hit, lines_before) for hit in result.hits)
        yield from (_moved(hit, lines_before) for hit in self._leaks(text, result.hits))

    def _search(self, text: str, place: Place) -> SearchResult:
        result = search(text, place, plugins.search(text))
        self.placeholders += result.placeholders
        return result

    def _leaks(self, text: str, hits: Iterable[Hit]) -> Iterator[Hit]:
        """What Vault has in the text, in any encoding, unless it is a hit already."""
        if not self._detector.count:
            return
        content = text.encode(errors="surrogateescape")
        reported = {(hit.line, self._fields.get(hit.value)) for hit in hits}
        for leak in self._detector.search(content):
            line = content.count(b"\n", 0, leak.offset) + 1
            if (line, str(leak.field)) not in reported:
                yield Hit(
                    "vault-secret", "", self._values[leak.field], line, f"a value that Vault has, {leak.encoding}"
                )

    def _found(self, hits: Iterable[Hit], file: str, commit: str = "") -> tuple[Finding, ...]:
        hits = tuple(hits)
        self.values.update(hit.value for hit in hits)
        return findings_of(hits, file, self._salt, self._fields, commit)


def _parts(reader: BlobReader, oid: str) -> Iterator[Part]:
    """Raises UnreadError, and BinaryError at the first part."""
    if reader.open(oid) is None:
        raise UnreadError("missing in the repository, or too large")
    return parts(reader.read)


def _moved(hit: Hit, lines: int) -> Hit:
    return replace(hit, line=hit.line + lines) if lines else hit


_TEXT = place_of("message.txt")
