"""The differences of files, without the values of secrets in them."""

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher, unified_diff

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from lessee.core.immutable import ImmutableStruct
from lessee.core.redaction import MASK
from lessee.core.sensitive.literals import is_secret, is_secret_name
from lessee.ops.lint.policy.compose.rules import looks_secret
from lessee.ops.lint.policy.fixes.yaml_places import Span, slots
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError, root_of

_MOST_WORDS = 20
_OPTION = re.compile(r"(?:--?[A-Za-z][\w.-]*|requirepass|masterauth)")
_SHORT = frozenset({"-a", "--pass", "requirepass", "masterauth", "--requirepass", "--masterauth"})
"""Options of Redis, whose names tell no rule that a secret follows."""
_MYSQL = re.compile(r"\b(?:mysql|mariadb)")
_LINE = re.compile(r"([ \t]*(?:export[ \t]+)?[A-Za-z_][^\s=#]*[ \t]*=)")
_PAIR = re.compile(r"([\w.-]+)[\"']?\s*[:=]\s*[\"']?([^\s\"']+)")
_COMMENT = re.compile(r"(?:^|[ \t])#(.*)")


class Edit(ImmutableStruct, frozen=True):
    """Replaces the bytes of a file from `start` up to `end`."""

    file: str
    start: int
    end: int
    text: str


def edits(file: str, before: str, after: str) -> tuple[Edit, ...]:
    """The edits that make one text of the other, without lines and characters that stay.

    None if one of them would repeat a secret of the file.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            first, second = "".join(old[i1:i2]), "".join(new[j1:j2])
            skip = _common(first, second)
            tail = _common(first[skip:][::-1], second[skip:][::-1])
            start = len("".join(old[:i1])) + skip
            end = start + len(first) - skip - tail
            at, to = (len(before[:index].encode()) for index in (start, end))
            found.append(Edit(file, at, to, second[skip : len(second) - tail]))
    return () if any(_has_secret(edit.text) for edit in found) else tuple(found)


def diff(file: str, before: str, after: str, names: Collection[str], *, is_env_file: bool) -> Iterator[str]:
    """The lines of a unified diff. `names` are variables whose values are secrets, whatever they look like."""
    hide = _without_env_values if is_env_file else lambda text: without_secrets(text, names)
    lines = (hide(before).splitlines(), hide(after).splitlines())
    yield from unified_diff(*lines, f"{file} before", f"{file} after", lineterm="")


def without_secrets(text: str, names: Collection[str] = ()) -> str:
    """A YAML text with each secret as a mask; also in comments."""
    spans = sorted(_secrets(text, names), reverse=True)
    for span in spans:
        text = f"{text[: span.start]}{MASK}{text[span.end :]}"
    return _COMMENT.sub(_masked_comment, text)


def _without_env_values(text: str) -> str:
    """An env file without any value."""
    return "\n".join(_masked_line(line) for line in text.splitlines())


def _masked_line(line: str) -> str:
    found = _LINE.match(line)
    if found is not None:
        return f"{found[1]}{MASK}"
    is_public = not line.strip() or (line.lstrip().startswith("#") and "=" not in line and ":" not in line)
    return line if is_public else MASK


def _masked_comment(comment: "re.Match[str]") -> str:
    return comment[0].replace(comment[1], f" {MASK}") if _has_secret(comment[1]) else comment[0]


def _has_secret(text: str) -> bool:
    return any(is_secret(name, value) for name, value in _PAIR.findall(text)) or any(
        (is_secret("", text), is_secret_word([text]))
    )


def _secrets(text: str, names: Collection[str]) -> Iterator[Span]:
    try:
        waiting: list[CollectionNode] = [root_of(text.removeprefix("\ufeff"))]
    except NotEditableError:
        return
    shift = len(text) - len(text.removeprefix("\ufeff"))
    seen: set[int] = set()
    while waiting:
        parent = waiting.pop()
        if id(parent) in seen:
            continue
        seen.add(id(parent))
        words: list[str] = []
        for slot in slots(text[shift:], parent):
            value = "" if isinstance(slot.node, CollectionNode) else str(slot.node.value)
            words = [] if isinstance(parent, MappingNode) else [*words[-_MOST_WORDS:], value]
            if isinstance(slot.node, CollectionNode):
                waiting.append(slot.node)
            elif not slot.alias and (_is_secret(slot.key, value, names) or is_secret_word(words or [value])):
                yield Span(slot.span.start + shift, slot.span.end + shift)


def is_secret_word(words: Sequence[str]) -> bool:
    """Whether the last word of a command has a secret: after the option that takes it, or after such one in itself."""
    *before, value = words
    inside = value.split()
    if len(inside) > 1:
        return any(is_secret_word(inside[max(0, at - _MOST_WORDS) : at + 1]) for at in range(1, len(inside)))
    option, equals, own = value.partition("=")
    if equals and own and _OPTION.fullmatch(option) and is_secret_name(option):
        return True
    if not before or not value or value.startswith(("--", "$")):
        return False
    if value.startswith("-"):
        return value[:2] == "-p" and len(value) > len("-p") and any(map(_MYSQL.search, before))
    last = before[-1]
    return last in _SHORT or (_OPTION.fullmatch(last) is not None and is_secret_name(last))


def _is_secret(key: Node | None, value: str, names: Collection[str]) -> bool:
    name, text = (key.value, value) if isinstance(key, ScalarNode) else ("", value)
    pair, equals, rest = value.partition("=")
    if not isinstance(key, ScalarNode) and equals:
        name, text = pair, rest
    return (name in names and bool(text)) or looks_secret(name, text) or is_secret("", value)


def _common(first: str, second: str) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
