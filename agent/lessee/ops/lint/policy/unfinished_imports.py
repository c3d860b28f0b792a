"""Finds the parts that `lessee import` could not carry over, and that are still unfinished."""

from collections.abc import Iterator

from lessee.ops.lint.policy.findings import Finding
from lessee.ops.migrate.policy.findings import TODO_MARKER

RULE = "unfinished-import"


def unfinished_in_config(text: str, file: str) -> Iterator[Finding]:
    """The comments of lessee.yaml that `lessee import` left; `file` is its path."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if (comment := line.strip()).startswith(f"# {TODO_MARKER}: "):
            what = " ".join((comment.removeprefix(f"# {TODO_MARKER}: "), *_continuations(lines[at + 1 :])))
            yield Finding(RULE, "error", what, "do it, and remove the comment", file, at + 1)


def unfinished_in_template(text: str, file: str, app: str, template: str) -> Iterator[Finding]:
    """The lines of a template with a call of fail() that `lessee import` left."""
    for at, line in enumerate(text.splitlines(), start=1):
        if TODO_MARKER in line:
            what = "`lessee import` left a call of fail() here, so the agent rejects the file"
            yield Finding(RULE, "error", what, "do what its text says, and remove it", file, at, app, template)


def _continuations(lines: list[str]) -> Iterator[str]:
    """The rest of a comment that is longer than a line."""
    for line in lines:
        if not line.strip().startswith("#   "):
            return
        yield line.strip()[4:]
