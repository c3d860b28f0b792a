"""`lessee set`: writes one key of a secret, and waits until the apps that read it work with the new version."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config import Config
from lessee.config.grammar.rotation import Manual
from lessee.core.errors import AgentUnavailableError, DeniedError, LesseeError, UsageError, VaultRequestError
from lessee.core.paths import Ref
from lessee.core.printable import spelled_out
from lessee.host.clock import boot_time
from lessee.host.project import find, load, read
from lessee.ops.access.command import server_of
from lessee.ops.edit.policy.edits import Fields, changes_of, check_note, edited, new_type, with_note
from lessee.ops.edit.policy.readers import PROOFS, Progress, progress, readers
from lessee.ops.edit.policy.similar_path import similar_path
from lessee.ops.rotate.command.context import check_environment
from lessee.ops.rotate.documents import ConcurrentWriteError, Document, DocumentStore
from lessee.ops.setup.command.prompt import ask
from lessee.ops.setup.policy.initial_values import ALPHABET, parsed
from lessee.process.hardening import harden
from lessee.rendering.app_templates import path_scope_of
from lessee.status.client import known_format, request_status
from lessee.vault.admin import AdminClient, admin_client

_INCOMPLETE = 75
_ATTEMPTS = 5
"""Writes, when others write the secret in the same moments."""
_INTERVAL = 0.1
"""Seconds between two looks at the agent's status."""
_LARGEST = 1 << 20
"""Bytes of a value: Vault refuses larger requests."""


def run(arguments: argparse.Namespace) -> int:
    """0 once every app of the local agent that reads the secret works with it; 75 if one does not in time."""
    harden()
    _check_arguments(arguments)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, environment=arguments.environment, blocks=("rotation",))
    check_environment(arguments.environment, config, path, environ)
    ref = _ref(config, arguments)
    where = f"{ref}: {arguments.key}"
    names = _readers(path, environ, arguments.environment, ref)
    about = {"path": str(ref), "key": arguments.key, "server": config.vault.address}
    with admin_client(config.vault, environ, boot_time) as client:
        store = DocumentStore(client, ref.mount)
        store.check()
        _check_target(client, store, config, ref, arguments)  # A mistyped name is an error before the value is typed.
        _advise_entry(config, ref)
        value = _value(arguments, where)
        with recorded_action(config.audit_trail, environ, "set", config.environment, **about) as action:
            version, before = _write(store, ref, arguments, value, where)
            action.step(f"version {version}")
            _say(f"{where} is set: version {version}")
            if changed := new_type(before, value):
                _say(f"note: {changed}; --json writes numbers, booleans, lists and objects")
            if arguments.note is not None:
                _add_note(client, ref, version, arguments.note)
    _say_rotated(config, ref)
    _say("read by: " + (", ".join(names) or "no app of this configuration") if names is not None else _UNKNOWN)
    if arguments.no_wait or names == ():
        return 0
    return _wait(config, arguments, str(ref), version, names)


_UNKNOWN = "which apps read it is not known here: the configuration's templates cannot be read (see `lessee check`)"


def _check_arguments(arguments: argparse.Namespace) -> None:
    if not arguments.key:
        raise UsageError("KEY is empty", todo="name the key of the secret, such as password")
    if arguments.value or "=" in arguments.key:
        # The error does not repeat it: the audit trail and a CI job's log would keep the value.
        what = "the value is no argument, because other users and the shell's history can see it"
        raise UsageError(what, todo="name PATH and KEY alone, and type the value at the prompt or pipe it in")
    if arguments.generate is not None and arguments.json:
        raise UsageError("--generate and --json exclude each other", todo="omit one of them")
    if arguments.note is not None:
        check_note(arguments.note)


def _ref(config: Config, arguments: argparse.Namespace) -> Ref:
    """The secret. Raises UsageError for what is no path, and for one that the configuration does not allow."""
    try:
        return path_scope_of(config).secret(arguments.path, mount=arguments.mount)
    except DeniedError as exc:
        raise UsageError(exc.what, where=exc.where, todo=exc.todo) from None


def _check_target(
    client: AdminClient, store: DocumentStore, config: Config, ref: Ref, arguments: argparse.Namespace
) -> None:
    """Raises UsageError for what the arguments do not allow, with a similar path if there is no such secret."""
    document = store.read(ref.path)
    try:
        _edit(document, ref, arguments, "")
    except UsageError as exc:
        prefix = config.secrets.prefix if ref.path.startswith(config.secrets.prefix) else ""
        similar = None if document.version else _similar(client, ref, prefix)
        if similar is None:
            raise
        raise UsageError(exc.what, where=exc.where, todo=f"did you mean {similar}? If not, {exc.todo}") from None


def _similar(client: AdminClient, ref: Ref, prefix: str) -> str | None:
    """The nearest path in the environment; None also where this login may not list it."""
    try:
        return similar_path(
            ref.path.removeprefix(prefix), lambda folder: client.list(f"{ref.mount}/metadata/{prefix}{folder}")
        )
    except VaultRequestError:
        return None


def _readers(path: Path, environ: Mapping[str, str], environment: str | None, ref: Ref) -> tuple[str, ...] | None:
    """The apps that read the secret; None where that is not known, as without the templates."""
    try:
        project = load(path, environ, prepare=False, for_child=True, environment=environment)
    except LesseeError:
        return None
    top = server_of(project.config.vault)
    apps = {
        name: compiled.references
        for name, compiled in project.compiled_apps.items()
        if server_of(compiled.app.vault) == top
    }
    return readers(apps, ref)


def _value(arguments: argparse.Namespace, where: str) -> object:
    """The new value: generated, typed at the terminal without echo, or the whole standard input."""
    if arguments.generate is not None:
        return "".join(secrets.choice(ALPHABET) for _ in range(arguments.generate))
    if sys.stdin is not None and sys.stdin.isatty():
        text = ask(where)
        if ask(f"{where} again") != text:
            raise UsageError("the two values differ; nothing was written", where=where, todo="run it again")
    else:
        text = _input(where)
    return parsed(text, where=where) if arguments.json else text


def _input(where: str) -> str:
    todo = "run it at a terminal, pipe the value into it, or add --generate"
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError(f"standard input is larger than {_LARGEST} bytes", where=where, todo="pipe the value alone")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("standard input is not UTF-8 text", where=where, todo="encode it, as with base64") from None
    if not text:
        raise UsageError("no value: standard input is empty", where=where, todo=todo)
    return text


def _write(
    store: DocumentStore, ref: Ref, arguments: argparse.Namespace, value: object, where: str
) -> tuple[int, object]:
    """Write over the newest version, whatever else writes the secret meanwhile.

    Returns the new version, and the value before; None if the key is new.
    """
    for _ in range(_ATTEMPTS):
        document = store.read(ref.path)
        try:
            version = store.write(ref.path, _edit(document, ref, arguments, value), document.version)
        except ConcurrentWriteError:
            continue
        return version, document.fields.get(arguments.key)
    what = f"others wrote it {_ATTEMPTS} times in the same moments; nothing was written"
    raise DeniedError(what, where=where, todo="run it again")


def _edit(document: Document, ref: Ref, arguments: argparse.Namespace, value: object) -> Fields:
    """The document's fields with the value. Raises UsageError for what the arguments do not allow."""
    if arguments.cas is not None and document.version != arguments.cas:
        what = f"its version is {document.version}, not {arguments.cas}"
        raise UsageError(what, where=str(ref), todo="look at what has changed, and name its version in --cas")
    if document.version and not document.fields and not arguments.create:
        todo = f"undelete it: bao kv undelete -mount={ref.mount} -versions={document.version} {ref.path}"
        raise UsageError(f"its version {document.version} is deleted", where=str(ref), todo=f"{todo}; or --create")
    exists = document.version > 0
    if not exists and not arguments.create and arguments.path.startswith(f"{ref.mount}/"):
        todo = f"omit the mount {ref.mount}/ and the environment, as in templates"
        raise UsageError("no such secret", where=str(ref), todo=todo)
    return edited(document.fields, arguments.key, value, where=str(ref), exists=exists, create=arguments.create)


def _add_note(client: AdminClient, ref: Ref, version: int, note: str) -> None:
    """Add the note, and leave what others write to the custom metadata meanwhile."""
    where = f"{ref.mount}/metadata/{ref.path}"
    before = (client.read(where) or {}).get("custom_metadata") or {}
    after = with_note(before, version, note)
    try:
        client.patch(where, {"custom_metadata": changes_of(before, after)})
    except DeniedError:
        # The policy has no `patch`, or the server is older than 1.9: only the whole can be written.
        client.write(where, {"custom_metadata": after})


def _advise_entry(config: Config, ref: Ref) -> None:
    scope = path_scope_of(config)
    for name, target in config.rotation.items():
        if isinstance(target, Manual) and scope.secret(target.secret) == ref:
            does = "tests it before the apps get it" if target.recipe or target.verify else "asks for it"
            what = f"note: this is the secret of the manual rotation target {name!r}"
            _say(f"{what}: `lessee rotate {name} --enter` {does}, and records when it is due again")


def _say_rotated(config: Config, ref: Ref) -> None:
    scope = path_scope_of(config)
    for name, target in config.rotation.items():
        if not isinstance(target, Manual) and scope.secret(target.secret) == ref:
            _say(f"note: the rotation target {name!r} writes this secret too; the next rotation replaces the value")


def _wait(config: Config, arguments: argparse.Namespace, path: str, version: int, names: Collection[str] | None) -> int:
    """Wait for the agent of the configuration's status socket; without one, say so."""
    socket = Path(arguments.socket or config.status.socket)
    began, said = time.monotonic(), set[str]()
    try:
        request_status(socket, "POST", "/refresh", [])
        while True:
            status = request_status(socket, "GET", "/status.json")
            with known_format(socket):
                found = progress(status["apps"], path, version, names)
            waited = time.monotonic() - began
            _say_progress(found, said, waited)
            if all(one.done or one.failed for one in found.values()):
                break
            if waited > arguments.timeout:
                for name, one in found.items():
                    if not one.done:
                        why = f": {one.error}" if one.error else ""
                        _say(f"{name}: not ready after {arguments.timeout:g} s{why}; see `lessee status`")
                return _INCOMPLETE
            time.sleep(_INTERVAL)
    except AgentUnavailableError as exc:
        _say(f"not waited for the apps: {exc.where}: {exc.what}; the agents read the new version on their own")
        return 0
    if not found:
        _say(f"the agent at {socket} reads it for no app")
    return _INCOMPLETE if any(one.failed for one in found.values()) else 0


def _say_progress(found: Mapping[str, Progress], said: set[str], waited: float) -> None:
    for name, one in found.items():
        if name not in said and (one.done or one.failed):
            said.add(name)
            if one.done:
                _say(f"{name}: {PROOFS[one.state].format(one.generation)}, after {waited:.1f} s")
            else:
                _say(f"{name}: {one.error}; it keeps generation {one.generation}")


def _say(text: str) -> None:
    print(spelled_out(text), flush=True)
