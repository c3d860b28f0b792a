"""How alerts are written for those who are told: JSON, Slack, Alertmanager, and mail."""

from collections.abc import Iterable, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from lessee import __version__
from lessee.ops.monitor.policy.alerts import Alert, Alerts, Telling, What
from lessee.ops.monitor.policy.outbox import EVERY
from lessee.ops.monitor.policy.watch import spelled

_HOLDS = 5 * EVERY
"""Seconds after which Alertmanager takes an alert for over that nobody has repeated."""
_WORDS = {What.FIRING: "firing", What.AGAIN: "still firing", What.RESOLVED: "resolved"}
_MARKS = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}


def as_json(tellings: Iterable[Telling], environment: str | None) -> Mapping[str, Any]:
    """The body of our own."""
    return {
        "version": __version__,
        "environment": environment,
        "alerts": [
            {
                "id": one.id,
                "state": one.what.value,
                "rule": one.alert.rule,
                "subject": one.alert.subject,
                "severity": one.alert.severity,
                "text": one.alert.text,
                "since": spelled(one.alert.since),
                "last": spelled(one.alert.last),
                "over": spelled(one.alert.over_at),
                "times": one.alert.times,
            }
            for one in tellings
        ],
    }


def for_slack(tellings: Iterable[Telling], environment: str | None) -> Mapping[str, Any]:
    """As an incoming webhook wants it: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/."""
    return {"text": "\n".join(_slack(one, environment) for one in tellings)}


def _slack(telling: Telling, environment: str | None) -> str:
    mark = ":white_check_mark:" if telling.what is What.RESOLVED else _MARKS[telling.alert.severity]
    return f"{mark} *{_escaped(headline(telling, environment))}*\n{_escaped(telling.alert.text)}"


def _escaped(text: str) -> str:
    # These three alone begin a mention, a link or an entity; a backtick or a star only changes the letters.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def headline(telling: Telling, environment: str | None) -> str:
    """One line."""
    place = f" in {environment}" if environment else ""
    return f"{_WORDS[telling.what]}: {telling.alert.rule}{place}: {telling.alert.subject}"


def for_alertmanager(alerts: Alerts, environment: str | None, now: float) -> Sequence[Mapping[str, Any]]:
    """All that fire, and those that were over a while ago, for POST /api/v2/alerts."""
    return [_for_alertmanager(alert, environment, now) for alert in alerts.values()]


def _for_alertmanager(alert: Alert, environment: str | None, now: float) -> Mapping[str, Any]:
    labels = {"alertname": alert.rule, "subject": alert.subject or "-", "severity": alert.severity, "source": "lessee"}
    return {
        "labels": {**labels, **({"environment": environment} if environment else {})},
        "annotations": {"summary": alert.text, "times": str(alert.times)},
        "startsAt": spelled(alert.since),
        "endsAt": spelled(now + _HOLDS if alert.over_at is None else max(alert.over_at, alert.since + 0.001)),
    }


def as_mail(
    tellings: Sequence[Telling], environment: str | None, *, sender: str, to: Sequence[str], date: str
) -> EmailMessage:
    """One mail. Its Message-ID comes of the alerts, so that who gets it twice can see that."""
    mail = EmailMessage()
    first = headline(tellings[0], environment)
    mail["Subject"] = f"[lessee] {first}" if len(tellings) == 1 else f"[lessee] {len(tellings)} alerts: {first}"
    mail["From"], mail["To"], mail["Date"] = sender, ", ".join(to), date
    mail["Message-ID"] = f"<{tellings[0].id}.{tellings[-1].id}@lessee>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence shall answer it.
    mail.set_content("\n".join(_paragraph(one, environment) for one in tellings))
    return mail


def _paragraph(telling: Telling, environment: str | None) -> str:
    alert = telling.alert
    over = f"\n  over: {spelled(alert.over_at)}" if alert.over_at is not None else ""
    times = f"\n  times: {alert.times}" if alert.times > 1 else ""
    head = f"{headline(telling, environment)} ({alert.severity})\n  {alert.text}"
    return f"{head}\n  since: {spelled(alert.since)}{over}{times}\n"
