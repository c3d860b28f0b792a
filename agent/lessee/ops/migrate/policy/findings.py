"""What an import reports: what it cannot carry over, and what may behave differently."""

from lessee.core.immutable import ImmutableStruct

TODO_MARKER = "TODO lessee import"
"""Begins the comments in generated files that need a manual change."""


class Finding(ImmutableStruct, frozen=True):
    """A finding with its location in the imported file. `is_loss`: something is not carried over; else it is a note."""

    where: str
    what: str
    todo: str = ""
    is_loss: bool = True

    def __str__(self) -> str:
        text = self.what if self.is_loss else f"note: {self.what}"
        return f"{self.where}: {text}; {self.todo}" if self.todo else f"{self.where}: {text}"


class Report:
    """Collects findings. The text of a loss is also added to `comments`, for the generated file."""

    def __init__(self) -> None:
        self._findings: dict[Finding, None] = {}
        self._reported: set[str] = set()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings in the order of their locations."""
        return tuple(sorted(self._findings, key=_location))

    @property
    def has_losses(self) -> bool:
        """Whether anything is not carried over."""
        return any(finding.is_loss for finding in self._findings)

    def add_loss(self, where: str, what: str, todo: str = "", *, comments: list[str] | None = None) -> None:
        """Add something that is not carried over."""
        self._findings[Finding(where, what, todo)] = None
        self._reported.add(what)
        if comments is not None:
            comments.append(f"{TODO_MARKER}: {what}; {todo}" if todo else f"{TODO_MARKER}: {what}")

    def add_note(self, where: str, what: str, todo: str = "") -> None:
        """Add a difference. The same difference is reported once, at its first location."""
        if what not in self._reported:
            self._reported.add(what)
            self._findings[Finding(where, what, todo, is_loss=False)] = None


def _location(finding: Finding) -> tuple[str, int]:
    source, _, line = finding.where.rpartition(":")
    return (source, int(line)) if line.isdigit() else (finding.where, 0)
