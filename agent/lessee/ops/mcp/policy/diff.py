"""What changes, for a person: each server before and after, without values of its environment or secret arguments."""

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff

from lessee.core.redaction import MASK, Redactor
from lessee.ops.mcp.policy.jsonc import Array, Document, Node, Object, Text
from lessee.ops.mcp.policy.program import suspicious
from lessee.ops.mcp.policy.secret_detection import Judge, Verdict
from lessee.ops.mcp.policy.servers import Server


def diff(before: Sequence[Server], after: Sequence[Server], judge: Judge) -> Iterator[str]:
    """Lines of a unified diff of those that differ; the servers of both stand in the same order."""
    for old, new in zip(before, after, strict=True):
        was, is_ = _lines(old, judge), _lines(new, judge)
        yield from unified_diff(was, is_, f"{old.place} before", f"{new.place} after", n=1000, lineterm="")


def traces(after: Document, secrets: Iterable[str]) -> tuple[int, ...]:
    """Lines in which a secret that has moved still stands: in a comment, or in another part of the file."""
    redactor = Redactor()
    redactor.learn("moved", secrets)
    return tuple(number for number, line in enumerate(after.text.split("\n"), 1) if redactor.clean(line) != line)


def _lines(server: Server, judge: Judge) -> list[str]:
    shown = {member.key.value: _shown(member.key.value, member.value, judge) for member in server.object.members}
    return json.dumps(shown, indent=2).splitlines()


def _shown(key: str, node: Node, judge: Judge) -> object:
    match node:
        case Text(value=value) if key == "type" or (key == "command" and judge.of_argument(value) is Verdict.LEAVE):
            return value
        case Array(items=items) if key == "args":
            args = [item.value if isinstance(item, Text) else MASK for item in items]
            secret = suspicious(args, judge)
            return [MASK if index in secret else arg for index, arg in enumerate(args)]
        case Object(members=members):
            return {member.key.value: _shown("", member.value, judge) for member in members}
        case Array(items=items):
            return [_shown("", item, judge) for item in items]
        case _:
            return MASK
