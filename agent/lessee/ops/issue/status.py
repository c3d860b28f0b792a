"""The status of `lessee issue`, which counts what it logs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lessee import __version__
from lessee.audit_trail.policy.actions import rfc3339
from lessee.audit_trail.service_recording import with_audit_status
from lessee.config import Config
from lessee.core.status_format import FORMAT
from lessee.host.clock import wall_time

if TYPE_CHECKING:
    from lessee.audit_trail.recorder import AuditRecorder
    from lessee.ops.issue.policy.status_fields import IssuerStatus as Fields


class IssuerStatus:
    """The StatusSource of the service."""

    def __init__(self, config: Config, recorder: "AuditRecorder | None") -> None:
        assert config.issue is not None
        self._environment, self._recorder = config.environment, recorder
        self._issued = dict.fromkeys(config.issue.roles, 0)
        self._last: dict[str, str] = {}
        self._refused = 0
        self._problem = ""

    def hear(self, event: str, fields: Mapping[str, object]) -> None:
        """Count an event of the log."""
        role = str(fields.get("role", ""))
        match event:
            case "secret_id issued":
                self._issued[role] = self._issued.get(role, 0) + 1
                self._last[role] = rfc3339(wall_time())
                self._problem = ""
            case "secret_id refused":
                self._refused += 1
            case "issuer not ready":
                self._problem = f"not ready: {fields.get('reason')}"
            case "secret_id not issued":
                self._problem = f"secret_id not issued: {fields.get('reason')}"
            case _:
                pass

    def is_alive(self) -> bool:
        """True: each question has a thread of its own."""
        return True

    def refresh(self, names: tuple[str, ...]) -> list[str]:
        """Nothing can be refreshed."""
        return list(names)

    def status(self) -> Mapping[str, Any]:
        """The content of status.json."""
        problems = [self._problem] if self._problem else []
        status: Fields = {
            "version": __version__,
            "format": FORMAT,
            "environment": self._environment,
            "ready": True,
            "fresh": not problems,
            "roles": {
                name: {"issued": count, "last_issued_at": self._last.get(name)} for name, count in self._issued.items()
            },
            "refused": self._refused,
            "problems": problems,
        }
        return with_audit_status(status, self._recorder)

    def metrics(self) -> bytes:
        """The text format of the metrics."""
        # Imported at the first scrape: without scrapes it would cost memory for nothing.
        from lessee.ops.issue.metrics import exposition  # noqa: PLC0415

        return exposition(self.status())
