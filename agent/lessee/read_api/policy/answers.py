"""Answers a request to a read socket: from the files that are published, and from what the templates read."""

import json

from lessee.core.errors import DeniedError
from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import PathScope
from lessee.core.paths import is_of_source
from lessee.read_api.policy import vault_api
from lessee.read_api.policy.replies import JSON, Reply, json_reply, text_reply
from lessee.read_api.policy.requests import Request
from lessee.read_api.policy.values import Published, Values

_PATHS = "not found; the paths are /healthz /generation /files /files/NAME /secret/PATH, and those of Vault below /v1/"
_NOTHING = "nothing is published yet; try again"
_RETRY = ("Retry-After", "1")


class ReadScope(ImmutableStruct, frozen=True):
    """What does not change between two requests of an app."""

    app: str
    paths: PathScope
    """The paths that its templates may name."""
    namespace: str
    """Of the agent's login; empty for the root."""
    version: str
    """Of lessee."""


def answer(request: Request, scope: ReadScope, values: Values) -> Reply:
    """The reply to a request of a client that may read what the app's templates read."""
    if request.path.startswith(vault_api.PREFIX):
        return vault_api.answer(request, values, app=scope.app, namespace=scope.namespace, version=scope.version)
    if request.method not in {"GET", "HEAD"}:
        return text_reply(405, "the methods are GET and HEAD", ("Allow", "GET, HEAD"))
    match request.path.split("/", 2)[1:]:
        case ["healthz"]:
            return text_reply(200, "ok")
        case ["generation"]:
            return _of_generation(request, values.published)
        case ["files"]:
            return _files(request, values.published)
        case ["files", name]:
            return _file(request, values.published, name)
        case ["secret", path]:
            return _secret(request, scope, values, path)
        case _:
            return text_reply(404, _PATHS)


def waits(request: Request, values: Values) -> bool:
    """Whether the client waits for another generation than the one that it knows."""
    if request.path != "/generation" or "wait" not in request.query:
        return False
    published = values.published
    return published is None or request.headers.get("if-none-match") == f'"{published.etag}"'


def patience(request: Request, longest: float) -> float:
    """Seconds for which a client waits, at most `longest`."""
    text = request.query["wait"].removesuffix("s")
    return min(float(text), longest) if text.isdecimal() and text.isascii() else longest


def _of_generation(request: Request, published: Published | None) -> Reply:
    if published is None:
        return text_reply(503, _NOTHING, _RETRY)
    body = {"generation": published.number, "files": sorted(published.files)}
    return _unless_known(request, published, json_reply(200, body))


def _files(request: Request, published: Published | None) -> Reply:
    """The text of all files, of one generation."""
    if published is None:
        return text_reply(503, _NOTHING, _RETRY)
    texts = {}
    for name, content in published.files.items():
        try:
            texts[name] = content.decode()
        except UnicodeDecodeError:
            return text_reply(406, f"{name} is not text; read it by itself at /files/{name}")
    body = {"generation": published.number, "files": texts}
    return _unless_known(request, published, json_reply(200, body))


def _file(request: Request, published: Published | None, name: str) -> Reply:
    if published is None:
        return text_reply(503, _NOTHING, _RETRY)
    if name not in published.files:
        known = ", ".join(sorted(published.files)) or "none"
        return text_reply(404, f"no file has this name; published are: {known}")
    return _unless_known(request, published, Reply(200, published.files[name], "application/octet-stream"))


def _unless_known(request: Request, published: Published, reply: Reply) -> Reply:
    etag = f'"{published.etag}"'
    if request.headers.get("if-none-match") == etag:
        return Reply(304, headers=(("ETag", etag),))
    return Reply(reply.code, reply.body, reply.kind, (*reply.headers, ("ETag", etag)))


def _secret(request: Request, scope: ReadScope, values: Values, path: str) -> Reply:
    """A KV secret, or one of its fields, by the name that a template has for it."""
    version = request.query.get("version")
    if version is not None and not (version.isdecimal() and version.isascii()):
        return text_reply(400, "version is not a number")
    try:
        ref = scope.paths.secret(
            path,
            None if version is None else int(version[:20]),
            mount=request.query.get("mount"),
            identity=request.query.get("identity"),
            source=request.query.get("source"),
        )
    except DeniedError as exc:
        return text_reply(403, str(exc))
    if not values.reads(ref):
        return text_reply(403, f"no template of {scope.app} reads {ref}")
    secret = values.secret(ref)
    if secret is None:
        where = "the source" if is_of_source(ref.mount) else "Vault"
        if values.is_missing(ref):
            return text_reply(404, f"{ref} does not exist in {where}")
        return text_reply(503, f"{ref} has not been read from {where} yet; try again", _RETRY)
    key = request.query.get("key")
    if key is None:
        return Reply(200, json.dumps(secret.data, ensure_ascii=False).encode() + b"\n", JSON)
    if key not in secret.data:
        return text_reply(404, f"{ref} has no such key")
    value = secret.data[key]
    if isinstance(value, str):
        return Reply(200, value.encode(), "application/octet-stream")
    return Reply(200, json.dumps(value, ensure_ascii=False).encode(), JSON)
