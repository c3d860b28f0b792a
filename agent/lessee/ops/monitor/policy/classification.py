"""Classifies the requests of the audit log for the alert rules."""

import re
from enum import Enum
from functools import lru_cache

from lessee.ops.monitor.policy.access import Access

UNAUTHENTICATED = "unauthenticated"
"""The component of requests without a valid token."""
_MAX_LENGTH = 200
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
_OWN = re.compile(r"sys/internal/ui/.|sys/capabilities-self$|auth/token/(?:lookup|renew|revoke)-self$")
_NO_SECRET = frozenset({"system", "token", "identity", "cubbyhole", "ns_system", "ns_token", "ns_identity"})


class RequestKind(Enum):
    """What a request does."""

    READ = "read"
    """Reads a secret, or has an engine issue one."""
    LOGIN = "login"
    POLICY = "policy"
    """Changes a policy."""
    AUTH = "auth"
    """Changes an auth method, a role, a user or a group."""
    AUDIT = "audit"
    """Changes an audit device."""
    OWN = "own"
    """What each token may do: ask for itself, and for the mount of a path, as `bao kv` does before each request."""
    OTHER = "other"


@lru_cache(maxsize=8192)
def classify(operation: str, path: str, mount: str, mount_type: str) -> RequestKind:
    """The kind of a request, which the server may have answered or denied."""
    if _OWN.match(path):
        return RequestKind.OWN
    if operation in _WRITES:
        if _LOGIN.match(path):
            return RequestKind.LOGIN
        for pattern, kind in ((_POLICY, RequestKind.POLICY), (_AUDIT, RequestKind.AUDIT), (_AUTH, RequestKind.AUTH)):
            if pattern.match(path):
                return kind
        return RequestKind.OTHER
    return RequestKind.READ if operation == "read" and is_secret(path, mount, mount_type) else RequestKind.OTHER


@lru_cache(maxsize=8192)
def is_secret(path: str, mount: str, mount_type: str) -> bool:
    """Whether the path is that of a secret, or of an engine that issues secrets."""
    if mount_type in _NO_SECRET or path.startswith(("auth/", "sys/")):
        return False
    # Metadata of KV version 2 holds no value. Agents poll it.
    return mount_type != "kv" or not path.startswith((f"{mount}/metadata/", f"{mount}/config"))


@lru_cache(maxsize=8192)
def secret_path(path: str, mount: str, mount_type: str, namespace: str) -> str:
    """The printable path with its namespace, and without the `data/` of KV version 2."""
    data = f"{mount}/data/"
    if mount_type == "kv" and path.startswith(data):
        path = f"{mount}/{path[len(data) :]}"
    return _printable(_within(namespace, path))


def component(access: Access) -> str:
    """The role, or else the token's display name. Without a valid token it is `UNAUTHENTICATED`."""
    return _component(access.role or access.display_name, access.namespace)


@lru_cache(maxsize=1024)
def _component(name: str, namespace: str) -> str:
    return _printable(_within(namespace, name)) if name else UNAUTHENTICATED


def is_denied(access: Access, kind: RequestKind) -> bool:
    """Whether the server denied the request, or a login failed."""
    return access.denied or (kind is RequestKind.LOGIN and access.error is not None)


@lru_cache(maxsize=1024)
def printable(text: str) -> str:
    """The text, truncated, with `?` for each character that is not printable.

    A client may put any text into a path.
    """
    return _printable(text)


def _printable(text: str) -> str:
    cut = text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
    return cut if cut.isprintable() else "".join(char if char.isprintable() else "?" for char in cut)


def _within(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
