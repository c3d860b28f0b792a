"""Decides what a push writes into a Secret of Kubernetes, and which workloads restart after it."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import DecodeError, ValidationError, json

from lessee.core.errors import DeniedError, LesseeError, ManuallyChangedError, NotNotifiedError, UsageError
from lessee.core.immutable import ImmutableStruct, resolve_types

MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "lessee"
"""The label of a Secret that lessee may write, and the field manager of what it has written."""
APP, UPDATED_AT = "lessee/app", "lessee/updated-at"
"""Annotations of such a Secret. They say nothing of its values."""
MAX_SIZE = 1 << 20
"""Bytes of all values of a Secret."""
TYPES: Mapping[str, Sequence[str]] = {
    "Opaque": (),
    "kubernetes.io/basic-auth": (),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
"""The types of a Secret that lessee may write, with the keys that Kubernetes wants of each."""
_T = TypeVar("_T")
_PLURALS = {"daemonset": "daemonsets", "deployment": "deployments", "statefulset": "statefulsets"}
_KEY = re.compile(r"(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,240}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
"""A name of a Secret has at most 253 characters; with 240, it can begin the name of an annotation."""
_MAX_PRINTED = 80
_REASON = re.compile(r"[A-Za-z]{1,40}")


class Metadata(ImmutableStruct, frozen=True, rename="camel"):
    """The part that lessee uses of an object's metadata."""

    resource_version: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def annotation(self, name: str) -> str | None:
        return (self.annotations or {}).get(name)


class Secret(ImmutableStruct, frozen=True):
    """The part that lessee uses of a Secret. `data` is encoded, as the API has it."""

    hidden = ("data",)

    metadata: Metadata
    type: str = "Opaque"
    immutable: bool | None = None
    data: dict[str, str] | None = None


class _TemplateMetadata(ImmutableStruct, frozen=True):
    annotations: dict[str, str] | None = None


class _Template(ImmutableStruct, frozen=True):
    metadata: _TemplateMetadata | None = None


class _Spec(ImmutableStruct, frozen=True):
    template: _Template
    paused: bool | None = None


class WorkloadObject(ImmutableStruct, frozen=True):
    """The part that lessee uses of a Deployment, StatefulSet or DaemonSet."""

    spec: _Spec


class _Status(ImmutableStruct, frozen=True):
    reason: str | None = None


resolve_types(Secret, WorkloadObject, _Status)


class Place(ImmutableStruct, frozen=True):
    """Which Secret of which namespace."""

    namespace: str
    secret: str

    @property
    def collection(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.secret}"

    @property
    def title(self) -> str:
        return f"secret/{self.secret}"


class Workload(ImmutableStruct, frozen=True):
    """What is restarted."""

    kind: str
    name: str

    @property
    def title(self) -> str:
        return f"{self.kind}/{self.name}"

    def path(self, namespace: str) -> str:
        return f"/apis/apps/v1/namespaces/{namespace}/{_PLURALS[self.kind]}/{self.name}"


def place(namespace: str, secret: str) -> Place:
    """Raises UsageError for names that Kubernetes does not allow: they become parts of a URL."""
    if not _LABEL.fullmatch(namespace):
        todo = "a namespace has lower-case letters, digits and `-`, 63 at most"
        raise UsageError("Kubernetes allows no such namespace", where="--namespace", todo=todo)
    if not _SUBDOMAIN.fullmatch(secret):
        todo = "write lower-case letters, digits, `-` and `.`, 240 at most"
        raise UsageError("Kubernetes allows no such name, or it is too long", where="--secret", todo=todo)
    return Place(namespace, secret)


def workload(text: str) -> Workload:
    """Parse `deployment/NAME`. Raises UsageError."""
    kind, _, name = text.partition("/")
    if kind not in _PLURALS or not _SUBDOMAIN.fullmatch(name):
        todo = f"write {', '.join(f'{each}/NAME' for each in _PLURALS)}"
        raise UsageError("this names no workload", where="--restart", todo=todo)
    return Workload(kind, name)


def server_url(text: str) -> str:
    """The URL of the API, to which a path is added. Raises UsageError."""
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme == "https" and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        is_valid = False
    if not is_valid or "@" in parts.netloc:
        todo = "write https://HOST:PORT; the token never crosses a network without TLS"
        raise UsageError("this is no address of an API of Kubernetes", where="--server", todo=todo)
    return text.rstrip("/")


def selected(from_file: Sequence[str]) -> dict[str, str]:
    """The file of each key, of `KEY=FILE` or `FILE`, as `kubectl create secret` has them. Raises UsageError."""
    pairs = [tuple(each.split("=", 1)) if "=" in each else (each, each) for each in from_file]
    return keys(pairs)


def keys(pairs: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The file of each key. Raises UsageError for a key that Kubernetes does not allow."""
    found: dict[str, str] = {}
    for key, file in pairs:
        if not _KEY.fullmatch(key):
            todo = f"name one with `--from-file KEY={file}`: letters, digits, `-`, `_` and `.`"
            raise UsageError(
                f"a Secret of Kubernetes cannot have the key {key[:_MAX_PRINTED]!r}", where=file, todo=todo
            )
        if key in found:
            raise UsageError(f"the key {key} has two files", where=file, todo="name each key once")
        found[key] = file
    return found


def encoded(contents: Mapping[str, bytes], type_: str | None) -> dict[str, str]:
    """The data of a Secret with these values. Raises UsageError if Kubernetes would not accept it."""
    if type_ not in {None, *TYPES}:
        todo = f"write {', '.join(TYPES)}"
        raise UsageError("lessee writes no Secret of this type", where="--type", todo=todo)
    size = sum(map(len, contents.values()))
    if size > MAX_SIZE:
        todo = "choose files with --from-file, and push them to several Secrets"
        raise UsageError(f"the files have {size} bytes, and a Secret of Kubernetes at most {MAX_SIZE}", todo=todo)
    _check_type(contents, type_ or "Opaque")
    return {key: b64encode(content).decode() for key, content in sorted(contents.items())}


def created(to: Place, app: str, type_: str | None, data: Mapping[str, str], now: str) -> dict[str, Any]:
    """A new Secret."""
    metadata = {
        "name": to.secret,
        "namespace": to.namespace,
        "labels": {MANAGED_BY: MANAGER},
        "annotations": {APP: app, UPDATED_AT: now},
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_ or "Opaque", "data": {**data}}


def change(
    found: Secret, to: Place, app: str, type_: str | None, data: Mapping[str, str], now: str
) -> dict[str, Any] | None:
    """A JSON merge patch; None if the Secret has these values. Raises LesseeError for a Secret that is not lessee's.

    The patch names the version that was read, so the API refuses it if the Secret has changed since.
    """
    metadata = found.metadata
    _check_owner(found, to, app)
    if type_ not in {None, found.type} or found.type not in TYPES:
        what = f"it has the type {found.type[:_MAX_PRINTED]!r}, and was left unchanged"
        todo = "push to another name; Kubernetes never changes a type"
        raise ManuallyChangedError(what, where=to.title, todo=todo)
    _check_type(data, found.type)
    before = found.data or {}
    if before == data and metadata.annotation(APP) and metadata.annotation(UPDATED_AT):
        return None
    versioned = {"resourceVersion": metadata.resource_version, "annotations": {APP: app, UPDATED_AT: now}}
    removed: dict[str, str | None] = dict.fromkeys(sorted(before.keys() - data.keys()))
    written = {key: value for key, value in data.items() if before.get(key) != value}
    return {"metadata": versioned, "data": {**removed, **written}}


def _check_owner(found: Secret, to: Place, app: str) -> None:
    if (found.metadata.labels or {}).get(MANAGED_BY) != MANAGER:
        command = f"kubectl -n {to.namespace} label --overwrite {to.title} {MANAGED_BY}={MANAGER}"
        todo = f"push to another name, or, if lessee may replace all its values: {command}"
        what = f"it has no label {MANAGED_BY}: {MANAGER}, and was left unchanged"
        raise ManuallyChangedError(what, where=to.title, todo=todo)
    if found.metadata.annotation(APP) not in {None, app}:
        todo = f"push {app} to a Secret of its own"
        raise ManuallyChangedError("it has the files of another app, and was left unchanged", where=to.title, todo=todo)
    if found.immutable:
        todo = "push to another name, or delete it"
        raise ManuallyChangedError("it is immutable, and was left unchanged", where=to.title, todo=todo)


def restart(found: WorkloadObject, secret: str, updated_at: str) -> dict[str, Any] | None:
    """A JSON merge patch that starts a rollout; None if the pods have been restarted with this Secret."""
    annotation = f"{secret}.{UPDATED_AT}"
    template = found.spec.template.metadata
    if template is not None and (template.annotations or {}).get(annotation) == updated_at:
        return None
    return {"spec": {"template": {"metadata": {"annotations": {annotation: updated_at}}}}}


def parse_secret(body: bytes) -> Secret:
    """Raises NotNotifiedError."""
    return _parsed(body, Secret)


def parse_workload(body: bytes) -> WorkloadObject:
    """Raises NotNotifiedError."""
    return _parsed(body, WorkloadObject)


def refusal(status: int, body: bytes, *, doing: str, where: str) -> LesseeError:
    """The error of an answer. It omits the API's message, into which an admission webhook can put a value."""
    try:
        reason = json.decode(body, type=_Status).reason or ""
    except (DecodeError, ValidationError):
        reason = ""
    answer = f"HTTP {status} {reason}" if _REASON.fullmatch(reason) else f"HTTP {status}"
    match status:
        case 401:
            todo = "is the token expired, or of another cluster or audience?"
            return DeniedError(f"the API of Kubernetes does not accept the token: {answer}", where=where, todo=todo)
        case 403:
            todo = "permit it with a Role, or see why an admission policy refuses it: compose/kubernetes/README.md"
            return DeniedError(f"{doing} is forbidden: {answer}", where=where, todo=todo)
        case 404:
            return UsageError(f"{doing} failed: there is no such object", where=where, todo="check name and namespace")
        case 400 | 413 | 415 | 422:
            todo = "see the API server's audit log; the API's message is not printed, as it can contain a value"
            return NotNotifiedError(f"the API of Kubernetes rejects {doing}: {answer}", where=where, todo=todo)
        case 409 | 410:
            what = f"{doing} failed: others change the object at the same time: {answer}"
            return NotNotifiedError(what, where=where, todo="run it again")
        case _:
            todo = "run it again; if it remains, see the API server's log"
            return NotNotifiedError(f"{doing} failed: {answer}", where=where, todo=todo)


def _check_type(present: Mapping[str, object], type_: str) -> None:
    if missing := [key for key in TYPES[type_] if key not in present]:
        todo = f"add `--from-file {missing[0]}=FILE`"
        raise UsageError(f"a Secret of the type {type_} needs the key {missing[0]}", where="--type", todo=todo)


def _parsed(body: bytes, kind: type[_T]) -> _T:
    try:
        return json.decode(body, type=kind)
    except (DecodeError, ValidationError):
        todo = "check --server: does another program answer there?"
        raise NotNotifiedError("the answer is not one of the API of Kubernetes", where="--server", todo=todo) from None
