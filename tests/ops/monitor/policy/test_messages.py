"""The messages that each channel sends."""

import json
from email import message_from_bytes
from email.policy import default

from lessee.core.immutable import replace
from lessee.ops.monitor.policy import messages
from lessee.ops.monitor.policy.messages import alertmanager_body, slack_body, webhook_body
from lessee.ops.monitor.policy.service_status import PollResult
from support.models.alert_rules import Rules, access, root

DATE = "Wed, 15 Nov 2023 12:00:00 -0000"


def mail_of(notifications, environment):
    written = messages.mail(notifications, environment, sender="lessee@example.org", to=["ops@example.org"], date=DATE)
    return message_from_bytes(written.as_bytes(), policy=default)


def test_the_webhook_body_has_each_alert_with_its_times():
    rules = Rules("{}")
    rules.take(root())
    body = json.loads(json.dumps(webhook_body(rules.notifications, "production")))
    [alert] = body["alerts"]
    assert alert.pop("id")
    assert alert == {
        "state": "firing", "rule": "root-token", "subject": "10.0.0.5", "severity": "critical",
        "text": "a root token was used from 10.0.0.5: read secret/production/database/postgres",
        "started_at": "2023-11-15T12:00:00.000+00:00", "last_seen_at": "2023-11-15T12:00:00.000+00:00",
        "resolved_at": None, "count": 1, "subjects": ["10.0.0.5"], "subjects_omitted": 0,
    }  # fmt: skip
    assert body["environment"] == "production"


def test_a_path_cannot_mention_a_slack_channel():
    rules = Rules("{default_rules: false, reads_per_hour: 1}")
    rules.take(*[access(path="secret/data/<!channel>&x")] * 2)
    text = slack_body(rules.notifications, None)["text"]
    assert "&lt;!channel&gt;&amp;x" in text
    assert "<" not in text
    assert text.startswith(":warning: *firing: reads-per-hour: simba: secret/&lt;!channel&gt;&amp;x*\n")
    rules.tick(300)
    assert slack_body(rules.notifications, "production")["text"].startswith(
        ":white_check_mark: *resolved: reads-per-hour in production: simba: secret/&lt;!channel&gt;&amp;x*\n"
    )


def test_a_slack_message_about_many_services_stays_short():
    rules = Rules("{}", watch=["/run/lessee/status.sock"])
    rules.services = {f"agent-{n:03}": PollResult(rules.now, "away", None) for n in range(50)}
    rules.tick()
    rules.tick(300)
    text = slack_body(rules.notifications, None)["text"]
    assert text.count("*firing: agent-silent: agent-0") == 5
    assert text.endswith("\nfiring: agent-silent: and 45 more")


def test_alertmanager_gets_the_subjects_of_an_alert_that_has_several():
    rules = Rules("{}")
    rules.take(*[access(operation="delete", path=f"sys/policies/acl/{n:02}") for n in range(30)])
    [alert] = alertmanager_body(rules.engine.alerts, None, rules.now)
    assert alert["labels"]["subject"] == "sys/policies/acl/00"
    assert (alert["annotations"]["count"], alert["annotations"]["subjects"].count(", ")) == ("30", 19)


def test_a_headline_counts_the_subjects_of_an_alert():
    rules = Rules("{}")
    rules.take(*[access(operation="delete", path=f"sys/policies/acl/{n}") for n in range(3)])
    assert mail_of(rules.notifications, None)["Subject"] == (
        "[lessee] firing: policy-changed: sys/policies/acl/0 and 2 more"
    )


def test_alertmanager_gets_the_start_and_the_end_of_an_alert():
    rules = Rules("{}")
    rules.take(root(address=""), after=1)
    [alert] = alertmanager_body(rules.engine.alerts, "production", rules.now)
    labels = {"alertname": "root-token", "subject": "the server itself", "severity": "critical", "source": "lessee"}
    assert alert["labels"] == {**labels, "environment": "production"}
    assert alert["startsAt"] == "2023-11-15T12:00:00.000+00:00"
    assert alert["endsAt"] == "2023-11-15T12:05:01.000+00:00"
    rules.tick(300)
    [alert] = alertmanager_body(rules.engine.alerts, None, rules.now + 60)
    assert (alert["labels"], alert["endsAt"]) == (labels, "2023-11-15T12:05:01.000+00:00")


def test_a_mail_contains_all_alerts_and_its_subject_the_first():
    rules = Rules("{}")
    rules.take(root(), root(), access(operation="delete", path="sys/policies/acl/simba"))
    written = mail_of(rules.notifications, "production")
    assert written["Subject"] == "[lessee] 2 alerts: firing: root-token in production: 10.0.0.5"
    assert (written["From"], written["To"], written["Date"]) == ("lessee@example.org", "ops@example.org", DATE)
    assert "policy-changed in production: sys/policies/acl/simba (warning)" in written.get_content()
    assert written.get_content() == (
        "firing: root-token in production: 10.0.0.5 (critical)\n"
        "  a root token was used from 10.0.0.5: read secret/production/database/postgres\n"
        "  started at: 2023-11-15T12:00:00.000+00:00\n"
        "  count: 2\n"
        "\n"
        "firing: policy-changed in production: sys/policies/acl/simba (warning)\n"
        "  simba deleted sys/policies/acl/simba from 10.0.0.5\n"
        "  started at: 2023-11-15T12:00:00.000+00:00\n"
    )
    first, last = rules.notifications[0].id, rules.notifications[-1].id
    assert written["Message-ID"] == f"<{first}.{last}@lessee>"
    assert written["Auto-Submitted"] == "auto-generated"
    assert {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"} <= set(written.keys())
    assert mail_of(rules.notifications, "production")["Message-ID"] == written["Message-ID"]
    rules.tick(300)
    assert "resolved at: 2023-11-15T12:05:00.000+00:00" in mail_of(rules.notifications, None).get_content()


def test_each_line_about_a_response_is_below_its_alert():
    rules = Rules("{}")
    rules.take(root())
    [one] = rules.notifications
    responded = replace(one, alert=replace(one.alert, text="a root token was used\nrevoke-token token a1: done"))
    assert mail_of([responded], None).get_content().splitlines()[1:3] == [
        "  a root token was used", "  revoke-token token a1: done",
    ]  # fmt: skip


def test_a_path_cannot_add_a_header_to_a_mail():
    rules = Rules("{default_rules: false, reads_per_hour: 1}")
    name = "x\r\nBcc: victim@example.org\r\n\r\nbody \u2028 \udcff Grüße"
    rules.take(*[access(role=name, path=f"secret/data/{name}")] * 2)
    written = mail_of(rules.notifications, None)
    assert written["Bcc"] is None
    assert written["Subject"].startswith("[lessee] firing: reads-per-hour: x??Bcc: victim@example.org")
    assert "Grüße" in written.get_content()
