"""Takes plaintext out of the user's files, and puts it back; all other bytes stay as they are."""

import re
from collections.abc import Iterable, Mapping, Sequence
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

COMPOSE_FILE = "COMPOSE_FILE"
"""The variable that names Compose's files: its value in `.env` makes a plain `docker compose up` use the override."""
_REFERENCE = "ref+openbao://"
_COMPOSE = frozenset({Origin.COMPOSE, Origin.DEFAULT})
_NO_SECRETS = frozenset(
    {"username", "user", "host", "hostname", "port", "database", "scheme", "bucket", "vhost", "management_url"}
)
"""Fields of a credential that are not its secret."""
_SETTING = re.compile(rb"^[ \t]*(?:export[ \t]+)?COMPOSE_FILE[ \t]*=[ \t]*(?P<value>.*?)[ \t]*\r?$", re.MULTILINE)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Lookup(ImmutableStruct, frozen=True):
    """The moved values: what a place of one of them becomes."""

    hidden = ("values",)

    values: Mapping[tuple[str, str], str]
    """By path and field in Vault."""
    rendered: Mapping[tuple[str, str], Rendered]
    """By service and name; those that a service gets in another way from now on."""


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
    lookup = Lookup(values, moved)
    uses_at: dict[tuple[str, int, int], list[tuple[Use, Source]]] = {}
    for use in project.uses:
        for source in use.sources:
            if source.span is not None:
                place = (source.span.file, source.span.start, source.span.end)
                uses_at.setdefault(place, []).append((use, source))
    edits: list[Edit] = []
    steps: list[ManualStep] = []
    for users in uses_at.values():
        _plan_place(users, lookup, contents, edits, steps)
    return tuple(sorted(edits, key=lambda edit: (edit.span.file, edit.span.start, edit.span.end))), tuple(steps)


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


def _plan_place(
    users: Sequence[tuple[Use, Source]],
    lookup: Lookup,
    contents: Mapping[str, bytes],
    edits: list[Edit],
    steps: list[ManualStep],
) -> None:
    span = users[0][1].span
    assert span is not None
    content = contents.get(span.file)
    moved = [
        (use, source, lookup.rendered[use.service, use.name]) for use, source in users if _key(use) in lookup.rendered
    ]
    if content is None or not moved:
        return
    raw = content[span.start : span.end].decode(errors="surrogateescape")
    texts = [_replacement(raw, span, source, one, lookup) for _, source, one in moved]
    text = next((text for text in texts if text is not None), None)
    if text is None:
        return
    where = f"{span.file}:{span.line}"
    name = users[0][1].name
    if others := sorted({f"{use.name} of {use.service}" for use, _ in users if _key(use) not in lookup.rendered}):
        what = f"{name} stays in this file, because {', '.join(others)} needs it"
        steps.append(ManualStep(where, what, "see the other steps, and run `lessee adopt` again"))
    elif span.file.startswith(("../", "/")):
        what = f"{name} stays in this file, which is outside of the project and may have other readers"
        steps.append(ManualStep(where, what, "remove the value there if it has none"))
    else:
        edits.append(Edit(span, text))
        if all(source.origin is Origin.ENV_FILE for _, source in users):
            start = content.rfind(b"\n", 0, span.start) + 1
            start += 3 * content.startswith(b"\xef\xbb\xbf") * (start == 0)
            edits.append(Edit(Span(span.file, span.line, start, start), "# "))


def _key(use: Use) -> tuple[str, str]:
    return use.service, use.name


def _replacement(raw: str, span: Span, source: Source, rendered: Rendered, lookup: Lookup) -> str | None:
    """What becomes of the bytes; None if they have no secret."""
    text, is_changed = raw, False
    written = _decoded(raw, span.style, source.origin)
    for part in sorted(
        (
            part
            for part in rendered.parts
            if (part.path and part.field.lower() not in _NO_SECRETS) or len(rendered.parts) == 1
        ),
        key=lambda part: -len(lookup.values.get((part.path, part.field), "")),
    ):
        value = lookup.values.get((part.path, part.field), "")
        ref = reference(part.path, part.field)
        if value and (source.origin is Origin.SECRET_FILE or written == value):
            return _quoted(ref, span.style)
        for form in dict.fromkeys((value, quote(value, safe=""), quote(value))):
            if form and text.count(form) == 1:
                text, is_changed = text.replace(form, ref), True
                break
            if form and form in written:
                # The file writes it in another way, or several times: which place is the secret's is not known.
                return _quoted(ref, span.style)
    return text if is_changed else None


def _quoted(text: str, style: str) -> str:
    """A text of a reference's characters in the place of a value."""
    return f'"{text}"' if style in {"|", ">"} else text


def _decoded(raw: str, style: str, origin: Origin) -> str:
    """The value that the bytes of a span are in their file."""
    if origin in _COMPOSE:
        if style:
            around = style if style in {"'", '"'} else ""
            try:
                raw = str(yaml.safe_load(f"{around}{raw}{around}"))
            except yaml.YAMLError:
                return raw
        return raw.replace("$$", "$")
    if style == '"':
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), raw)
    return raw
