"""The block `monitor.responses`: what the monitor does when an alert fires, and how often at most."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, Command, describe


class Response(Block, frozen=True, kw_only=True, tag_field="action"):
    """What the monitor does when an alert of a rule fires."""

    rule: Annotated[
        scalars.Name, describe("The name of the rule whose alerts cause the response, such as `consecutive-denials`.")
    ]
    name: Annotated[
        scalars.Name | None,
        describe("The name of the response. Default: the action and the rule, such as `revoke-token.reads`."),
    ] = None
    max_per_hour: Annotated[
        scalars.Count, describe("The number of times within an hour that the monitor does it, whatever happens.")
    ] = 1
    dry_run: Annotated[
        scalars.Boolean, describe("true changes nothing: the alert says what the response would have done.")
    ] = False
    approval: Annotated[
        Literal["none", "required"],
        describe("`required` waits until one of monitor.responses.approvers has signed with `lessee monitor approve`."),
    ] = "none"


class RevokeToken(Response, frozen=True, kw_only=True, tag="revoke-token"):
    """Revokes each token that itself did what the rule is about, with its children and leases."""


class DisableRole(Response, frozen=True, kw_only=True, tag="disable-role"):
    """Refuses logins of the AppRole whose token did what the rule is about; existing tokens stay valid."""


class Emergency(Response, frozen=True, kw_only=True, tag="emergency"):
    """Runs `lessee emergency` for one path. It needs an approval."""

    path: Annotated[scalars.SecretPath, describe("The path to which all access ends, such as `database/postgres`.")]


class RunCommand(Response, frozen=True, kw_only=True, tag="command"):
    """Runs a program, with the alert in $LESSEE_ALERT_RULE, $LESSEE_ALERT_SUBJECT and $LESSEE_ALERT_TEXT."""

    command: Annotated[
        Command, describe("The program and its arguments; no shell interprets them, and `programs` confines it.")
    ]
    undo: Annotated[
        Command | None, describe("The program that `lessee monitor undo` runs. Default: it cannot be undone.")
    ] = None
    timeout: Annotated[scalars.Timeout, describe("How long the program may run before the monitor kills it.")] = 30.0


AnyResponse = RevokeToken | DisableRole | Emergency | RunCommand


class Responses(Block, frozen=True, kw_only=True):
    """What the monitor does when alerts fire. Without this block it only sends them."""

    actions: Annotated[
        Annotated[tuple[AnyResponse, ...], Meta(min_length=1)], describe("The responses, each bound to a rule.")
    ]
    protected: Annotated[
        tuple[scalars.Text, ...],
        describe(
            "Patterns of the roles, policies, display names and entity ids that no response strikes, such as `ci-*`. "
            "Rotators, monitors, root tokens, and tokens that may write these policies are always protected."
        ),
    ]
    audit_device: Annotated[
        scalars.MountPath | None,
        describe(
            "The path of the audit device whose HMACs hide accessors, such as `file`. "
            "Default: the device has `hmac_accessor = false`."
        ),
    ] = None
    approvers: Annotated[
        dict[scalars.Name, scalars.SshKey],
        describe("The SSH public keys (ssh-ed25519) of the people who may approve a response, by name."),
    ] = field(default_factory=dict)
    approvals_dir: Annotated[
        scalars.AbsolutePath | None,
        describe("The directory into which approvers write their signatures, and that the monitor may read."),
    ] = None
    approval_timeout: Annotated[
        scalars.Timeout, describe("How long a response waits for its approval before the monitor drops it.")
    ] = 3600.0
