"""Finds the plaintext that the edits leave in the project's files: in comments, unused variables, and `x-` blocks."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

import yaml

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.policy.edits import apply_edits, line_before, secret_values, without_references
from lessee.ops.adopt.policy.model import Edit, ManualStep, Origin, Project, StoredField
from lessee.ops.adopt.policy.shown import words
from lessee.ops.adopt.policy.sources import Piece, Text, env_lines, literal_parts, scalar
from lessee.ops.scan.policy.classifier import Verdict, classify, is_placeholder_text
from lessee.ops.scan.policy.places import Kind, Place

SHORTEST = 8
"""Characters: a shorter value is in any text by chance."""
_LONG_ROW = 16
_ENV = Place(Kind.ENV)


class Left(ImmutableStruct, frozen=True):
    """What the edits leave, and what is known of the files: their contents by path."""

    hidden = ("contents",)

    project: Project
    contents: Mapping[str, bytes]
    edits: Sequence[Edit]
    steps: Sequence[ManualStep]
    """Those that are known: they name their lines already."""


def leftovers(left: Left, moved: Iterable[StoredField]) -> tuple[ManualStep, ...]:
    """A step for each line that has the value of a moved secret, or a secret that no service uses."""
    values = searchable(left.project, moved)
    named = {step.where for step in left.steps}
    found: dict[str, ManualStep] = {}
    for name in left.project.inputs:
        if (content := left.contents.get(name)) is not None:
            for line, what, todo in _of_file(name, content, left, values):
                where = f"{name}:{line}"
                if where not in named:
                    found.setdefault(where, ManualStep(where, what, todo))
    return tuple(found.values())


def searchable(project: Project, moved: Iterable[StoredField]) -> dict[str, str]:
    """The moved values that no text has by chance, as the word `postgres` is, by what names them."""
    by_chance = words(project)
    return {
        name: value.strip()
        for name, value in secret_values(moved).items()
        if len(value.strip()) >= SHORTEST and value.strip() not in by_chance and not is_placeholder_text(value)
    }


def unplaced(project: Project, moved: Iterable[tuple[str, str]]) -> tuple[ManualStep, ...]:
    """A step for each moved value that Compose has from no place that is known."""
    known = set(moved)
    what = "has a secret, and lessee does not know from which file"
    todo = "search your files for it, and remove it there: Vault has it now"
    return tuple(
        ManualStep(use.service, f"{use.name} {what}", todo)
        for use in project.uses
        if (use.service, use.name) in known and not use.sources
    )


def _of_file(name: str, content: bytes, left: Left, values: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    edits = [edit for edit in left.edits if edit.span.file == name]
    text = _text(name, apply_edits(content, edits))
    text = replace(text, text=without_references(text.text))
    for line, value in sorted(_found(text, left.project, values)):
        todo = "remove it: what is in a file is no secret, also in a comment"
        yield line_before(content, edits, line), f"the value of {value} is still here", todo
    if name not in left.project.files:
        spans = {edit.span for edit in edits}
        for one in _variables(_text(name, content), left.project):
            if one.span not in spans and _is_unused(one, left.project):
                what = f"{one.name} is a secret that no service gets from this line"
                yield one.span.line, what, "remove it, or store it with `lessee set`"


def _found(text: Text, project: Project, values: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The lines that have a value, as they are or as their format reads them, and what names the value."""
    lines = text.text.split("\n")
    seen: set[tuple[int, str]] = set()
    for name, value in values.items():
        forms = _forms(value)
        if any(form in text.text for form in forms):
            seen |= {(at + 1, name) for at, line in enumerate(lines) if any(form in line for form in forms)}
    # One for the lines of a key.
    yield from sorted((at, name) for at, name in seen if "\n" not in values[name] or (at - 1, name) not in seen)
    for piece in _scalars(text) if text.file in project.files else _variables(text, project):
        read = "".join(literal_parts(piece.raw))
        for name in [name for name, value in values.items() if value in read]:
            line = piece.span.line
            end = line + text.text.count("\n", piece.start, piece.end)
            if not any((at, name) in seen for at in range(line, end + 1)):
                yield line, name


def _forms(value: str) -> tuple[str, ...]:
    """How a file may write a value in a line: of a key, any of its lines."""
    rows = [row for row in map(str.strip, value.splitlines()) if len(row) >= _LONG_ROW and not row.startswith("-----")]
    texts = rows if "\n" in value else [value]
    ways = (str, lambda text: text.replace("$", "$$"), lambda text: json.dumps(text)[1:-1], quote, _quote_all)
    return tuple(dict.fromkeys(way(text) for text in texts for way in (*ways, lambda text: text.replace("'", "''"))))


def _quote_all(text: str) -> str:
    return quote(text, safe="")


def _text(name: str, content: bytes) -> Text:
    bare = content.removeprefix(b"\xef\xbb\xbf")
    return Text(name, bare.decode(errors="surrogateescape"), len(content) - len(bare))


def _scalars(text: Text) -> Iterator[Piece]:
    """The scalars of a Compose file, also of blocks that nothing uses."""
    try:
        root = yaml.compose(text.text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield scalar(node, "", text)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        else:
            waiting += [one for pair in node.value for one in pair]


def _variables(text: Text, project: Project) -> Iterator[Piece]:
    """The variables of an env file; none of the file of a secret."""
    is_secret = any(
        source.origin is Origin.SECRET_FILE and source.span is not None and source.span.file == text.file
        for use in project.uses
        for source in use.sources
    )
    return iter(()) if is_secret else iter(env_lines(text))


def _is_unused(line: Piece, project: Project) -> bool:
    """Whether it is a secret that no service gets, as another line or file overrides it."""
    found = classify(line.name, "".join(literal_parts(line.raw)), _ENV)
    if found.verdict is not Verdict.SECRET or found.is_placeholder:
        return False
    return all(source.span != line.span for use in project.uses for source in use.sources)
