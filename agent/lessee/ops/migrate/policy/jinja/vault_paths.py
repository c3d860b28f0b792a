"""What a path in a Go template reads: a KV secret, or what Vault makes when it is asked."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote

from lessee.core.immutable import Record
from lessee.ops.migrate.policy.jinja.expressions import LostError


class Kv(Record, frozen=True):
    """A KV secret or folder; `elements` lie below the mount. `explicit`: its path is as the API of version 2 has it."""

    mount: str
    elements: tuple[str, ...]
    version: int | None = None
    explicit: bool = False


ISSUED = frozenset({"creds", "static-creds", "static-cred", "sts", "issue", "sign", "sign-verbatim", "token", "tokens"})
"""Before the last element, these name what is made; all of it has a lease or a ttl."""

_UNLEASED = ("transit", "cubbyhole", "sys", "totp", "identity", "auth", "pki", "ssh")
_NAMEABLE = re.compile(r"(?!\.{1,2}\Z)(?:[^\x00-\x1f\x7f{}*]|\$\{[^{}]*\})+")
"""An element of a path that a policy can name, or that a variable stands in."""
_KV_NAMES = ("secret", "kv")


def kv_of(path: str, *, listed: bool = False) -> Kv:
    """The path as one of a KV mount. Raises LostError for one that names nothing in it."""
    path, _, query = path.strip().partition("?")
    elements = unquote(path).strip("/").split("/")
    view = "metadata" if listed else "data"
    at = elements.index(view, 1) if view in elements[1:] else 0
    mount, inside = (elements[:at], elements[at + 1 :]) if at else (elements[:1], elements[1:])
    if not (inside or listed) or not is_nameable(elements):
        raise LostError(f"{path!r} names no secret in a KV mount", "lessee reads mount/path")
    return Kv("/".join(mount), tuple(inside), _version(query), explicit=at > 0)


def is_nameable(elements: Iterable[str]) -> bool:
    """Whether all of these can stand in a path of lessee's."""
    return all(_NAMEABLE.fullmatch(element) and element.isprintable() for element in elements)


def is_issued(path: str) -> bool:
    """Whether the path is of something that is made when it is asked for, and not clearly of a KV mount."""
    elements = path.strip("/").split("/")
    last_but_one = elements[-2] if len(elements) > 2 else ""  # noqa: PLR2004  # mount/creds/role
    return last_but_one in ISSUED and not elements[0].startswith(_KV_NAMES) and elements[1] != "data"


def refuse_unleased(path: str) -> None:
    """Raises LostError for what is neither KV nor has a lease or a ttl."""
    elements = path.strip("/").split("/")
    if elements[0].startswith(_UNLEASED) and not is_issued(path):
        raise LostError(
            f"{path!r} is neither a KV secret nor has it a lease",
            "lessee reads KV secrets and what is leased; put the value into a KV secret",
        )


def _version(query: str) -> int | None:
    version = parse_qs(query).get("version", [""])[-1]
    return int(version) if version.isdigit() and int(version) else None
