"""What people do about responses: undo one, and approve one."""

import os
import sys
from collections.abc import Mapping
from getpass import getpass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config.grammar.responses import Responses, RunCommand
from lessee.config.monitor import response_name
from lessee.core.errors import ConfigError, LesseeError, ManuallyChangedError, UsageError, WriteError
from lessee.host.clock import boot_time, wall_time
from lessee.ops.monitor.policy.protection import is_role_name
from lessee.ops.monitor.policy.response_log import Record, latest, sentence, undo_hint, with_event
from lessee.ops.monitor.responses import signatures
from lessee.ops.monitor.responses.journal import ResponseJournal
from lessee.ops.monitor.responses.vault_actions import is_disabled, read_networks, write_networks
from lessee.ops.monitor.wiring import ActiveConfig
from lessee.process.programs import run
from lessee.process.spawn import configure_programs
from lessee.status.client import known_format, request_status
from lessee.vault.admin import admin_client

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SHOWN = 10
_MAX_KEY = 16 * 1024


def undo(active: ActiveConfig, response_id: str, environ: Mapping[str, str], *, yes: bool) -> str:
    """Undo a response, and return what was done. Raises LesseeError."""
    journal = ResponseJournal(Path(active.monitor.state_dir), create=False)
    try:
        record = _known(journal, response_id)
        _refuse(record)
        # Only the configuration says what runs: the monitor's user may write its log.
        command = _undo_command(active, record) if record.action == "command" else None
        what = (
            " ".join(command)
            if command
            else f"let {record.role} log in from {', '.join(record.previous) or 'anywhere'}"
        )
        _confirm(f"This undoes {record.id}: {what}", yes=yes)
        config = active.config
        about = {"id": record.id, "response": record.response, "target": record.target}
        with recorded_action(config.audit_trail, environ, "alert response undone", config.environment, **about):
            if command:
                _run_undo(active, record, command)
            else:
                with admin_client(config.vault, environ, boot_time) as client:
                    if not is_disabled(read_networks(client, record.role)):
                        what = f"role {record.role} is not disabled any more, so nothing was changed"
                        raise ManuallyChangedError(what, where=f"auth/approle/role/{record.role}")
                    write_networks(client, record.role, record.previous)
            journal.add(with_event(record, "undone", wall_time(), environ.get("SUDO_USER") or f"uid {os.geteuid()}"))
    finally:
        journal.close()
    return f"undone: {what}"


def request_of(socket: Path, response_id: str) -> str:
    """What an approver signs, as the running monitor has it. Raises AgentUnavailableError and UsageError."""
    status = request_status(socket, "GET", "/status.json")
    with known_format(socket):
        waiting: dict[str, Any] = {one["id"]: one["request"] for one in status["responses"]["pending"]}
        if response_id in waiting:
            request = str(waiting[response_id])
            if not all(line.isprintable() for line in request.split("\n")):
                raise UsageError(f"the request of {response_id} is not printable", todo="do not approve it")
            return request
    names = ", ".join(waiting) or "none"
    raise UsageError(f"no response {response_id} waits for approval", todo=f"those that wait: {names}")


def approve(active: ActiveConfig, response_id: str, request: str, key_file: Path, *, yes: bool) -> Path:
    """Sign a request, and leave the signature where the monitor looks for it. Raises LesseeError."""
    responses = active.monitor.responses
    if responses is None or responses.approvals_dir is None:
        raise ConfigError([LesseeError("nothing needs an approval", where="monitor.responses", todo="see `approval`")])
    key = _private_key(key_file)
    signature = signatures.sign(request.encode(), key)
    _refuse_stranger(request, signature, responses, key_file)
    _confirm(request.rstrip(), yes=yes)
    file = Path(responses.approvals_dir) / f"{response_id}.sig"
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(fd, 0o644)  # The monitor's user reads it, whatever the umask is.
            stream.write(signature)
        new.rename(file)
    except OSError as exc:
        todo = "create `approvals_dir`, writable for the approvers"
        raise WriteError(f"cannot write the approval: {exc.strerror}", where=str(file), todo=todo) from None
    return file


def _known(journal: ResponseJournal, response_id: str) -> Record:
    records = latest(journal.records)
    if response_id in records:
        return records[response_id]
    now = wall_time()
    lines = [f"\n  {one.id}  {sentence(one, now)}" for one in list(records.values())[-_SHOWN:]]
    raise UsageError(f"there is no response {response_id}", todo=f"the last ones:{''.join(lines) or ' none'}")


def _refuse(record: Record) -> None:
    what = f"{record.action} {record.target}"
    if record.event in {"asked", "undone"} or record.dry_run:
        raise UsageError(f"{what} changed nothing that is left to undo: {sentence(record, wall_time())}")
    if record.action == "disable-role" and not is_role_name(record.role):
        raise UsageError(f"{record.id} names no role", where="responses.jsonl")  # The monitor's user may write it.
    if not all(map(_is_network, record.previous)):
        # A control character could hide in a terminal what is confirmed.
        raise UsageError(f"{record.id} names no networks", where="responses.jsonl")
    if not record.undoable:
        raise UsageError(f"{what} {undo_hint(record)}")


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text


def _undo_command(active: ActiveConfig, record: Record) -> tuple[str, ...]:
    responses = active.monitor.responses
    for response in responses.actions if responses is not None else ():
        if response_name(response) == record.response and isinstance(response, RunCommand) and response.undo:
            return response.undo
    todo = "add it to the configuration"
    raise UsageError(f"the response {record.response} has no `undo`", where="monitor.responses", todo=todo)


def _run_undo(active: ActiveConfig, record: Record, command: tuple[str, ...]) -> None:
    programs = active.config.programs
    configure_programs(programs.environment, programs.user)
    extra = {"LESSEE_ALERT_RULE": record.rule, "LESSEE_ALERT_SUBJECT": record.subject, "LESSEE_RESPONSE_ID": record.id}
    result = run(command, timeout=300.0, extra=extra)
    if not result.succeeded:
        raise LesseeError(f"{command[0]} {result.failure}", where="undo")


def _private_key(file: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # Only approvers need it.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key  # noqa: PLC0415

    todo = f"sign the output of --print with `ssh-keygen -Y sign -n {signatures.NAMESPACE}`, or name another --key-file"
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_KEY)
    except OSError as exc:
        raise UsageError(f"cannot read the key: {exc.strerror}", where=str(file), todo=todo) from None
    try:
        try:
            key = load_ssh_private_key(content, None)
        except TypeError:  # It needs a passphrase.
            key = load_ssh_private_key(content, getpass(f"passphrase of {file}: ").encode())
    except (ValueError, TypeError, UnsupportedAlgorithm, EOFError):
        raise UsageError("the key cannot be opened", where=str(file), todo=todo) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("it is no ssh-ed25519 key", where=str(file), todo=todo)
    return key


def _refuse_stranger(request: str, signature: bytes, responses: Responses, key_file: Path) -> None:
    try:
        signatures.signer(request.encode(), signature, responses.approvers)
    except signatures.InvalidSignatureError as exc:
        todo = "use another --key-file, or add its public key to `monitor.responses.approvers`"
        raise UsageError(f"the monitor would not accept it: {exc}", where=str(key_file), todo=todo) from None


def _confirm(what: str, *, yes: bool) -> None:
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():  # None: stdin was closed.
        raise UsageError("no terminal to ask for confirmation", todo="add --yes")
    sys.stdout.write(f"{what}\nContinue? (yes/no): ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed, and nothing was changed")
