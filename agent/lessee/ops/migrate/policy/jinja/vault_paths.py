"""Parses the Vault paths of Go templates: KV secrets and dynamic secrets."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote

from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import is_of_agent
from lessee.ops.migrate.policy.jinja.expressions import UnsupportedError


class KvPath(ImmutableStruct, frozen=True):
    """The path of a KV secret or folder. `is_api_path`: it contains the `data` or `metadata` of KV version 2."""

    mount: str
    elements: tuple[str, ...]
    """The path below the mount."""
    version: int | None = None
    is_api_path: bool = False


DYNAMIC = frozenset(
    {"creds", "static-creds", "static-cred", "sts", "issue", "sign", "sign-verbatim", "token", "tokens"}
)
"""As the last element but one, these mark a dynamic secret, which has a lease or a TTL."""

_OTHER_ENGINES = ("transit", "totp", "identity", "pki", "ssh")
"""How the mounts of engines without KV secrets usually begin."""
_VALID_ELEMENT = re.compile(r"(?!\.{1,2}\Z)(?:[^\x00-\x1f\x7f{}*]|\$\{[^{}]*\})+")
"""A path element that a policy can contain, or one with a variable."""
_VARIABLE = re.compile(r"\$\{[^{}]*\}")
_POLICY_CHARS = {
    "*": "matches the rest of any path",
    "{": "begins the name of an identity",
    "}": "ends the name of an identity",
}
_KV_MOUNTS = ("secret", "kv")


def parse_kv_path(path: str, *, is_folder: bool = False) -> KvPath:
    """Parse the path of a KV secret or folder. Raises UnsupportedError."""
    path, _, query = path.strip().partition("?")
    elements = unquote(path).strip("/").split("/")
    api = "metadata" if is_folder else "data"
    at = elements.index(api, 1) if api in elements[1:] else 0
    mount, inside = (elements[:at], elements[at + 1 :]) if at else (elements[:1], elements[1:])
    check_literal(path)
    if not (inside or is_folder) or not is_valid(elements):
        raise UnsupportedError(f"{path!r} is not the path of a KV secret", "write mount/path")
    return KvPath("/".join(mount), tuple(inside), _version(query), is_api_path=at > 0)


def check_literal(path: str) -> None:
    """Raises UnsupportedError for a path with a character that has a meaning of its own in a policy."""
    path = _VARIABLE.sub("", path)
    for char, meaning in _POLICY_CHARS.items():
        if char in path:
            what = f"{path!r} has a {char}, which {meaning} in a policy, so no policy allows this path alone"
            raise UnsupportedError(what, "write each path without it, or loop over the folder")


def is_valid(elements: Iterable[str]) -> bool:
    """Whether lessee accepts a path with these elements."""
    return all(_VALID_ELEMENT.fullmatch(element) and element.isprintable() for element in elements)


def is_dynamic(path: str) -> bool:
    """Whether the path is that of a dynamic secret, and does not begin like a KV mount."""
    elements = path.strip("/").split("/")
    last_but_one = elements[-2] if len(elements) > 2 else ""  # noqa: PLR2004  # mount/creds/role
    return last_but_one in DYNAMIC and not elements[0].startswith(_KV_MOUNTS) and elements[1] != "data"


def is_of_other_engine(path: str) -> bool:
    """Whether the path is that of an engine without KV secrets, as far as its mount tells."""
    return path.strip("/ ").startswith(_OTHER_ENGINES)


def refuse_of_agent(path: str) -> None:
    """Raises UnsupportedError for a path that returns credentials of the agent itself."""
    if is_of_agent(path):
        what = f"{path!r} names auth, sys or cubbyhole, which return credentials of the agent itself"
        raise UnsupportedError(what, "put the value into a KV secret")


def _version(query: str) -> int | None:
    version = parse_qs(query).get("version", [""])[-1]
    return int(version) if version.isdigit() and int(version) else None
