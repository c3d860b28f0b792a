"""Formats alerts for their receivers: JSON, Slack, Alertmanager, and mail."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from lessee import __version__
from lessee.ops.monitor.policy.alerts import Alert, Alerts, Notification, NotificationKind
from lessee.ops.monitor.policy.outbox import RESEND_INTERVAL
from lessee.ops.monitor.policy.timestamps import rfc3339

_VALIDITY = 5 * RESEND_INTERVAL
"""Seconds after which Alertmanager resolves an alert that was not sent again."""
_WORDS = {
    NotificationKind.FIRING: "firing",
    NotificationKind.REPEATED: "still firing",
    NotificationKind.RESOLVED: "resolved",
}
_MAX_IN_ANNOTATION = 20
"""Subjects in an annotation of Alertmanager, whose templates show it whole."""
_MAX_IN_SLACK = 5
"""Alerts of one rule and state that a Slack message names. Slack truncates a text of 40,000 characters."""
_EMOJI = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}


def webhook_body(notifications: Iterable[Notification], environment: str | None) -> Mapping[str, Any]:
    """The JSON body of a plain webhook."""
    return {
        "version": __version__,
        "environment": environment,
        "alerts": [
            {"id": notification.id, "state": notification.kind.value, **alert_view(notification.alert)}
            for notification in notifications
        ],
    }


def alert_view(alert: Alert) -> Mapping[str, Any]:
    """An alert's fields, as the webhook's body and status.json have them."""
    return {
        "rule": alert.rule,
        "subject": alert.subject,
        "severity": alert.severity,
        "text": alert.text,
        "started_at": rfc3339(alert.started_at),
        "last_seen_at": rfc3339(alert.last_seen_at),
        "resolved_at": rfc3339(alert.resolved_at),
        "count": alert.count,
        "subjects": list(alert.subjects or (alert.subject,)),
        "subjects_omitted": alert.subjects_omitted,
    }


def slack_body(notifications: Iterable[Notification], environment: str | None) -> Mapping[str, Any]:
    """The body of an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/."""
    lines: list[str] = []
    omitted = Counter[tuple[NotificationKind, str]]()
    for notification in notifications:
        key = (notification.kind, notification.alert.rule)
        omitted[key] += 1
        if omitted[key] <= _MAX_IN_SLACK:
            lines.append(_slack_text(notification, environment))
    lines += [
        f"{_WORDS[kind]}: {rule}: and {count - _MAX_IN_SLACK} more"
        for (kind, rule), count in omitted.items()
        if count > _MAX_IN_SLACK
    ]
    return {"text": "\n".join(lines)}


def _slack_text(notification: Notification, environment: str | None) -> str:
    alert = notification.alert
    emoji = ":white_check_mark:" if notification.kind is NotificationKind.RESOLVED else _EMOJI[alert.severity]
    return f"{emoji} *{_escaped(headline(notification, environment))}*\n{_escaped(alert.text)}"


def _escaped(text: str) -> str:
    # Only these three characters begin a mention, a link or an entity; a backtick or a star only changes the font.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def headline(notification: Notification, environment: str | None) -> str:
    """One line with the alert's state, rule, environment and subject."""
    alert = notification.alert
    where = f" in {environment}" if environment else ""
    more = f" and {alert.subject_count - 1} more" if alert.subject_count > 1 else ""
    return f"{_WORDS[notification.kind]}: {alert.rule}{where}: {alert.subject}{more}"


def alertmanager_body(alerts: Alerts, environment: str | None, now: float) -> Sequence[Mapping[str, Any]]:
    """All firing and recently resolved alerts, for POST /api/v2/alerts."""
    return [_alertmanager_alert(alert, environment, now) for alert in alerts.values()]


def _alertmanager_alert(alert: Alert, environment: str | None, now: float) -> Mapping[str, Any]:
    labels = {"alertname": alert.rule, "subject": alert.subject or "-", "severity": alert.severity, "source": "lessee"}
    ends_at = now + _VALIDITY if alert.resolved_at is None else max(alert.resolved_at, alert.started_at + 0.001)
    subjects = ", ".join(alert.subjects[:_MAX_IN_ANNOTATION])
    return {
        "labels": {**labels, **({"environment": environment} if environment else {})},
        "annotations": {
            "summary": alert.text,
            "count": str(alert.count),
            **({"subjects": subjects} if len(alert.subjects) > 1 else {}),
        },
        "startsAt": rfc3339(alert.started_at),
        "endsAt": rfc3339(ends_at),
    }


def mail(
    notifications: Sequence[Notification], environment: str | None, *, sender: str, to: Sequence[str], date: str
) -> EmailMessage:
    """One mail. The alerts determine its Message-ID, so a receiver can recognize a duplicate."""
    message = EmailMessage()
    first = headline(notifications[0], environment)
    subject = first if len(notifications) == 1 else f"{len(notifications)} alerts: {first}"
    message["Subject"] = f"[lessee] {subject}"
    message["From"], message["To"], message["Date"] = sender, ", ".join(to), date
    message["Message-ID"] = f"<{notifications[0].id}.{notifications[-1].id}@lessee>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply.
    message.set_content("\n".join(_paragraph(notification, environment) for notification in notifications))
    return message


def _paragraph(notification: Notification, environment: str | None) -> str:
    alert = notification.alert
    resolved = f"\n  resolved at: {rfc3339(alert.resolved_at)}" if alert.resolved_at is not None else ""
    count = f"\n  count: {alert.count}" if alert.count > 1 else ""
    text = alert.text.replace("\n", "\n  ")
    head = f"{headline(notification, environment)} ({alert.severity})\n  {text}"
    return f"{head}\n  started at: {rfc3339(alert.started_at)}{resolved}{count}\n"
