"""The fields of a monitor's status and their meanings, from which the reference's page is made."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

Timestamp = str
"""RFC 3339, in UTC."""


class SourceFields(TypedDict):
    """One audit log that the monitor reads."""

    name: str
    """Its name in `monitor.audit`."""
    kind: Literal["file", "socket", "stdin"]
    """How it is read."""
    log: str
    """Its file or address."""
    lines: int
    """Lines that were read."""
    accesses: int
    """Requests among them that the monitor counts."""
    invalid_lines: int
    """Lines that are no entries of an audit log."""
    gaps: int
    """Places at which entries may be missing."""
    lag_bytes: int
    """Bytes of the file that are not read yet."""
    last_at: Timestamp | None
    """The time of the last entry."""
    since: Timestamp | None
    """Entries before this time are skipped: where the first start began."""
    error: str | None
    """Why it cannot be read."""


class OperationFields(TypedDict):
    """Requests of one operation, such as read, by their outcome."""

    succeeded: int
    """Requests that Vault answered."""
    denied: int
    """Requests that Vault denied."""
    failed: int
    """Requests that failed otherwise."""


class PathFields(TypedDict):
    """The requests for one path by one component from one address."""

    path: str
    """The secret's path."""
    component: str
    """The role or login that requested it."""
    address: str
    """The client's address."""
    last_hour: int
    """Requests of the last hour."""
    total: int
    """All requests."""
    last_at: Timestamp | None
    """The last one."""


class AccessFields(TypedDict):
    """The requests that were counted."""

    total: NotRequired[int]
    """All requests."""
    denied: NotRequired[int]
    """Those that Vault denied."""
    failed: NotRequired[int]
    """Those that failed otherwise."""
    by_operation: NotRequired[Mapping[str, OperationFields]]
    by_path: NotRequired[Sequence[PathFields]]
    omitted: NotRequired[int]
    """Further paths, which the list does not have."""
    denied_last_hour: NotRequired[int]
    """Requests that Vault denied within the last hour."""


class RequestFields(TypedDict):
    """A row of the metric `lessee_monitor_requests`, with the labels of its configuration."""

    labels: Mapping[str, str]
    """The label's value."""
    succeeded: int
    """Requests that Vault answered."""
    denied: int
    """Requests that Vault denied."""
    failed: int
    """Requests that failed otherwise."""


class LatencyFields(TypedDict):
    """The time from a read until the monitor saw it in this log."""

    buckets: Sequence[Sequence[float]]
    """Pairs: a bound in seconds, and how many reads took at most as long."""
    count: int
    """How many reads there were."""
    sum: float
    """The seconds of all of them together."""


class AlertFields(TypedDict):
    """An alert that fires, or that ended not long ago."""

    rule: str
    """The rule that raised it."""
    subject: str
    """The path, component or address that it is about."""
    severity: Literal["critical", "warning", "info"]
    """Its severity."""
    text: str
    """What was found."""
    started_at: Timestamp | None
    """When it began."""
    last_seen_at: Timestamp | None
    """When the rule last found it."""
    resolved_at: Timestamp | None
    """When it ended; null while it fires."""
    count: int
    """How often it was found."""
    subjects: Sequence[str]
    """All subjects, if it is about several."""
    subjects_omitted: int
    """Further subjects, which the list does not have."""
    firing: bool
    """Whether it has not ended."""
    notified: Mapping[str, bool]
    """Whether the channel of this name has delivered all that is known about it."""
    responses: NotRequired[Sequence[str]]
    """What was done because of it, if responses are configured."""


class DeliveryFields(TypedDict):
    """One channel for alerts, such as the webhook."""

    delivered: int
    """Notifications that were delivered."""
    pending: int
    """Notifications that are not delivered yet."""
    dropped: int
    """Notifications that were given up."""
    error: str | None
    """Why the last delivery failed."""
    failing_since: Timestamp | None
    """Since when deliveries fail."""


class DestinationFields(TypedDict):
    """One destination of change events."""

    reachable: bool
    """Whether it accepts events."""
    published: int
    """Events that it accepted."""
    pending: int
    """Events that it has not accepted yet."""
    dropped: int
    """Events that were given up."""
    error: str | None
    """Why the last attempt failed."""


class ServiceFields(TypedDict):
    """A service whose status the monitor polls."""

    name: str
    """Its name in `monitor.services`."""
    checked_at: Timestamp | None
    """When it was polled last."""
    error: str | None
    """Why it does not answer."""
    leases: int | None
    """The leases of an agent; null if it never answered."""
    targets: int | None
    """The targets of a rotator; null if it never answered."""


class RotationFields(TypedDict):
    """A target of a rotator that is polled."""

    service: str
    """The rotator."""
    target: str
    """The target's name."""
    next_rotation_at: Timestamp | None
    """When the next rotation is due."""
    consecutive_failures: int
    """Failures since the last success."""
    error: str | None
    """Why it failed."""
    open_seconds: float | None
    """Seconds since an open rotation started."""


class LastReadFields(TypedDict):
    """The last secret that it read."""

    path: str
    """The path."""
    version: int | None
    """The version; null where the answer has none."""


class OutdatedFields(TypedDict):
    """A secret of which it has read an older version only."""

    path: str
    """The path."""
    version: int
    """The version that it read."""
    newest: int
    """The newest version."""
    since: Timestamp | None
    """When the newest version was written."""


class FleetFields(TypedDict):
    """An agent or another client, from its status or from the audit log. What the source does not say is null."""

    source: Literal["status", "audit log"]
    """Where the monitor knows it from."""
    state: Literal["fresh", "not_fresh", "not_ready", "unreachable", "silent", "not_watched"]
    """Its state. `silent`: it sent no request for a while. `not_watched`: its state is not known."""
    address: str
    """Its address."""
    apps: Sequence[str]
    """Its apps."""
    consumers: Sequence[str]
    """APP/INSTANCE of each app."""
    environment: str | None
    """Its environment."""
    component: NotRequired[str]
    """Its role or login, from the audit log."""
    version: str | None
    """Its version of lessee."""
    ready: bool | None
    """As `ready` in its status."""
    fresh: bool | None
    """As `fresh` in its status; by the audit log, whether it has read the newest versions."""
    pending: int | None
    """Its apps with a pending notification."""
    problems: int | None
    """How many problems it reports."""
    reported_at: Timestamp | None
    """When it last reported versions to the rotator."""
    logged_in_at: Timestamp | None
    """When it logged in."""
    last_read_at: Timestamp | None
    """When it last read a secret."""
    last_read: LastReadFields | None
    outdated: Sequence[OutdatedFields] | None
    """The secrets of which it has an older version."""
    last_seen_at: Timestamp | None
    """When it last answered, or sent a request."""
    error: str | None
    """Why its status could not be polled."""


class PeerFields(TypedDict):
    """A server of the raft cluster."""

    node: str
    """Its node id."""
    voter: bool
    """Whether it votes."""
    leader: bool
    """Whether it is the leader."""


class ClusterFields(TypedDict):
    """The cluster and its storage."""

    peers: Sequence[PeerFields] | None
    """null if the storage is not raft, or before the first answer."""
    checked_at: Timestamp | None
    """When the peers were read."""
    error: str | None
    """Why they are not known."""
    storage_bytes: NotRequired[int]
    """What the files of `storage_dir` take on the disk."""
    storage_free_bytes: NotRequired[int]
    """What is free there."""


class BudgetFields(TypedDict):
    """One response to alerts, and how often it may act."""

    rule: str
    """The rule whose alerts it responds to."""
    action: str
    """What it does."""
    max_per_hour: int
    """How often it may act within an hour."""
    used: int
    """How often it did within the last hour."""
    dry_run: bool
    """Whether it only reports what it would do."""
    error: str | None
    """Why it cannot act."""


class ResponseFields(TypedDict):
    """One response that was done, counted or asked for."""

    id: str
    """Its id."""
    at: Timestamp | None
    """When that was."""
    response: str
    """The response's name."""
    action: str
    """What it does."""
    rule: str
    """The rule that raised the alert."""
    subject: str
    """The alert's subject."""
    target: str
    """What it acts on."""
    event: str
    """What has become of it, such as `done`, `failed`, `asked` or `undone`."""
    dry_run: bool
    """Whether it only reports what it would do."""
    text: str
    """The same in a sentence."""


class PendingResponseFields(ResponseFields):
    """A response that waits for an approval."""

    expires_at: Timestamp | None
    """Until when it can be approved."""
    request: str
    """The text that an approver signs."""
    approvers: Sequence[str]
    """Who may approve it."""
    command: str
    """The command that does."""
    rejected: str | None
    """Why the last approval was not accepted."""


class ResponsesFields(TypedDict):
    """Responses to alerts; only if `monitor.responses` is configured."""

    budgets: Mapping[str, BudgetFields]
    pending: Sequence[PendingResponseFields]
    recent: Sequence[ResponseFields]


class AuditTrailFields(TypedDict):
    """The audit trail of the service."""

    writable: bool
    """Whether actions are recorded."""


class MonitorStatus(TypedDict):
    """The status of a monitor. A part is missing if the configuration does not need it."""

    version: str
    """The version of lessee that runs."""
    format: int
    """The version of this document's format: it grows with a removed or renamed field, and not with a new one."""
    environment: str | None
    """The environment of its configuration; null without one."""
    ready: bool
    """Whether it can read all audit logs."""
    fresh: bool
    """Whether it has no problem, and has read all logs to their ends."""
    problems: Sequence[str]
    """What is wrong, one line each; empty if nothing is."""
    sources: Sequence[SourceFields]
    accesses: NotRequired[AccessFields]
    requests: NotRequired[Sequence[RequestFields]]
    read_latency: NotRequired[Mapping[str, LatencyFields]]
    alerts: NotRequired[Sequence[AlertFields]]
    delivery: NotRequired[Mapping[str, DeliveryFields]]
    destinations: NotRequired[Mapping[str, DestinationFields]]
    services: NotRequired[Sequence[ServiceFields]]
    rotation: NotRequired[Sequence[RotationFields]]
    fleet: Mapping[str, FleetFields]
    cluster: NotRequired[ClusterFields]
    responses: NotRequired[ResponsesFields]
    audit_trail: NotRequired[AuditTrailFields]
