"""Formats the changes of each server as a diff without values of its environment or secret arguments."""

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff

from lessee.core.redaction import MASK, Redactor
from lessee.ops.mcp.policy.jsonc import Array, Document, Node, Object, String
from lessee.ops.mcp.policy.program import secret_arguments
from lessee.ops.mcp.policy.secret_detection import SecretDetector, Verdict
from lessee.ops.mcp.policy.servers import Server


def diff(before: Sequence[Server], after: Sequence[Server], detector: SecretDetector) -> Iterator[str]:
    """The lines of a unified diff of the changed servers. Both sequences have the same servers in the same order."""
    for old, new in zip(before, after, strict=True):
        lines = _lines(old, detector), _lines(new, detector)
        yield from unified_diff(*lines, f"{old.path} before", f"{new.path} after", n=1000, lineterm="")


def lines_with_secrets(after: Document, secrets: Iterable[str]) -> tuple[int, ...]:
    """The lines that still contain a moved secret, such as in a comment or in another part of the file."""
    redactor = Redactor()
    redactor.learn("moved", secrets)
    return tuple(number for number, line in enumerate(after.text.split("\n"), 1) if redactor.clean(line) != line)


def _lines(server: Server, detector: SecretDetector) -> list[str]:
    masked = {member.key.value: _mask(member.key.value, member.value, detector) for member in server.object.members}
    return json.dumps(masked, indent=2).splitlines()


def _mask(key: str, node: Node, detector: SecretDetector) -> object:
    match node:
        case String(value=value) if key == "type" or (
            key == "command" and detector.check_argument(value) is Verdict.PUBLIC
        ):
            return value
        case Array(items=items) if key == "args":
            args = [item.value if isinstance(item, String) else MASK for item in items]
            secret = secret_arguments(args, detector)
            return [MASK if index in secret else arg for index, arg in enumerate(args)]
        case Object(members=members):
            return {member.key.value: _mask("", member.value, detector) for member in members}
        case Array(items=items):
            return [_mask("", item, detector) for item in items]
        case _:
            return MASK
