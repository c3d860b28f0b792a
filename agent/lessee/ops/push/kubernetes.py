"""`lessee push kubernetes`: keeps a Secret of Kubernetes equal to the current files of an app."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from msgspec import json

from lessee.core.errors import DeniedError, LesseeError, NotNotifiedError, UsageError
from lessee.host import http_client
from lessee.host.http_client import HttpError
from lessee.host.project import app_of, find, read
from lessee.ops.push.policy import kubernetes as policy
from lessee.ops.push.policy.kubernetes import Place, Workload
from lessee.publishing.reader import read_generation

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVER = "https://kubernetes.default.svc"
"""The name that each API server's certificate has; programs of an agent have no KUBERNETES_SERVICE_HOST."""
_ATTEMPTS = 5
"""How often the Secret is read again because it has changed since."""
_BODY_LIMIT = 8 << 20
"""Bytes: an object in etcd has 1.5 MiB by default, and JSON with base64 and managedFields is larger."""
_MAX_TOKEN = 64 * 1024
_CHANGED = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE}
_MERGE_PATCH = "application/merge-patch+json"


def run(arguments: argparse.Namespace) -> int:
    """Print what was changed. Raises LesseeError."""
    workloads = [policy.workload(text) for text in dict.fromkeys(arguments.restart)]
    place = policy.place(_namespace(arguments.namespace), arguments.secret)
    directory, files = _files(arguments)
    contents = read_generation(directory, [*files.values()], timeout=0)
    data = policy.encoded({key: contents[file] for key, file in files.items()}, arguments.type)
    api = _Api(arguments)
    for workload in workloads:  # What cannot be restarted changes no Secret.
        _read_workload(api, place, workload)
    updated_at = _keep(api, place, arguments.app, arguments.type, data)
    for workload in workloads:
        _restart(api, place, workload, updated_at)
    return 0


def _keep(api: "_Api", place: Place, app: str, type_: str | None, data: Mapping[str, str]) -> str:
    """Create or change the Secret if it has other values, and return when it got those. Raises LesseeError."""
    refusal: LesseeError | None = None
    for _ in range(_ATTEMPTS):
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        status, body = api.get(place.path)
        if status == HTTPStatus.NOT_FOUND:
            doing, done = "creating the Secret", "created"
            status, body = api.create(place.collection, policy.created(place, app, type_, data, now))
        elif status != HTTPStatus.OK:
            raise policy.refusal(status, body, doing="reading the Secret", where=place.title)
        else:
            found = policy.parse_secret(body)
            patch = policy.change(found, place, app, type_, data, now)
            if patch is None:
                _print(f"{place.title} unchanged")
                return found.metadata.annotation(policy.UPDATED_AT) or ""
            doing, done = "changing the Secret", "configured"
            status, body = api.patch(place.path, patch)
        if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
            _print(f"{place.title} {done}")
            return now
        refusal = policy.refusal(status, body, doing=doing, where=place.title)
        # It was created, deleted or changed since it was read; without its namespace nothing can be created.
        if status not in _CHANGED or (done == "created" and status == HTTPStatus.NOT_FOUND):
            raise refusal
    raise refusal or NotNotifiedError("the Secret was not written", where=place.title)


def _restart(api: "_Api", place: Place, workload: Workload, updated_at: str) -> None:
    patch = policy.restart(_read_workload(api, place, workload), place.secret, updated_at)
    if patch is None:
        _print(f"{workload.title} unchanged")
        return
    status, body = api.patch(workload.path(place.namespace), patch)
    if status != HTTPStatus.OK:
        raise policy.refusal(status, body, doing="restarting the pods", where=workload.title)
    _print(f"{workload.title} restarted")


def _read_workload(api: "_Api", place: Place, workload: Workload) -> policy.WorkloadObject:
    status, body = api.get(workload.path(place.namespace))
    if status != HTTPStatus.OK:
        raise policy.refusal(status, body, doing="reading the workload", where=workload.title)
    found = policy.parse_workload(body)
    if found.spec.paused:
        todo = f"kubectl rollout resume {workload.title}"
        raise NotNotifiedError("its rollouts are paused", where=workload.title, todo=todo)
    return found


def _files(arguments: argparse.Namespace) -> tuple[Path, Mapping[str, str]]:
    """The directory of the files, and the file of each key. Raises LesseeError."""
    chosen = policy.selected(arguments.from_file)
    if arguments.directory is not None:
        directory = Path(arguments.directory)
        return directory, chosen or policy.keys([(name, name) for name in _listed(directory)])
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    app = app_of(read(path, environ), arguments.app, path)
    return Path(app.directory), chosen or policy.keys([(file.name, file.name) for file in app.files])


def _listed(directory: Path) -> Sequence[str]:
    todo = "name the directory of an app of a running agent"
    try:
        found = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
        folders = [path.name for path in found if path.is_dir()]
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=str(directory), todo=todo) from None
    if folders:
        todo = f"name each file with `--from-file KEY=FILE`, such as `--from-file KEY={folders[0]}/FILE`"
        raise UsageError(f"{folders[0]} is a folder, and a Secret has none", where=str(directory), todo=todo)
    return [path.name for path in found]


def _namespace(chosen: str | None) -> str:
    if chosen is not None:
        return chosen
    file = _SERVICE_ACCOUNT / "namespace"
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as exc:
        todo = "write --namespace"
        raise UsageError(f"the namespace cannot be read: {exc.strerror}", where=str(file), todo=todo) from None


def _token(path: Path) -> str:
    todo = "mount a service account's token, or name a file with --token-file"
    try:
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN + 1).strip()
    except OSError as exc:
        raise DeniedError(f"the token cannot be read: {exc.strerror}", where=str(path), todo=todo) from None
    if not token or len(token) > _MAX_TOKEN or not token.isascii():
        raise DeniedError("it contains no token", where=str(path), todo=todo)
    return token.decode("ascii")


def _server() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return _SERVER
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Api:
    """Requests to the API of Kubernetes. Each returns the status and the body, or raises NotNotifiedError."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Raises LesseeError."""
        self._server = policy.server_url(arguments.server or _server())
        self._ca_file = arguments.ca_file or str(_SERVICE_ACCOUNT / "ca.crt")
        self._token = _token(Path(arguments.token_file or _SERVICE_ACCOUNT / "token"))
        self._timeout = arguments.timeout

    def get(self, path: str) -> tuple[int, bytes]:
        return self._request("GET", path)

    def create(self, path: str, document: object) -> tuple[int, bytes]:
        return self._request("POST", path, document, "application/json")

    def patch(self, path: str, document: object) -> tuple[int, bytes]:
        return self._request("PATCH", path, document, _MERGE_PATCH)

    def _request(self, method: str, path: str, document: object = None, kind: str = "") -> tuple[int, bytes]:
        headers: dict[str, str | bytes] = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        body = None
        if document is not None:
            headers["Content-Type"], body = kind, json.encode(document)
            path = f"{path}?fieldManager={quote(policy.MANAGER)}&fieldValidation=Strict"
        try:
            response = http_client.request(
                method,
                self._server + path,
                timeout=self._timeout,
                headers=headers,
                body=body,
                body_limit=_BODY_LIMIT,
                ca_file=self._ca_file,
            )
        except HttpError as exc:
            todo = "check --server and --ca-file; the next push does what this one did not"
            what = f"no answer of the API of Kubernetes: {exc.reason}"
            raise NotNotifiedError(what, where=http_client.host_of(self._server), todo=todo) from None
        return response.status, response.body
