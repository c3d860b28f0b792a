"""The blocks `monitor.alerts` and `monitor.watch`: which alerts the monitor raises, and where it sends them."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta, field, inspect

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe

Severity = Literal["info", "warning", "critical"]

_HEADERS = "HTTP headers to send, each with the path of the file that contains its value, such as Authorization."
_CA_FILE = "The path of CA certificates to trust, in PEM format, in place of those of the system."


class WebhookChannel(Block, frozen=True, kw_only=True):
    """An HTTP server that accepts alerts as JSON."""

    one_of: ClassVar[tuple[str, ...]] = ("url", "url_file")
    url: Annotated[scalars.HttpUrl | None, describe("The URL to which the monitor POSTs alerts.")] = None
    url_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the file that contains the URL, for a URL that is a secret itself."),
    ] = None
    slack: Annotated[scalars.Boolean, describe("true sends the body that Slack's incoming webhooks expect.")] = False
    header_files: Annotated[dict[scalars.HttpHeader, scalars.FilePath], describe(_HEADERS)] = field(
        default_factory=dict
    )
    ca_file: Annotated[scalars.FilePath | None, describe(_CA_FILE)] = None


class AlertmanagerChannel(Block, frozen=True, kw_only=True):
    """An Alertmanager of Prometheus."""

    url: Annotated[scalars.HttpUrl, describe("The URL of Alertmanager, without /api.")]
    header_files: Annotated[dict[scalars.HttpHeader, scalars.FilePath], describe(_HEADERS)] = field(
        default_factory=dict
    )
    ca_file: Annotated[scalars.FilePath | None, describe(_CA_FILE)] = None


class SmtpChannel(Block, frozen=True, kw_only=True):
    """An SMTP server that sends alerts by email."""

    server: Annotated[scalars.HostPort, describe("The address of the SMTP server, such as `mail.example.org:587`.")]
    sender: Annotated[scalars.MailAddress, describe("The sender's email address.")]
    to: Annotated[
        Annotated[tuple[scalars.MailAddress, ...], Meta(min_length=1)], describe("The recipients' email addresses.")
    ]
    tls: Annotated[
        Literal["starttls", "tls", "none"],
        describe("How the connection is encrypted: by STARTTLS, by TLS from the first byte, or not at all."),
    ] = "starttls"
    ca_file: Annotated[scalars.FilePath | None, describe(_CA_FILE)] = None
    username: Annotated[scalars.Text | None, describe("The username to log in with. Default: no login.")] = None
    password_file: Annotated[
        scalars.FilePath | None, describe("The path of the file that contains the password of `username`.")
    ] = None


class AlertRule(Block, frozen=True, kw_only=True, tag_field="rule"):
    """A rule that raises alerts."""

    name: Annotated[
        scalars.Name | None, describe("The name of the rule's alerts. Default: the type of the rule, such as `reads`.")
    ] = None
    severity: Annotated[
        Severity | None, describe("The severity of the rule's alerts. Default: by the type of the rule.")
    ] = None
    repeat_interval: Annotated[
        scalars.Timeout | None,
        describe("How often the monitor repeats a firing alert of this rule. Default: monitor.alerts.repeat_interval."),
    ] = None
    resolve_timeout: Annotated[
        scalars.Duration | None,
        describe(
            "How long after its last detection an alert of this rule is resolved. "
            "Default: monitor.alerts.resolve_timeout."
        ),
    ] = None


class AccessRule(AlertRule, frozen=True, kw_only=True):
    """A rule about requests to Vault."""

    paths: Annotated[
        tuple[scalars.Text, ...],
        describe("Only requests of these paths count, such as `secret/production/*`. Default: all."),
    ] = ()
    components: Annotated[
        tuple[scalars.Text, ...],
        describe("Only requests of these roles or display names count, such as `ci-*`. Default: all."),
    ] = ()


class Reads(AccessRule, frozen=True, kw_only=True, tag="reads"):
    """Raises an alert after more than `limit` reads within `window`."""

    limit: Annotated[scalars.Count, describe("The number of reads within `window` that raises no alert yet.")]
    window: Annotated[scalars.Timeout, describe("The time within which the monitor counts reads.")] = 3600.0
    group_by: Annotated[
        Literal["component", "path", "address", "component-and-path"],
        describe(
            "What the monitor counts reads by: the component, the secret's path, the client's address, or each path of "
            "each component."
        ),
    ] = "component"


class Denials(AccessRule, frozen=True, kw_only=True, tag="denials"):
    """Raises an alert after consecutive denied requests, or failed logins, of one component or address."""

    limit: Annotated[scalars.Count, describe("The number of consecutive denials that raises an alert.")] = 5


class FirstRead(AccessRule, frozen=True, kw_only=True, tag="first-read"):
    """Raises an alert when a component reads a path for the first time, or reads from a new address."""

    group_by: Annotated[
        Literal["path", "address"],
        describe("What must be new for a component: the secret's path, or the client's address."),
    ] = "path"
    learning_period: Annotated[
        scalars.Duration,
        describe("The time from the first line of the log in which the monitor records reads without alerts."),
    ] = 86400.0


class RootToken(AccessRule, frozen=True, kw_only=True, tag="root-token"):
    """Raises an alert when a root token is used."""


class PolicyChanged(AccessRule, frozen=True, kw_only=True, tag="policy-changed"):
    """Raises an alert when a client writes or deletes a policy, or tries to."""


class AuthChanged(AccessRule, frozen=True, kw_only=True, tag="auth-changed"):
    """Raises an alert when a client changes an auth method, a role, a user or a group, or tries to."""


class AuditChanged(AccessRule, frozen=True, kw_only=True, tag="audit-changed"):
    """Raises an alert when a client enables or disables an audit device, or tries to."""


class OutsideHours(AccessRule, frozen=True, kw_only=True, tag="outside-hours"):
    """Raises an alert for reads outside the expected hours of the week."""

    hours: Annotated[
        Annotated[tuple[scalars.TimeWindow, ...], Meta(min_length=1)],
        describe("The hours in which reads are expected, such as `mon-fri 08:00-18:00`."),
    ]
    timezone: Annotated[scalars.TimeZone, describe("The time zone of `hours`, such as `Europe/Berlin`.")] = "UTC"


class AuditOff(AlertRule, frozen=True, kw_only=True, tag="audit-off"):
    """Raises an alert when the monitor cannot read the audit log, or the log gets no new lines."""

    after: Annotated[
        scalars.Duration, describe("How long the audit log must have been unreadable before the alert is raised.")
    ] = 60.0
    silent_after: Annotated[
        scalars.Timeout | None,
        describe("How long the audit log may get no new line before the alert is raised. Default: no limit."),
    ] = None


class RotationOverdue(AlertRule, frozen=True, kw_only=True, tag="rotation-overdue"):
    """Raises an alert when a rotation is due but does not happen."""

    after: Annotated[scalars.Duration, describe("How long a rotation must be overdue before the alert is raised.")] = (
        3600.0
    )


class RotationFailing(AlertRule, frozen=True, kw_only=True, tag="rotation-failing"):
    """Raises an alert when a rotation keeps failing."""

    limit: Annotated[scalars.Count, describe("The number of consecutive failures that raises an alert.")] = 3


class LeaseExpiring(AlertRule, frozen=True, kw_only=True, tag="lease-expiring"):
    """Raises an alert when a lease or certificate of an app is close to expiry and was not renewed when it was due."""

    before: Annotated[
        scalars.Duration | None,
        describe(
            "The time before the expiry at which the alert is raised. Default: halfway between the due renewal and "
            "the expiry."
        ),
    ] = None


class AgentSilent(AlertRule, frozen=True, kw_only=True, tag="agent-silent"):
    """Raises an alert when a watched agent or rotator does not answer, or a component stops sending requests."""

    after: Annotated[
        scalars.Timeout, describe("How long a service or component must have been silent before the alert is raised.")
    ] = 300.0
    components: Annotated[
        tuple[scalars.Text, ...],
        describe("The components, as the audit log names them, that must send requests regularly, such as `simba`."),
    ] = ()


class AgentNotFresh(AlertRule, frozen=True, kw_only=True, tag="agent-not-fresh"):
    """Raises an alert when a watched agent says that an app has no files, or that its files may be outdated."""

    after: Annotated[scalars.Duration, describe("How long the agent must have said so before the alert is raised.")] = (
        300.0
    )


Rule = (
    Reads
    | Denials
    | FirstRead
    | RootToken
    | PolicyChanged
    | AuthChanged
    | AuditChanged
    | OutsideHours
    | AuditOff
    | RotationOverdue
    | RotationFailing
    | LeaseExpiring
    | AgentSilent
    | AgentNotFresh
)

if TYPE_CHECKING:
    AnyRule = Rule
else:
    # Inspected only if a file has rules: it takes 4 ms, and a sidecar's file has none.
    AnyRule = Annotated[Any, Meta(extra={"later": cache(lambda: inspect.type_info(Rule))})]


class Alerts(Block, frozen=True, kw_only=True):
    """Which alerts the monitor raises, and where it sends them."""

    reads_per_hour: Annotated[
        scalars.Count | None,
        describe(
            "Raises an alert if a component reads one path more often than this within an hour. Default: no such rule."
        ),
    ] = None
    consecutive_denials: Annotated[
        scalars.Count | None,
        describe("Raises an alert after this number of consecutive denials of a component. Default: no such rule."),
    ] = None
    repeat_interval: Annotated[
        scalars.Timeout, describe("How often the monitor repeats an alert that is still firing.")
    ] = 3600.0
    resolve_timeout: Annotated[
        scalars.Duration, describe("How long after its last detection an alert is resolved.")
    ] = 300.0
    default_rules: Annotated[
        scalars.Boolean,
        describe(
            "true adds the rules that need no figure, such as root-token; an entry of `rules` replaces its type's."
        ),
    ] = True
    rules: Annotated[tuple[AnyRule, ...], describe("Further rules, each with its own figures.")] = ()
    webhook: Annotated[
        scalars.HttpUrl | WebhookChannel | None, describe("The URL, or HTTP server, that gets alerts as JSON.")
    ] = None
    alertmanager: Annotated[
        scalars.HttpUrl | AlertmanagerChannel | None, describe("The Alertmanager of Prometheus that gets alerts.")
    ] = None
    smtp: Annotated[SmtpChannel | None, describe("The SMTP server that sends alerts by email.")] = None


class WatchTarget(Block, frozen=True, kw_only=True):
    """An agent or rotator whose status the monitor checks."""

    one_of: ClassVar[tuple[str, ...]] = ("socket", "url")
    socket: Annotated[scalars.AbsolutePath | None, describe("The path of the service's status socket.")] = None
    url: Annotated[
        scalars.HttpUrl | None, describe("The URL at which the service serves its status, such as `http://simba:9105`.")
    ] = None
    name: Annotated[
        scalars.Name | None,
        describe("The name of the service in alerts. Default: its host, or the directory of its socket."),
    ] = None
    token_file: Annotated[
        scalars.FilePath | None, describe("The path of the file with the bearer token that the service requires.")
    ] = None
    ca_file: Annotated[scalars.FilePath | None, describe(_CA_FILE)] = None
