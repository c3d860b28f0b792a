"""Takes plaintext out of the user's files, and puts it back; all other bytes stay as they are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

import yaml

from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    Edit,
    ManualStep,
    Origin,
    Project,
    Rendered,
    Source,
    Span,
    StoredField,
    Use,
)
from lessee.ops.adopt.policy.shown import words
from lessee.ops.adopt.policy.sources import has_part, is_converted, literal_parts

COMPOSE_FILE = "COMPOSE_FILE"
"""The variable that names Compose's files: its value in `.env` makes a plain `docker compose up` use the override."""
_REFERENCE = "ref+openbao://"
_ANY_REFERENCE = re.compile(rf"{re.escape(_REFERENCE)}[\w./-]+#\w+")
_NO_SECRETS = frozenset(
    {"username", "user", "host", "hostname", "port", "database", "scheme", "bucket", "vhost", "management_url"}
)
"""Fields of a credential that are not its secret."""
_LEAST = 6
"""Characters. A shorter value is in any text by chance."""
_SETTING = re.compile(rb"^[ \t]*(?:export[ \t]+)?COMPOSE_FILE[ \t]*=[ \t]*(?P<value>.*?)[ \t]*\r?$", re.MULTILINE)


class Lookup(ImmutableStruct, frozen=True):
    """The moved values: what a place of one of them becomes."""

    hidden = ("others", "values")

    values: Mapping[tuple[str, str], str]
    """By path and field in Vault."""
    rendered: Mapping[tuple[str, str], Rendered]
    """By service and name; those that a service gets in another way from now on."""
    others: Sequence[tuple[str, str]]
    """All texts of the services that are no uses, and what names them."""


def planned_edits(
    project: Project, stored: Iterable[StoredField], apps: Iterable[AppPlan], contents: Mapping[str, bytes]
) -> tuple[tuple[Edit, ...], tuple[ManualStep, ...]]:
    """The edits that remove the plaintext of all moved values from the project's files, whose `contents` are by path.

    A place stays if also something needs it that is not moved, or if the file is outside of the project's folder.
    """
    values = {(field.path, field.field): field.value for field in stored}
    moved = {
        (one.service, one.name): one for app in apps if app.delivery is not Delivery.NOTHING for one in app.rendered
    }
    by_chance = words(project)
    others = [
        (text, f"{path} of {service.name}")
        for service in project.services.values()
        for path, text in service.other
        if text not in by_chance and path != "image"
    ]
    lookup = Lookup(values, moved, others)
    uses_at: dict[tuple[str, int, int], list[tuple[Use, Source]]] = {}
    for use in project.uses:
        for source in use.sources:
            if source.span is not None:
                place = (source.span.file, source.span.start, source.span.end)
                uses_at.setdefault(place, []).append((use, source))
    edits: list[Edit] = []
    steps: list[tuple[Span, ManualStep]] = []
    for users in uses_at.values():
        _plan_place(users, lookup, contents, edits, steps)
    outer: list[Edit] = []
    # A text before what is in it, such as a default.
    for edit in sorted(edits, key=lambda edit: (edit.span.file, edit.span.start, -edit.span.end)):
        if not outer or not _is_within(edit.span, outer[-1].span):
            outer.append(edit)
    return tuple(outer), tuple(step for span, step in steps if not any(_is_within(span, one.span) for one in outer))


def lines_after(content: bytes, edits: Iterable[Edit]) -> frozenset[int]:
    """The lines that the edits have changed, in the edited content."""
    return frozenset(after for _, after, _ in _moved_lines(content, edits))


def line_before(content: bytes, edits: Iterable[Edit], line: int) -> int:
    """The line of the content that is this line of the edited content."""
    shift = 0
    for _, after, lines in _moved_lines(content, edits):
        shift += lines * (after < line)
    return line + shift


def _moved_lines(content: bytes, edits: Iterable[Edit]) -> Iterator[tuple[int, int, int]]:
    """Of each edit its line, that line in the edited content, and how many lines it removes; of an added one, -1."""
    shift = 0
    for edit in sorted(edits, key=lambda edit: (edit.span.start, edit.span.end)):
        lines = content.count(b"\n", edit.span.start, edit.span.end) - edit.text.count("\n")
        yield edit.span.line, edit.span.line - shift, lines
        shift += lines


def secret_values(stored: Iterable[StoredField]) -> dict[str, str]:
    """The values that no output may have, by what names them: without users, hosts and the like."""
    return {f"{one.path}#{one.field}": one.value for one in stored if one.field.lower() not in _NO_SECRETS}


def reference(path: str, field: str) -> str:
    """What a file has in the place of a value that Vault has."""
    return f"{_REFERENCE}{path}#{field}"


def apply_edits(content: bytes, edits: Iterable[Edit]) -> bytes:
    """The content with the bytes of each span replaced. Spans do not overlap."""
    for edit in sorted(edits, key=lambda edit: (edit.span.start, edit.span.end), reverse=True):
        content = content[: edit.span.start] + edit.text.encode() + content[edit.span.end :]
    return content


def difference(name: str, before: bytes, after: bytes) -> Edit:
    """The edit of whole lines that makes one content of the other."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    least = min(len(old), len(new))
    first = next((at for at in range(least) if old[at] != new[at]), least)
    last = next((at for at in range(least - first) if old[-1 - at] != new[-1 - at]), least - first)
    start = sum(map(len, old[:first]))
    end = sum(map(len, old[: len(old) - last]))
    text = b"".join(new[first : len(new) - last]).decode(errors="replace")
    return Edit(Span(name, first + 1, start, end), text)


def with_compose_files(name: str, content: bytes, files: Sequence[str], separator: str = ":") -> Edit:
    """The edit of `.env`, or the file of this `name`, after which a plain `docker compose` uses these files."""
    value = separator.join(files)
    settings = list(_SETTING.finditer(content))
    if settings:
        found = settings[-1]  # The last one counts.
        line = content.count(b"\n", 0, found.start("value")) + 1
        return Edit(Span(name, line, found.start("value"), found.end("value")), value)
    newline = "\r\n" if b"\r\n" in content else "\n"
    before = newline if content and not content.endswith(b"\n") else ""
    line = content.count(b"\n") + 1 + bool(before)
    return Edit(Span(name, line, len(content), len(content)), f"{before}{COMPOSE_FILE}={value}{newline}")


def ignoring(content: bytes, folder: str) -> Edit | None:
    """The edit of `.dockerignore` that keeps the folder out of images; None if a line does already."""
    lines = content.decode(errors="surrogateescape").splitlines()
    if any(line.strip().strip("/") in {folder, "**", "*", f"**/{folder}", ".*"} for line in lines):
        return None
    newline = "\r\n" if b"\r\n" in content else "\n"
    before = newline if content and not content.endswith(b"\n") else ""
    return Edit(Span(".dockerignore", len(lines) + 1, len(content), len(content)), f"{before}{folder}{newline}")


def without_references(text: str) -> str:
    """A text without what adopt's edits write: a path in Vault has words that may also be a value."""
    return _ANY_REFERENCE.sub("", text)


def is_reference(value: str) -> bool:
    """Whether a value says where it is, as adopt's edits do."""
    return _REFERENCE in value


def changed_values(before: bytes, after: bytes) -> tuple[str, ...] | None:
    """The new values of those scalars of a Compose file that differ; None where more than values does."""
    one, two = _scalars(before), _scalars(after)
    if one is None or two is None or [place for place, _ in one] != [place for place, _ in two]:
        return None
    return tuple(new for (_, old), (_, new) in zip(one, two, strict=True) if old != new)


def _scalars(content: bytes) -> list[tuple[str, str]] | None:
    """Each scalar of the file with its place, in order."""
    try:
        root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    found: list[tuple[str, str]] = []
    seen: set[int] = set()

    def visit(node: yaml.Node | None, place: str) -> None:
        if node is None or id(node) in seen:  # An alias.
            return
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            found.append((place, node.value))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                visit(item, f"{place}[{number}]")
        else:
            for key, value in node.value:
                visit(key, f"{place}.")
                visit(value, f"{place}.{key.value if isinstance(key, yaml.ScalarNode) else ''}")

    visit(root, "")
    return found


class _Secret(ImmutableStruct, frozen=True):
    """A secret in a value of a service: its characters there, itself, and the reference to it."""

    hidden = ("value",)

    start: int
    end: int
    value: str
    reference: str


def _plan_place(
    users: Sequence[tuple[Use, Source]],
    lookup: Lookup,
    contents: Mapping[str, bytes],
    edits: list[Edit],
    steps: list[tuple[Span, ManualStep]],
) -> None:
    span = users[0][1].span
    assert span is not None
    content = contents.get(span.file)
    moved = [(use, source) for use, source in users if _key(use) in lookup.rendered]
    if content is None or not moved:
        return
    raw = content[span.start : span.end].decode(errors="surrogateescape")
    texts: list[str | None] = []
    partial: list[Use] = []
    for use, source in moved:
        value, secrets = _secrets(lookup.rendered[_key(use)], lookup)
        texts.append(_replacement(raw, span, source, value, secrets))
        if texts[-1] is None and has_part(source, value, [(one.start, one.end) for one in secrets]):
            partial.append(use)
    text = next((text for text in texts if text is not None), None)
    where = f"{span.file}:{span.line}"
    name = users[0][1].name
    if text is None:
        if partial:
            what = f"{name} stays in this file, and is a part of {partial[0].name} of {partial[0].service}"
            steps.append((span, ManualStep(where, what, "remove it if nothing else needs it: Vault has the secret")))
    elif others := sorted(_others(users, lookup)):
        what = f"{name} stays in this file, because {', '.join(others)} needs it"
        steps.append((span, ManualStep(where, what, "see the other steps, and run `lessee adopt` again")))
    elif span.file.startswith(("../", "/")):
        what = f"{name} stays in this file, which is outside of the project and may have other readers"
        steps.append((span, ManualStep(where, what, "remove the value there if it has none")))
    else:
        edits.append(Edit(span, text))
        if all(source.origin is Origin.ENV_FILE for _, source in users):
            start = content.rfind(b"\n", 0, span.start) + 1
            start += 3 * content.startswith(b"\xef\xbb\xbf") * (start == 0)
            edits.append(Edit(Span(span.file, span.line, start, start), "# "))


def _others(users: Sequence[tuple[Use, Source]], lookup: Lookup) -> set[str]:
    """What else needs a place: uses that are not moved, and texts such as `hostname: ${NAME}`."""
    found = {f"{use.name} of {use.service}" for use, _ in users if _key(use) not in lookup.rendered}
    for source in (source for _, source in users if source.origin is Origin.PROJECT_ENV):
        written = "".join(literal_parts(source.text))
        if len(written) >= _LEAST:
            found |= {name for text, name in lookup.others if written in text}
    return found


def _key(use: Use) -> tuple[str, str]:
    return use.service, use.name


def _is_within(span: Span, other: Span) -> bool:
    """Whether it is a part of another place: a default in a text that is replaced as a whole."""
    is_smaller = span.end - span.start < other.end - other.start
    return span.file == other.file and other.start <= span.start and span.end <= other.end and is_smaller


def _secrets(rendered: Rendered, lookup: Lookup) -> tuple[str, list[_Secret]]:
    """A value that a service gets, and the secrets in it, the longest first."""
    texts: list[str] = []
    found: list[_Secret] = []
    for part in rendered.parts:
        value = lookup.values.get((part.path, part.field), "") if part.path else part.text
        start = sum(map(len, texts))
        texts.append(quote(value, safe="") if part.is_url_part else value)
        if part.path and value and (part.field.lower() not in _NO_SECRETS or len(rendered.parts) == 1):
            found.append(_Secret(start, start + len(texts[-1]), value, reference(part.path, part.field)))
    return "".join(texts), sorted(found, key=lambda one: -len(one.value))


def _replacement(raw: str, span: Span, source: Source, value: str, secrets: Sequence[_Secret]) -> str | None:
    """What becomes of the bytes; None if they have no secret, or only a part of one."""
    text, is_changed = raw, False
    literals = literal_parts(source.text)
    written = "".join(literals)
    for secret in secrets:
        if source.origin is Origin.SECRET_FILE or (len(literals) == 1 and written == secret.value):
            return _quoted(secret.reference, span.style)
        for form in dict.fromkeys((secret.value, quote(secret.value, safe=""), quote(secret.value))):
            if text.count(form) == 1:
                text, is_changed = text.replace(form, secret.reference), True
                break
            if form in written:
                # The file writes it in another way, or several times: which place is the secret's is not known.
                return _quoted(secret.reference, span.style)
        else:
            # Only a part of it is here, with variables, or YAML makes another text of it.
            is_mixed = len(literals) > 1 or is_converted(source, value)
            if is_mixed and has_part(source, value, [(secret.start, secret.end)]):
                return _quoted(secret.reference, span.style)
    return text if is_changed else None


def _quoted(text: str, style: str) -> str:
    """A text of a reference's characters in the place of a value."""
    return f'"{text}"' if style in {"|", ">"} else text
