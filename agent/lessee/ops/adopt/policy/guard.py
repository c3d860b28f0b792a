"""The line with which Compose refuses to start a project's own files without the override.

`docker compose -f compose.yaml` does not read COMPOSE_FILE, so it would give services references in the place of their
secrets, and a database with an empty volume would take such a text for its password. The line names the agent without
an image. Compose refuses a service without one, and the override gives it one.
"""

import re
from collections.abc import Iterable

import yaml

from lessee.ops.adopt.policy.model import Edit, Span
from lessee.ops.adopt.policy.override_text import AGENT

_ENTRY = f"{AGENT}: {{}}"
_COMMENT = " # compose.lessee.yaml completes it: without that file, Compose starts nothing"
_GUARD = re.compile(
    rb"[ \t]*" + re.escape((_ENTRY + _COMMENT).encode()) + rb"\r?\n|" + re.escape(f"{_ENTRY}, ".encode())
)
STUB = f"services: {{{AGENT}: {{image: lessee}}}}\n"
"""A Compose file that completes the line, to read a project without the override."""


def guard(name: str, content: bytes) -> Edit | None:
    """The edit that adds the line to a Compose file; None where it has one, or has no services in a usual form."""
    try:
        text = content.decode("utf-8-sig")
        services = _services(yaml.compose(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return None
    if services is None or any(getattr(key, "value", None) == AGENT for key, _ in services.value):
        return None
    first = services.value[0][0].start_mark
    offset = len(content) - len(text.encode())
    if services.flow_style:
        at = first.index
        return _inserted(name, content, offset + len(text[:at].encode()), f"{_ENTRY}, ")
    start = first.index - first.column
    indent = text[start : first.index]
    if indent.strip(" "):
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    return _inserted(name, content, offset + len(text[:start].encode()), f"{indent}{_ENTRY}{_COMMENT}{newline}")


def guards(contents: Iterable[tuple[str, bytes]]) -> tuple[Edit, ...]:
    """The edits of all these Compose files."""
    found = (guard(name, content) for name, content in contents)
    return tuple(edit for edit in found if edit is not None)


def is_guard(edit: Edit) -> bool:
    """Whether the edit adds the line."""
    return edit.text.lstrip().startswith(_ENTRY)


def without_guard(content: bytes) -> bytes:
    """The content without the line."""
    return _GUARD.sub(b"", content)


def _services(root: yaml.Node | None) -> yaml.MappingNode | None:
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.value == "services":
            return value if isinstance(value, yaml.MappingNode) and value.value else None
    return None


def _inserted(name: str, content: bytes, at: int, text: str) -> Edit:
    return Edit(Span(name, content.count(b"\n", 0, at) + 1, at, at), text)
