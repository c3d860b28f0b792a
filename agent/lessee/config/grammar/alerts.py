"""The block `monitor.alerts`: when to raise an alarm, and whom to tell."""

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta, field, inspect

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says

Severity = Literal["info", "warning", "critical"]


class Hook(Block, frozen=True, kw_only=True):
    """An HTTP server that takes alerts as JSON."""

    one_of: ClassVar[tuple[str, ...]] = ("url", "url_file")
    url: Annotated[w.HttpUrl | None, says("Its URL.")] = None
    url_file: Annotated[w.FilePath | None, says("A file that holds the URL, where that is a secret itself.")] = None
    slack: Annotated[w.Switch, says("true: a body as Slack's incoming webhooks want it.")] = False
    header_files: Annotated[dict[w.HttpHeader, w.FilePath], says("Headers, and the files that hold their values.")] = (
        field(default_factory=dict)
    )
    ca_file: Annotated[w.FilePath | None, says("Authorities to trust instead of the machine's.")] = None


class AlertmanagerAt(Block, frozen=True, kw_only=True):
    """Prometheus' Alertmanager."""

    url: Annotated[w.HttpUrl, says("Its URL, without /api.")]
    header_files: Annotated[dict[w.HttpHeader, w.FilePath], says("Headers, and the files that hold their values.")] = (
        field(default_factory=dict)
    )
    ca_file: Annotated[w.FilePath | None, says("Authorities to trust instead of the machine's.")] = None


class Mail(Block, frozen=True, kw_only=True):
    """Mails, by SMTP."""

    server: Annotated[w.HostPort, says("Such as `mail.example.org:587`.")]
    sender: Annotated[w.MailAddress, says("From whom.")]
    to: Annotated[Annotated[tuple[w.MailAddress, ...], Meta(min_length=1)], says("To whom.")]
    tls: Annotated[Literal["starttls", "tls", "none"], says("How the connection is enciphered.")] = "starttls"
    ca_file: Annotated[w.FilePath | None, says("Authorities to trust instead of the machine's.")] = None
    username: Annotated[w.Text | None, says("Who logs in; default: nobody.")] = None
    password_file: Annotated[w.FilePath | None, says("A file that holds the password.")] = None


class _Rule(Block, frozen=True, kw_only=True, tag_field="rule"):
    """When to raise an alarm."""

    name: Annotated[w.Name | None, says("What its alerts are called; default: as the rule.")] = None
    severity: Annotated[Severity | None, says("How bad it is; default: by the rule.")] = None
    again_after: Annotated[w.Timeout | None, says("As above, for this rule.")] = None
    resolve_after: Annotated[w.Duration | None, says("As above, for this rule.")] = None


class OfAccess(_Rule, frozen=True, kw_only=True):
    """When to raise an alarm about a request."""

    paths: Annotated[
        tuple[w.Text, ...], says("Of these paths alone, such as `secret/production/*`; `*` matches slashes too.")
    ] = ()
    components: Annotated[tuple[w.Text, ...], says("Of these roles or display names alone, such as `ci-*`.")] = ()


class Reads(OfAccess, frozen=True, kw_only=True, tag="reads"):
    """More reads than so many."""

    limit: Annotated[w.Count, says("So many are still well.")]
    within: Annotated[w.Timeout, says("In this time.")] = 3600.0
    by: Annotated[Literal["component", "path", "address"], says("Of which each is counted for itself.")] = "component"


class Denials(OfAccess, frozen=True, kw_only=True, tag="refusals"):
    """Denials, and logins that failed, in a row."""

    limit: Annotated[w.Count, says("So many are an alarm.")] = 5


class FirstRead(OfAccess, frozen=True, kw_only=True, tag="first-read"):
    """A component reads what it never has, or from where it never has."""

    by: Annotated[Literal["path", "address"], says("What may be new about a component.")] = "path"
    learn: Annotated[w.Duration, says("So long, from the first line on, all is new, and nothing is told.")] = 86400.0


class RootToken(OfAccess, frozen=True, kw_only=True, tag="root-token"):
    """A root token was used."""


class PolicyChanged(OfAccess, frozen=True, kw_only=True, tag="policy-changed"):
    """A policy was written or deleted, or it was tried."""


class AuthChanged(OfAccess, frozen=True, kw_only=True, tag="auth-changed"):
    """An auth method, one of its roles or users, or a group was written or deleted, or it was tried."""


class AuditChanged(OfAccess, frozen=True, kw_only=True, tag="audit-changed"):
    """An audit device was made or removed, or it was tried."""


class OutsideHours(OfAccess, frozen=True, kw_only=True, tag="outside-hours"):
    """A read at another time of the week."""

    hours: Annotated[
        Annotated[tuple[w.Window, ...], Meta(min_length=1)], says("When reads are expected: `mon-fri 08:00-18:00`.")
    ]
    zone: Annotated[w.Zone, says("The time zone of the hours, such as `Europe/Berlin`.")] = "UTC"


class AuditOff(_Rule, frozen=True, kw_only=True, tag="audit-off"):
    """The audit log cannot be read, or says nothing."""

    after: Annotated[w.Duration, says("It could not be read for so long.")] = 60.0
    silent_after: Annotated[w.Timeout | None, says("It said nothing for so long; default: however long.")] = None


class RotationOverdue(_Rule, frozen=True, kw_only=True, tag="rotation-overdue"):
    """A rotation is due, and does not come."""

    after: Annotated[w.Duration, says("For so long.")] = 3600.0


class RotationFailing(_Rule, frozen=True, kw_only=True, tag="rotation-failing"):
    """A rotation fails."""

    limit: Annotated[w.Count, says("So often in a row.")] = 3


class LeaseEnding(_Rule, frozen=True, kw_only=True, tag="lease-ending"):
    """A lease or certificate of an app ends soon, and was not renewed when it should have been."""

    before: Annotated[
        w.Duration | None, says("So long before its end; default: half of the time since it should have been renewed.")
    ] = None


class AgentSilent(_Rule, frozen=True, kw_only=True, tag="agent-silent"):
    """An agent or rotator of `watch` does not answer, or a component that asked regularly does not any more."""

    after: Annotated[w.Timeout, says("For so long.")] = 300.0
    components: Annotated[
        tuple[w.Text, ...], says("Those of the audit log that are expected to ask regularly, such as `simba`.")
    ] = ()


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
    | LeaseEnding
    | AgentSilent
)

if TYPE_CHECKING:
    AnyRule = Rule
else:
    # Looked into where a file has such: that takes 4 ms, and no sidecar's has.
    AnyRule = Annotated[Any, Meta(extra={"later": cache(lambda: inspect.type_info(Rule))})]


class Alerts(Block, frozen=True, kw_only=True):
    """When to raise an alarm, and where."""

    reads_per_hour: Annotated[w.Count | None, says("More reads than this by one component are told.")] = None
    refusals_in_a_row: Annotated[w.Count | None, says("So many refusals in a row are told.")] = None
    again_after: Annotated[w.Timeout, says("What still is so after this time is told again.")] = 3600.0
    resolve_after: Annotated[w.Duration, says("What has not been so for this time is told to be over.")] = 300.0
    usual: Annotated[
        w.Switch, says("Whether the rules that need no figure hold too; one of `rules` takes the place of its like.")
    ] = True
    rules: Annotated[tuple[AnyRule, ...], says("More rules, each with figures of its own.")] = ()
    webhook: Annotated[w.HttpUrl | Hook | None, says("A URL that takes alerts as JSON.")] = None
    alertmanager: Annotated[w.HttpUrl | AlertmanagerAt | None, says("Prometheus' Alertmanager.")] = None
    smtp: Annotated[Mail | None, says("Mails.")] = None


class Watched(Block, frozen=True, kw_only=True):
    """A service of lessee's that says how it is: an agent, or the rotator."""

    one_of: ClassVar[tuple[str, ...]] = ("socket", "url")
    socket: Annotated[w.AbsolutePath | None, says("Its status socket.")] = None
    url: Annotated[w.HttpUrl | None, says("Where it listens, such as `http://simba:9105`.")] = None
    name: Annotated[w.Name | None, says("What it is called; default: by its socket's folder, or its host.")] = None
    token_file: Annotated[w.FilePath | None, says("A file that holds the token which it asks for.")] = None
    ca_file: Annotated[w.FilePath | None, says("Authorities to trust instead of the machine's.")] = None
