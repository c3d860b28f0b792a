"""`lessee push swarm`: gives services of Docker Swarm the current files of an app, as secrets of Swarm."""

import argparse
import hmac
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lessee.core.errors import LesseeError, NotNotifiedError, UsageError
from lessee.core.immutable import replace
from lessee.host.project import app_of, find, read
from lessee.host.user_state import user_key
from lessee.notification.engine import translated_errors
from lessee.ops.push.policy import swarm
from lessee.ops.push.policy.swarm import SwarmSecret
from lessee.publishing.reader import read_generation

_REQUEST_TIMEOUT = 15
_POLL = 0.5
_STABLE = 2.0
"""Seconds for which the same tasks must run: one that ends immediately runs for a moment."""
_ROLLBACK_TIMEOUT = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Print what was changed. Raises LesseeError; the services then run with the secrets that they had."""
    directory, names, key_file = _places(arguments)
    contents = _contents(directory, names)
    key = user_key(key_file, make=True)
    assert key is not None, "it makes a missing one"
    fingerprints = {file: hmac.digest(key, content, "sha256").hex() for file, content in contents.items()}
    with _engine() as engine:
        _push(engine, arguments.app, contents, fingerprints, arguments.service, timeout=arguments.timeout)
    return 0


def _places(arguments: argparse.Namespace) -> tuple[Path, list[str], Path]:
    """The directory of the files, their names, and the file of the key. Raises LesseeError."""
    if (arguments.directory is None) is not (arguments.key_file is None):
        raise UsageError("--directory and --key-file need each other", todo="write both, or a configuration")
    if arguments.directory is not None:
        directory = Path(arguments.directory)
        try:
            names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
        except OSError as exc:
            todo = "name the directory of an app of a running agent"
            raise UsageError(f"cannot be read: {exc.strerror}", where=str(directory), todo=todo) from None
        return directory, names, Path(arguments.key_file)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ)
    app = app_of(config, arguments.app, path)
    return Path(app.directory), [file.name for file in app.files], Path(config.state_dir) / "push.key"


def _contents(directory: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    contents = read_generation(directory, names, timeout=0)
    for file, content in contents.items():
        if not 0 < len(content) <= swarm.MAX_SIZE:
            what = f"it has {len(content)} bytes, and a secret of Swarm 1 to {swarm.MAX_SIZE}"
            raise UsageError(what, where=file, todo="split the template into several files")
    return contents


def _push(
    engine: "_Engine",
    app: str,
    contents: Mapping[str, bytes],
    fingerprints: Mapping[str, str],
    services: Collection[str],
    *,
    timeout: float,
) -> None:
    before = swarm.owned(engine.secrets(app), app)
    found = {name: engine.service(name) for name in services}
    for name, service in found.items():
        if not swarm.uses(service["Spec"], before):
            what = f"the service {name} uses no secret that lessee has created for {app}"
            names = ", ".join(swarm.secret_name(app, file, 1) for file in contents)
            todo = f"push without --service first, and give the service a secret, such as {names}"
            raise UsageError(what, where=f"service {name}", todo=todo)
    wanted = dict(swarm.newest(app, fingerprints, before))
    created = []
    for file, secret in wanted.items():
        if not secret.id:
            wanted[file] = replace(secret, id=engine.create(app, secret, contents[file]))
            created.append(wanted[file])
            _print(f"created {secret.name}")
    try:
        for name in found:
            _update(engine, name, before, wanted, timeout)
    except LesseeError:
        _remove(engine, created)
        raise
    if services:
        _remove(engine, [secret for secret in before if secret != wanted.get(secret.file)])


def _update(
    engine: "_Engine", name: str, before: Collection[SwarmSecret], wanted: Mapping[str, SwarmSecret], timeout: float
) -> None:
    """Replace the secrets of a service. Raises NotNotifiedError after the service has got its old ones again."""
    service = engine.service(name)
    spec = swarm.updated(service["Spec"], before, wanted)
    if spec is None:
        _print(f"unchanged {name}")
        return
    engine.update(service, spec)
    deadline = time.monotonic() + timeout
    stable: tuple[set[str], float] | None = None
    while stable is None or time.monotonic() - stable[1] < _STABLE:
        # The tasks first: the state may be that of the update before it only if they are so too.
        tasks, service = engine.tasks(name), engine.service(name)
        ids = {task["ID"] for task in tasks}
        if not swarm.is_settled(service, tasks):
            stable = None
        elif stable is None or stable[0] != ids:
            stable = ids, time.monotonic()
        if swarm.has_failed(service) or (stable is None and time.monotonic() > deadline):
            _roll_back(engine, name, spec)
            what = f"the service {name} did not become healthy with the new secrets, and has its old ones again"
            raise NotNotifiedError(what, where=f"service {name}", todo=f"see `docker service ps --no-trunc {name}`")
        time.sleep(_POLL)
    _print(f"updated {name}")


def _roll_back(engine: "_Engine", name: str, spec: swarm.Spec) -> None:
    """Wait until Swarm itself has rolled back; where the service has another `failure_action`, roll back."""
    service = engine.service(name)
    if swarm.secret_ids(service["Spec"]) == swarm.secret_ids(spec):
        engine.roll_back(service)
    deadline = time.monotonic() + _ROLLBACK_TIMEOUT
    while time.monotonic() < deadline:
        state = (engine.service(name).get("UpdateStatus") or {}).get("State")
        if state in {"rollback_completed", "rollback_paused"}:
            return
        time.sleep(_POLL)


def _remove(engine: "_Engine", old: Collection[SwarmSecret]) -> None:
    for secret in old:
        # Another service uses it; a later push of that service removes it.
        with suppress(NotNotifiedError):
            engine.remove(secret)
            _print(f"removed {secret.name}")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Engine:
    """Requests to a manager of the Swarm. Each raises NotNotifiedError, whose text has nothing of a request."""

    def __init__(self, client: Any) -> None:
        self._api = client

    def secrets(self, app: str) -> list[dict[str, Any]]:
        with translated_errors("listing secrets"):
            return list(self._api.secrets(filters={"label": f"{swarm.APP}={app}"}))

    def create(self, app: str, secret: SwarmSecret, content: bytes) -> str:
        """Returns its id."""
        with translated_errors(f"creating the secret {secret.name}"):
            return str(self._api.create_secret(secret.name, content, labels={swarm.APP: app, **secret.labels})["ID"])

    def remove(self, secret: SwarmSecret) -> None:
        with translated_errors(f"removing the secret {secret.name}"):
            self._api.remove_secret(secret.id)

    def service(self, name: str) -> dict[str, Any]:
        with translated_errors(f"inspecting the service {name}"):
            return dict(self._api.inspect_service(name))

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """Those that should run."""
        with translated_errors(f"listing the tasks of {service}"):
            return list(self._api.tasks(filters={"service": service, "desired-state": "running"}))

    def update(self, service: Mapping[str, Any], spec: swarm.Spec) -> None:
        self._update(service, spec, {})

    def roll_back(self, service: Mapping[str, Any]) -> None:
        self._update(service, service["Spec"], {"rollback": "previous"})

    def _update(self, service: Mapping[str, Any], spec: swarm.Spec, parameters: Mapping[str, str]) -> None:
        # The SDK's own method would build a spec of what it knows, and lose the rest.
        with translated_errors("updating the service"):
            url = self._api._url("/services/{0}/update", service["ID"])  # noqa: SLF001
            parameters = {"version": service["Version"]["Index"], "registryAuthFrom": "spec", **parameters}
            self._api._raise_for_status(self._api._post_json(url, data=spec, params=parameters))  # noqa: SLF001


@contextmanager
def _engine() -> Iterator[_Engine]:
    with translated_errors("asking for its version"):
        from lessee.notification.engine_client import open_client  # noqa: PLC0415  # Its package may be missing.

        client = open_client(_REQUEST_TIMEOUT)
        is_manager = (client.info().get("Swarm") or {}).get("ControlAvailable")
    try:
        if not is_manager:
            todo = "run it on a manager, or name one with $DOCKER_HOST"
            raise NotNotifiedError("this Engine is no manager of a Swarm", todo=todo)
        yield _Engine(client)
    finally:
        client.close()
