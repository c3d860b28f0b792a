"""Assembles a Jinja template from fragments, with exactly the intended white space.

Jinja removes the white space before a block at the start of a line (lstrip_blocks), and normalizes line ends.
"""

import re
from collections.abc import Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.migrate.policy.findings import TODO_MARKER
from lessee.ops.migrate.policy.jinja.expressions import GO_TEXT, quote


class Text(ImmutableStruct, frozen=True):
    """Literal output. `before` and `after`: white space of the Go template that is not part of the output."""

    text: str
    before: str = ""
    after: str = ""


class Tag(ImmutableStruct, frozen=True):
    """`{% text %}`; or, of another kind, `{{ text }}`."""

    text: str
    kind: str = "%"


class Gap(ImmutableStruct, frozen=True):
    """An action that leaves no tag. It separates the white space before it from that after it."""


Fragment = Text | Tag | Gap


def assemble(fragments: Sequence[Fragment]) -> str:
    """The template. It keeps removed white space for readability where a `-` makes Jinja remove exactly that."""
    tags = [fragment for fragment in fragments if isinstance(fragment, Tag)]
    texts = [_merge(run) for run in _runs(fragments)]
    out = ""
    for at, text in enumerate(texts):
        keeps_before = at > 0 and _is_removable(text.before, text.text[:1])
        is_used = keeps_before and not text.text
        keeps_after = at < len(tags) and not is_used and _is_removable(text.after, text.text[-1:])
        out += (text.before if keeps_before else "") + _escape(text.text, before_tag=at < len(tags) and not keeps_after)
        if keeps_after:
            out += text.after
        if at < len(tags):
            left = "-" if keeps_after else "+" if tags[at].kind != "{" and _ends_with_indent(out) else ""
            right = "-" if _is_removable(texts[at + 1].before, texts[at + 1].text[:1]) else ""
            out += _tag(tags[at], left, right)
    return out


def with_macro(fragments: Sequence[Fragment]) -> Sequence[Fragment]:
    """The fragments, after the macro that writes lists and maps as Go does, if they call it."""
    calls_it = any(f"{GO_TEXT}(" in fragment.text for fragment in fragments if isinstance(fragment, Tag))
    return [*_MACRO, *fragments] if calls_it else fragments


def unfinished(what: str, todo: str) -> Tag:
    """A call that rejects the file, in place of a part that cannot be carried over: no file lacks a part silently."""
    text = " ".join(f"{TODO_MARKER}: {what}{'; ' * bool(todo)}{todo}".split())
    return Tag(f"fail({quote(text)})", "{")


_SEPARATOR = Tag('"" if loop.first else " "', "{")
_MACRO: Sequence[Fragment] = (
    *(Tag(f"macro {GO_TEXT}(value)"), Tag("if value is mapping"), Text("map[")),
    *(Tag("for key, item in value | dictsort(true)"), _SEPARATOR, Tag("key", "{"), Text(":")),
    *(Tag(f"{GO_TEXT}(item)", "{"), Tag("endfor"), Text("]")),
    *(Tag("elif value is string or value is number or value is boolean"), Tag("value", "{")),
    *(Tag("elif value == none"), Text("<nil>"), Tag("else"), Text("[")),
    *(Tag("for item in value"), _SEPARATOR, Tag(f"{GO_TEXT}(item)", "{"), Tag("endfor"), Text("]")),
    *(Tag("endif"), Tag("endmacro")),
)
_SPECIAL = re.compile(r"\{+[{%#]|\{*\r+")
_ENDS = {"%": "%", "{": "}"}


def _runs(fragments: Sequence[Fragment]) -> list[list[Text | Gap]]:
    """The fragments before, between and after the tags."""
    runs: list[list[Text | Gap]] = [[]]
    for fragment in fragments:
        if isinstance(fragment, Tag):
            runs.append([])
        else:
            runs[-1].append(fragment)
    return runs


def _merge(run: Sequence[Text | Gap]) -> Text:
    """One text; drops removed white space next to a gap."""
    first, last = (run[0], run[-1]) if run else (Gap(), Gap())
    text = "".join(fragment.text for fragment in run if isinstance(fragment, Text))
    before = first.before if isinstance(first, Text) else ""
    return Text(text, before, last.after if isinstance(last, Text) else "")


def _is_removable(space: str, neighbor: str) -> bool:
    """Whether Jinja's `-` would remove this white space and no more; `neighbor`: the adjacent output."""
    return bool(space) and not neighbor.isspace()


def _ends_with_indent(out: str) -> bool:
    """Whether Jinja would treat the white space at the end as an indentation, and remove it."""
    line = out[out.rfind("\n") + 1 :]
    return bool(line) and line.isspace()


def _escape(text: str, *, before_tag: bool) -> str:
    """The text with Jinja's delimiters escaped. `before_tag`: a brace at the end would join that of the tag."""
    escaped = _SPECIAL.sub(lambda match: _string_tag(match[0]), text)
    if before_tag and text.endswith("{") and escaped.endswith("{"):
        return escaped[:-1] + _string_tag("{")
    return escaped


def _string_tag(text: str) -> str:
    escaped = text.replace("\r", "\\r")
    return f'{{{{ "{escaped}" }}}}'


def _tag(tag: Tag, left: str, right: str) -> str:
    end = _ENDS[tag.kind]
    return f"{{{tag.kind}{left} {tag.text} {right}{end}}}"
