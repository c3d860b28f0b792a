"""The audit trail of a service: starts its recorder, and adds its state to the service's status."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lessee.config import Config
from lessee.core.redaction import Redactor

if TYPE_CHECKING:
    from lessee.audit_trail.policy.entries import Kind
    from lessee.audit_trail.recorder import AuditRecorder


def audit_recorder(
    config: Config, kind: "Kind", redactor: Redactor, environ: Mapping[str, str]
) -> AbstractContextManager["AuditRecorder | None"]:
    """Record what a service does within this context; gives None if no audit trail is configured."""
    if config.audit_trail is None:
        return nullcontext()
    from lessee.audit_trail.recorder import record_service  # noqa: PLC0415  # Few configurations have an audit trail.

    return record_service(config.audit_trail, kind, config.environment, redactor, environ)


def with_audit_status(status: Mapping[str, Any], recorder: "AuditRecorder | None") -> Mapping[str, Any]:
    """The status with the state of the audit trail, and with its problem if there is one."""
    if recorder is None:
        return status
    status = {**status, "audit_trail": {"writable": recorder.problem is None}}
    if recorder.problem is None:
        return status
    return {**status, "problems": [*status["problems"], f"the audit trail cannot be written: {recorder.problem}"]}
