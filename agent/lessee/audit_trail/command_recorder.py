"""What commands put into the trail, where the configuration has one."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lessee.config import Config
from lessee.core.redaction import Redactor

if TYPE_CHECKING:
    from lessee.audit_trail.policy.entries import Kind
    from lessee.audit_trail.recorder import Noting


def recording(
    config: Config, kind: "Kind", redactor: Redactor, environ: Mapping[str, str]
) -> AbstractContextManager["Noting | None"]:
    """So long, what a service does is recorded; None where there is no trail."""
    if config.trail is None:
        return nullcontext()
    from lessee.audit_trail.recorder import noting  # noqa: PLC0415  # Wanted by few.

    return noting(config.trail, kind, config.environment, redactor, environ)


def with_trail(status: Mapping[str, Any], trail: "Noting | None") -> Mapping[str, Any]:
    """A status, with how the trail is and what is wrong with it."""
    if trail is None:
        return status
    status = {**status, "trail": {"written": trail.problem is None}}
    if trail.problem is None:
        return status
    return {**status, "problems": [*status["problems"], f"the trail is not written: {trail.problem}"]}
