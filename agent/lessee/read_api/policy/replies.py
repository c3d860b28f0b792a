"""The replies of a read socket."""

import json

from lessee.core.immutable import ImmutableStruct

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Reply(ImmutableStruct, frozen=True):
    """A response, without the headers that all have."""

    hidden = ("body",)

    code: int
    body: bytes = b""
    kind: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


def text_reply(code: int, text: str, *headers: tuple[str, str]) -> Reply:
    """A line for people."""
    return Reply(code, f"{text}\n".encode(), TEXT, headers)


def json_reply(code: int, value: object, *headers: tuple[str, str]) -> Reply:
    """A JSON document."""
    return Reply(code, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n", JSON, headers)
