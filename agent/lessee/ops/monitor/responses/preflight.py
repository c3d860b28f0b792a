"""Checks before any alert whether a response could run: its program, the login, and what that login may do."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping

from lessee.config.grammar.responses import AnyResponse, DisableRole, Emergency, Responses, RevokeToken, RunCommand
from lessee.core.errors import LesseeError
from lessee.ops.monitor.responses.vault_actions import VaultActions
from lessee.process.spawn import program_environ

_ANY_ROLE = "auth/approle/role/any/secret-id-bound-cidrs"
"""As good as every role that is not protected: the policy has one rule for them."""

Needs = Mapping[str, tuple[str, ...]]
"""The capabilities of each path."""


def check(response: AnyResponse, config: Responses, vault: Callable[[], VaultActions]) -> None:
    """Raise LesseeError where the response cannot run. `vault` logs in."""
    if response.approval == "required" and not os.access(config.approvals_dir or "", os.X_OK):
        todo = "create it, writable for the approvers, and such that the monitor's user may enter it"
        raise LesseeError("the monitor's user cannot read approvals there", where=config.approvals_dir or "", todo=todo)
    if isinstance(response, RunCommand):
        for program in (response.command[0], *(response.undo or ())[:1]):
            _check_program(program)
        return
    lacking = list(vault().lacking(_needs(response, config.audit_device)))
    if lacking:
        todo = "`lessee check --policy --monitor` prints the policy, and `lessee setup` writes it"
        raise LesseeError(f"the monitor's login lacks {', '.join(lacking)}", todo=todo)


def _check_program(program: str) -> None:
    if shutil.which(program, path=program_environ(os.environ).get("PATH", os.defpath)) is None:
        todo = "install it, or correct `monitor.responses.actions`"
        raise LesseeError("there is no such program that the monitor may execute", where=program, todo=todo)


def _needs(response: RevokeToken | DisableRole | Emergency, audit_device: str | None) -> Needs:
    return dict(_emergency_needs() if isinstance(response, Emergency) else _token_needs(response, audit_device))


def _token_needs(
    response: RevokeToken | DisableRole, audit_device: str | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "auth/token/lookup-accessor", ("update",)
    if audit_device is not None:
        yield "auth/token/accessors", ("list", "sudo")
        yield f"sys/audit-hash/{audit_device}", ("update",)
    if isinstance(response, DisableRole):
        yield _ANY_ROLE, ("read",) if response.dry_run else ("read", "update")
    elif not response.dry_run:
        yield "auth/token/revoke-accessor", ("update",)


def _emergency_needs() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The first of its requests, and those that end access. It lists what else it could not do."""
    yield "sys/mounts", ("read",)
    yield "sys/auth", ("read",)
    yield "sys/policies/acl/", ("list",)
    yield "auth/token/accessors", ("list", "sudo")
    yield "auth/token/revoke-accessor", ("update",)
