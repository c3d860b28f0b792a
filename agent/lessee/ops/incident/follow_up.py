"""Notes in KV which logins an emergency has revoked, and finds which of them there are again.

The note is outside of the environment's folder. Only operators may write there, so `lessee setup` trusts it: it puts
the time of the emergency into the metadata of new secret_ids, and agents show it in their status.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.audit_trail.policy.actions import rfc3339
from lessee.config import Config
from lessee.core.consumers import CONSUMER_FOLDER
from lessee.core.emergencies import note_path, revoked_roles, with_roles
from lessee.core.errors import LesseeError
from lessee.core.timestamps import parse_timestamp
from lessee.ops.incident.discovery import list_tokens
from lessee.ops.incident.policy.findings import Findings
from lessee.ops.incident.policy.follow_up import Report, report
from lessee.ops.incident.policy.plan import Step
from lessee.ops.incident.policy.report import ChangeResult
from lessee.vault.admin import AdminClient


def note_emergency(
    client: AdminClient, config: Config, findings: Findings, results: tuple[ChangeResult, ...], at: float
) -> str:
    """Write the note. Returns why it could not be written, which does not make an emergency incomplete."""
    done = [result.change for result in results if not result.error]
    revoked = {change.body["accessor"] for change in done if change.step is Step.TOKENS}
    roles = {change.subject: 0 for change in done if change.step is Step.SECRET_IDS}
    for token in findings.tokens:
        if token.role and token.accessor in revoked:
            roles[token.role] = roles.get(token.role, 0) + 1
    if not roles:
        return ""
    mount, path = config.secrets.mount, note_path(findings.exposure.environment)
    try:
        version = int((client.read(f"{mount}/metadata/{path}") or {}).get("current_version") or 0)
        note = with_roles(_note(client, mount, path), roles, rfc3339(at))
        client.write(f"{mount}/data/{path}", {"data": note, "options": {"cas": version}})
    except LesseeError as exc:
        return str(exc)
    return ""


def follow_up(client: AdminClient, config: Config, environment: str) -> tuple[str, bool]:
    """The report, and whether each role that had a login has one again. Raises DeniedError, VaultUnreachableError."""
    roles = revoked_roles(_note(client, config.secrets.mount, note_path(environment)))
    tokens, problems = list_tokens(client)
    text, missing = report(environment, roles, tokens, _reports(client, config) if roles else (), rfc3339)
    return text + "".join(f"  cannot be read: {problem}\n" for problem in problems), not (missing or problems)


def _note(client: AdminClient, mount: str, path: str) -> Mapping[str, Any]:
    data = (client.read(f"{mount}/data/{path}") or {}).get("data")
    return data if isinstance(data, Mapping) else {}


def _reports(client: AdminClient, config: Config) -> Iterator[Report]:
    folder = f"{config.secrets.mount}/metadata/{config.secrets.prefix}{CONSUMER_FOLDER}"
    for app in client.list(folder.removesuffix("/")):
        for instance in client.list(f"{folder}{app.removesuffix('/')}"):
            if "+" not in instance:  # Otherwise it is the rest of a long report.
                found = client.read(f"{folder}{app}{instance}") or {}
                yield Report(f"{app}{instance}", parse_timestamp(str(found.get("updated_time"))) or 0.0)
