"""The part of Vault's HTTP API that reads, so that Vault's own clients work at a read socket without a change.

Paths and answers are those of Vault's API documentation (/vault/api-docs/secret/kv/kv-v2, /vault/api-docs/system).
"""

from collections.abc import Mapping

from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.read_api.policy.replies import Reply, json_reply
from lessee.read_api.policy.requests import Request
from lessee.read_api.policy.values import Values

PREFIX = "/v1/"
_VERSIONED = 2
_NOT_READ = "lessee has not read it from Vault yet; try again"
_RETRY = ("Retry-After", "1")
_READS_ONLY = "lessee only reads; send this request to Vault itself"


def answer(request: Request, values: Values, *, app: str, namespace: str, version: str) -> Reply:
    """The reply to a request below /v1/. `namespace`: that of the agent's login. `version`: of lessee."""
    path = request.path.removeprefix(PREFIX).removesuffix("/")
    is_list = request.method == "LIST" or request.query.get("list") == "true"
    if request.method not in {"GET", "HEAD", "LIST"}:
        return _error(405, _READS_ONLY, ("Allow", "GET, HEAD, LIST"))
    if (known := _of_system(path, app, version)) is not None:
        return json_reply(200, known)
    within = _within(request.headers.get("x-vault-namespace", ""), namespace)
    if (asked := path.removeprefix("sys/internal/ui/mounts/")) != path:
        return _mount(f"{within}{asked}", within, values)
    full = f"{within}{path}"
    mount = max((mount for mount in values.mounts if f"{full}/".startswith(f"{mount}/")), key=len, default=None)
    if mount is not None:
        kv = values.kv_version(mount)
        if not kv:
            return _error(503, _NOT_READ, _RETRY)
        rest = full.removeprefix(mount).removeprefix("/")
        if kv == _VERSIONED:
            return _kv_v2(mount, rest, request.query, values, app, is_list=is_list)
        return _list(mount, rest, values, app) if is_list else _kv_v1(mount, rest, values, app)
    return _denied(full, app) if is_list else _dynamic(full, values, app)


def _within(header: str, own: str) -> str:
    """What to put before a path so that it is as templates name it: the namespace below that of the login."""
    inner = f"{header.strip('/')}/".removeprefix(f"{own.strip('/')}/") if own.strip("/") else f"{header.strip('/')}/"
    return inner.lstrip("/")


def _of_system(path: str, app: str, version: str) -> Mapping[str, object] | None:
    match path:
        case "sys/health":
            return {
                "initialized": True,
                "sealed": False,
                "standby": False,
                "performance_standby": False,
                "version": f"lessee {version}",
            }
        case "sys/seal-status":
            return {"type": "lessee", "initialized": True, "sealed": False, "version": f"lessee {version}"}
        case "auth/token/lookup-self":
            # It has no token: the socket knows its clients by their user.
            return _answer(
                {
                    "display_name": f"lessee-{app}",
                    "id": "",
                    "policies": [],
                    "renewable": False,
                    "ttl": 0,
                    "type": "service",
                    "meta": {"served_by": "lessee", "app": app},
                }
            )
        case _:
            return None


def _mount(asked: str, within: str, values: Values) -> Reply:
    """How a client learns the version of a KV mount before it reads (/vault/api-docs/system/internal-ui-mounts)."""
    for mount in sorted(values.mounts, key=len, reverse=True):
        if f"{asked}/".startswith(f"{mount}/"):
            version = values.kv_version(mount)
            if not version:
                return _error(503, _NOT_READ, _RETRY)
            path = f"{mount.removeprefix(within)}/"
            return json_reply(200, _answer({"path": path, "type": "kv", "options": {"version": str(version)}}))
    return _error(403, f"no template reads the mount of {asked}")


def _kv_v1(mount: str, path: str, values: Values, app: str) -> Reply:
    ref = Ref(mount, path)
    if not values.reads(ref):
        return _denied(str(ref), app)
    secret = values.secret(ref)
    return _without_value(ref, values) if secret is None else json_reply(200, _answer(secret.data))


def _kv_v2(mount: str, rest: str, query: Mapping[str, str], values: Values, app: str, *, is_list: bool) -> Reply:
    kind, _, path = rest.partition("/")
    if is_list:
        return _list(mount, path, values, app) if kind == "metadata" else _denied(f"{mount}/{rest}", app)
    if kind not in {"data", "metadata", "subkeys"} or not path:
        return _denied(f"{mount}/{rest}", app)
    ref = _versioned(mount, path, query.get("version", "0"), values)
    if ref is None or not values.reads(ref):
        return _denied(f"{mount}/{path}" + (f" in version {query['version']}" if "version" in query else ""), app)
    secret = values.secret(ref)
    if secret is None:
        return _without_value(ref, values)
    metadata = secret.metadata or VersionMetadata(0, "")
    match kind:
        case "data":
            return json_reply(200, _answer({"data": secret.data, "metadata": _version(metadata)}))
        case "subkeys":
            return json_reply(200, _answer({"subkeys": _subkeys(secret.data), "metadata": _version(metadata)}))
        case _:
            return json_reply(200, _answer(_metadata(metadata), "lessee knows only this version"))


def _versioned(mount: str, path: str, version: str, values: Values) -> Ref | None:
    """What a request for a version reads; None for what is no version."""
    if not version.isdecimal() or not version.isascii() or len(version) > len(str(2**63)):
        return None
    latest, number = Ref(mount, path), int(version)
    if not number or not values.reads(latest):
        return Ref(mount, path, number or None)
    secret: Secret | None = values.secret(latest)
    is_latest = secret is not None and secret.metadata is not None and secret.metadata.version == number
    return latest if is_latest else Ref(mount, path, number)


def _list(mount: str, path: str, values: Values, app: str) -> Reply:
    folder = Folder(mount, f"{path}/" if path else "")
    if not values.reads(folder):
        return _denied(str(folder), app)
    names = values.names(folder)
    if names is None:
        return _error(503, _NOT_READ, _RETRY)
    return json_reply(200, _answer({"keys": sorted(names)})) if names else _error(404)


def _dynamic(path: str, values: Values, app: str) -> Reply:
    need = values.dynamic(path)
    if need is None:
        return _denied(path, app)
    issued = values.issued(need)
    if issued is None:
        return _error(503, _NOT_READ, _RETRY)
    # Without an id, since a client must neither renew nor revoke the lease, which the agent keeps.
    return json_reply(200, _answer(issued.secret.data) | {"lease_duration": int(issued.seconds_left or 0)})


def _without_value(ref: Ref, values: Values) -> Reply:
    return _error(404) if values.is_missing(ref) else _error(503, _NOT_READ, _RETRY)


def _version(metadata: VersionMetadata) -> dict[str, object]:
    is_destroyed = metadata.deletion_time == "destroyed"
    return {
        "created_time": metadata.created_time,
        "custom_metadata": None,
        "deletion_time": "" if is_destroyed else metadata.deletion_time,
        "destroyed": is_destroyed,
        "version": metadata.version,
    }


def _metadata(metadata: VersionMetadata) -> dict[str, object]:
    version = _version(metadata)
    number = version.pop("version")
    del version["custom_metadata"]
    return {
        "current_version": number,
        "oldest_version": number,
        "created_time": metadata.created_time,
        "updated_time": metadata.created_time,
        "custom_metadata": None,
        "versions": {str(number): version},
    }


def _subkeys(data: Mapping[str, object]) -> dict[str, object]:
    return {key: _subkeys(value) if isinstance(value, Mapping) else None for key, value in data.items()}


def _answer(data: object, *warnings: str) -> dict[str, object]:
    return {
        "request_id": "",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": list(warnings) or None,
        "auth": None,
    }


def _denied(path: str, app: str) -> Reply:
    return _error(403, f"no template of {app} reads {path}")


def _error(code: int, text: str = "", *headers: tuple[str, str]) -> Reply:
    return json_reply(code, {"errors": [text] if text else []}, *headers)
