"""What one line of the audit log means to those who watch over it."""

import re
from enum import Enum
from functools import lru_cache

from lessee.ops.monitor.policy.access import Access

NOBODY = "nobody"
"""Who shows no valid token."""
_LONGEST = 200
_WRITES = frozenset({"create", "update", "delete", "patch"})
_POLICY = re.compile(r"sys/polic(?:y|ies)/.")
_AUDIT = re.compile(r"sys/(?:audit|config/auditing)(?:/|$)")
_AUTH = re.compile(
    r"sys/(?:mounts/)?auth/."
    r"|sys/generate-root/."
    r"|auth/.+/(?:role|roles|user|users|group|groups|cert|certs|map/.+)/[^/]+"
    r"(?:/(?:token_)?(?:policies|bound_cidrs)|/password)?/?$"
    r"|auth/.+/config(?:/|$)"
    r"|identity/(?:entity|group)(?:-alias)?(?:/(?:id|name)/.+)?$"
)
_LOGIN = re.compile(r"auth/.+/login(?:/|$)")
_NO_SECRET = frozenset({"system", "token", "identity", "cubbyhole", "ns_system", "ns_token", "ns_identity"})


class Kind(Enum):
    """What was asked for."""

    READ = "read"
    """Of a secret, or of what an engine issues."""
    LOGIN = "login"
    POLICY = "policy"
    """A policy was to be changed."""
    AUTH = "auth"
    """Who may log in, and as what."""
    AUDIT = "audit"
    """What is written of all this."""
    OTHER = "other"


@lru_cache(maxsize=8192)
def kind(operation: str, path: str, mount: str, mount_type: str) -> Kind:
    """Of a request, whether it was answered or refused."""
    if operation in _WRITES:
        if _LOGIN.match(path):
            return Kind.LOGIN
        for pattern, found in ((_POLICY, Kind.POLICY), (_AUDIT, Kind.AUDIT), (_AUTH, Kind.AUTH)):
            if pattern.match(path):
                return found
        return Kind.OTHER
    if operation != "read" or mount_type in _NO_SECRET or path.startswith(("auth/", "sys/")):
        return Kind.OTHER
    if mount_type == "kv" and path.startswith((f"{mount}/metadata/", f"{mount}/config")):
        # Of version 2: it says that there is a secret, and not what it is. An agent asks it again and again.
        return Kind.OTHER
    return Kind.READ


@lru_cache(maxsize=8192)
def secret_path(path: str, mount: str, mount_type: str, namespace: str) -> str:
    """A path as people call it: without the `data/` of KV version 2, with its namespace, and fit to be printed."""
    data = f"{mount}/data/"
    if mount_type == "kv" and path.startswith(data):
        path = f"{mount}/{path[len(data) :]}"
    return _shown(_within(namespace, path))


def component(access: Access) -> str:
    """Who it was: the role, else the name that the token has; `NOBODY` without a valid token."""
    return _component(access.role or access.display_name, access.namespace)


@lru_cache(maxsize=1024)
def _component(name: str, namespace: str) -> str:
    return _shown(_within(namespace, name)) if name else NOBODY


def is_refusal(access: Access, asked: Kind) -> bool:
    """It was refused, or a login failed."""
    return access.refused or (asked is Kind.LOGIN and access.error is not None)


@lru_cache(maxsize=1024)
def shown(text: str) -> str:
    """The text, cut where it is long; what does not print is a `?`.

    Whoever asks Vault may write what he likes into a path.
    """
    return _shown(text)


def _shown(text: str) -> str:
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return cut if cut.isprintable() else "".join(char if char.isprintable() else "?" for char in cut)


def _within(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
