"""What an import has to tell: what is not carried over, and what is otherwise now."""

from lessee.core.immutable import Record

MARK = "TODO lessee import"
"""What a person looks for in what was written."""


class Finding(Record, frozen=True):
    """One thing to tell, at a place of the imported file; `lost` is what is not carried over."""

    where: str
    what: str
    todo: str = ""
    lost: bool = True

    def __str__(self) -> str:
        told = self.what if self.lost else f"note: {self.what}"
        return f"{self.where}: {told}; {self.todo}" if self.todo else f"{self.where}: {told}"


class Report:
    """Collects findings. A `notes` list gets the text of what is lost too, for a comment at the place."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._said: set[str] = set()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order of their places."""
        return tuple(sorted(self._found, key=_place))

    @property
    def lost(self) -> bool:
        """Whether anything is."""
        return any(finding.lost for finding in self._found)

    def lose(self, where: str, what: str, todo: str = "", *, notes: list[str] | None = None) -> None:
        """What is not carried over."""
        self._found[Finding(where, what, todo)] = None
        self._said.add(what)
        if notes is not None:
            notes.append(f"{MARK}: {what}; {todo}" if todo else f"{MARK}: {what}")

    def remark(self, where: str, what: str, todo: str = "") -> None:
        """What is otherwise now, once for all places where it is the same."""
        if what not in self._said:
            self._said.add(what)
            self._found[Finding(where, what, todo, lost=False)] = None


def _place(finding: Finding) -> tuple[str, int]:
    source, _, line = finding.where.rpartition(":")
    return (source, int(line)) if line.isdigit() else (finding.where, 0)
