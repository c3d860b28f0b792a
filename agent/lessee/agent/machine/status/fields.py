"""The fields of an agent's status and their meanings, from which the reference's page is made."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

Timestamp = str
"""RFC 3339, in UTC."""


class Failure(TypedDict):
    """An error, when it began, and when the agent tries again."""

    error: str | None
    """Why the last request failed; null after one that succeeded."""
    since: Timestamp | None
    """When this error began."""
    next_retry_at: Timestamp | None
    """When the agent tries again."""


class VaultFields(TypedDict):
    """The server of an identity."""

    address: str
    """The server in use; one of `vault.addresses`."""
    reachable: bool
    """Whether the server answers. It is false before the first answer, and in an outage."""
    since: Timestamp | None
    """When the outage began; without an outage, when the server answered last."""
    next_retry_at: Timestamp | None
    """In an outage: when the agent sends the next request."""
    polling: Mapping[str, Literal["list", "metadata", "data"]]
    """How the agent notices changes in a folder: by a list of it, by each secret's metadata, or by its data."""


class TokenFields(TypedDict):
    """The token in use, without its value."""

    accessor: str
    """Its accessor; empty for a batch token."""
    expires_at: Timestamp | None
    """When it expires unless it is renewed; null if it does not expire."""
    request_id: str
    """The server's id of the request that returned it, which the server's audit log has too."""


class RevokedLoginFields(TypedDict):
    """A login that was revoked by another program."""

    found_at: Timestamp | None
    """When Vault refused the token that should still have been valid."""
    emergency_at: Timestamp | None
    """When `lessee emergency` revoked the login; null if the login does not name an emergency."""
    logged_in_at: Timestamp | None
    """When the agent logged in again."""


class IdentityFields(TypedDict):
    """One login, with its server and token. Apps with the same `vault` block share it."""

    id: str
    """A name that distinguishes this login from the others."""
    source: str | None
    """The name of the source that it reads in the place of Vault; null for a login to Vault."""
    apps: Sequence[str]
    """The apps whose secrets it reads."""
    vault: VaultFields
    token: TokenFields | None
    """null before the first login, after a token was revoked, and for a source."""
    revoked_login: RevokedLoginFields | None
    """null unless another program revoked the login."""


class SecretFields(Failure):
    """What an app's templates read."""

    path: str
    """Mount and path, after the name of the identity that reads it, if it is another one."""
    version: int | None
    """The version of a KV v2 secret; null for others."""
    read_at: Timestamp | None
    """When the agent read the value, or Vault issued it."""
    last_checked_at: Timestamp | None
    """When the agent last knew that the value is the current one."""


class NotifyFields(TypedDict):
    """The notification of an app's process."""

    pending: bool
    """Whether the app must still be notified of the published files."""
    last: Timestamp | None
    """When the app was last notified."""
    error: str | None
    """Why the last notification failed."""


class ReadinessFields(TypedDict):
    """The probe after a notification."""

    pending: bool
    """Whether the probe of the published files still runs."""
    error: str | None
    """Why the app is not ready, or why its files were rolled back."""


class DriftFields(TypedDict):
    """Files that another program changed."""

    total: int
    """How often the agent found its files changed."""
    last: Timestamp | None
    """When it last found that."""
    found: str | None
    """What was changed last."""
    error: str | None
    """Why the files could not be restored."""


class AppFields(TypedDict):
    """One app."""

    generation: int | None
    """The number of the published files; null before the first publication."""
    published_at: Timestamp | None
    """When they were published."""
    pending: bool
    """Whether files with new secrets are being rendered or published."""
    state: Literal["waiting", "published", "notified", "ready", "rolled_back", "rejected"]
    """The state of the newest files: missing, published, the app was notified, it is ready, they were rolled back, or
    its check rejected them."""
    fresh: bool
    """Whether all its secrets were checked in time, and its files are the newest."""
    last_checked_at: Timestamp | None
    """The oldest check among its KV secrets."""
    degraded: str | None
    """Why its files may be of limited use: `env` or `last_known_good` (a fallback), or what expired or is missing."""
    degraded_since: Timestamp | None
    """Since when."""
    next_retry_at: Timestamp | None
    """When a notification or a publication that failed is tried again."""
    error: str | None
    """Why its newest files are not published."""
    consumer: str | None
    """APP/INSTANCE, under which the agent reports to the rotator which versions the app uses."""
    secrets: Sequence[SecretFields]
    notify: NotifyFields
    ended_at: Timestamp | None
    """When its process ended after a signal; null if it did not, or is back."""
    readiness: ReadinessFields | None
    """null without `ready` in its configuration."""
    drift: DriftFields


class LeaseFields(Failure):
    """A dynamic secret, a certificate, or the password of a static role."""

    path: str
    """The path that issued it, with its parameters."""
    lease_id: str | None
    """Vault's id; null for a certificate without a lease, and for a static role."""
    issued_at: Timestamp | None
    """When it was issued."""
    expires_at: Timestamp | None
    """When it expires unless it is renewed; null for a static role."""
    expires_in: float | None
    """Seconds until then; of a static role, until its next rotation."""
    renew_at: Timestamp | None
    """When the agent renews or replaces it."""
    state: Literal["held", "retiring", "expired"]
    """`held`: in use. `retiring`: replaced, and revoked once no app uses it any more. `expired`: ended."""
    apps: Sequence[str]
    """The apps whose files may contain it."""


class RoundsFields(TypedDict):
    """How long it took to read changed KV secrets, since the start of the process."""

    buckets: Sequence[Sequence[float]]
    """Pairs: a bound in seconds, and how many rounds took at most as long."""
    count: int
    """How many rounds there were."""
    sum: float
    """The seconds of all rounds together."""


class TotalsFields(TypedDict):
    """Counters since the start of the process."""

    requests: int
    """Requests to Vault."""
    request_failures: int
    """Requests that failed."""
    logins: int
    """Logins, without those that failed."""
    renders: int
    """Renderings of an app's files."""
    publications: int
    """Generations of files that were published."""
    notifications: int
    """Notifications that succeeded."""
    readiness_passed: int
    """Readiness probes that succeeded."""
    rollbacks: int
    """Generations that were rolled back."""
    leases_issued: int
    """Leases that Vault issued."""
    lease_renewals: int
    """Renewals of leases."""
    leases_revoked: int
    """Leases that the agent revoked."""


class AgentStatus(TypedDict):
    """The status of an agent."""

    version: str
    """The version of lessee that runs."""
    format: int
    """The version of this document's format: it grows with a removed or renamed field, and not with a new one."""
    environment: str | None
    """The environment of its configuration; null without one."""
    ready: bool
    """Whether every app has files."""
    fresh: bool
    """Whether every secret was checked in time, and every app has its newest files."""
    problems: Sequence[str]
    """What is wrong, one line each; empty if nothing is."""
    vault: VaultFields
    """As `vault` of the first identity."""
    token: TokenFields | None
    """As `token` of the first identity."""
    identities: Sequence[IdentityFields]
    apps: Mapping[str, AppFields]
    leases: Sequence[LeaseFields]
    rounds: RoundsFields
    totals: TotalsFields


class EventsFields(TypedDict):
    """The event source of `events`, which tells the agent what has changed."""

    source: str | None
    """Its address; null before it is known."""
    live: bool
    """Whether it is connected. If it is not, the agent polls each `refresh_interval`."""
    last_at: Timestamp | None
    """When the last change was received."""


class SandboxFields(TypedDict):
    """What the agent's process cannot do any more."""

    capabilities: Sequence[str]
    """The capabilities that it has."""
    no_new_privileges: bool
    """Whether it and its programs can gain no privilege, such as by sudo."""
    seccomp: str
    """`on`, or why system calls are not filtered."""
    landlock: str
    """`on`, or why it can write to other directories than its own."""
    writable: Sequence[str] | None
    """The directories that it can write to; null if all."""


class AuditTrailFields(TypedDict):
    """The audit trail of the service."""

    writable: bool
    """Whether actions are recorded."""


class RunningAgentStatus(AgentStatus):
    """What a running agent adds."""

    events: EventsFields | None
    """null without `events` in its configuration."""
    sandbox: SandboxFields | None
    """null before the agent has confined itself."""
    audit_trail: NotRequired[AuditTrailFields]
