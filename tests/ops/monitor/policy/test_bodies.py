"""How alerts are written for those who are told."""

import json
from email import message_from_bytes
from email.policy import default

from lessee.ops.monitor.policy.bodies import as_json, as_mail, for_alertmanager, for_slack
from support.models.alert_rules import Alarms, access, root

DATE = "Wed, 15 Nov 2023 12:00:00 -0000"


def mail(tellings, environment):
    written = as_mail(tellings, environment, sender="lessee@example.org", to=["ops@example.org"], date=DATE)
    return message_from_bytes(written.as_bytes(), policy=default)


def test_the_body_says_what_is_and_since_when():
    alarms = Alarms("{}")
    alarms.hear(root())
    body = json.loads(json.dumps(as_json(alarms.told, "production")))
    [alert] = body["alerts"]
    assert alert.pop("id")
    assert alert == {
        "state": "firing", "rule": "root-token", "subject": "10.0.0.5", "severity": "critical",
        "text": "a root token was used from 10.0.0.5: read secret/production/database/postgres",
        "since": "2023-11-15T12:00:00.000+00:00", "last": "2023-11-15T12:00:00.000+00:00", "over": None, "times": 1,
    }  # fmt: skip
    assert body["environment"] == "production"


def test_a_path_cannot_call_people_together_in_slack():
    alarms = Alarms("{usual: false, reads_per_hour: 1}")
    alarms.hear(*[access(path="secret/data/<!channel>&x")] * 2)
    text = for_slack(alarms.told, None)["text"]
    assert "&lt;!channel&gt;&amp;x" in text
    assert "<" not in text
    assert text.startswith(":warning: *firing: reads-per-hour: simba*\n")
    alarms.tick(300)
    assert for_slack(alarms.told, "production")["text"].startswith(
        ":white_check_mark: *resolved: reads-per-hour in production: simba*\n"
    )


def test_alertmanager_hears_from_when_on_and_until_when():
    alarms = Alarms("{}")
    alarms.hear(root(address=""), after=1)
    [alert] = for_alertmanager(alarms.watch.alerts, "production", alarms.now)
    labels = {"alertname": "root-token", "subject": "the server itself", "severity": "critical", "source": "lessee"}
    assert alert["labels"] == {**labels, "environment": "production"}
    assert alert["startsAt"] == "2023-11-15T12:00:00.000+00:00"
    assert alert["endsAt"] == "2023-11-15T12:05:01.000+00:00"
    alarms.tick(300)
    [alert] = for_alertmanager(alarms.watch.alerts, None, alarms.now + 60)
    assert (alert["labels"], alert["endsAt"]) == (labels, "2023-11-15T12:05:01.000+00:00")


def test_a_mail_holds_all_of_them_and_its_subject_one():
    alarms = Alarms("{}")
    alarms.hear(root(), root(), access(operation="delete", path="sys/policies/acl/simba"))
    written = mail(alarms.told, "production")
    assert written["Subject"] == "[lessee] 2 alerts: firing: root-token in production: 10.0.0.5"
    assert (written["From"], written["To"], written["Date"]) == ("lessee@example.org", "ops@example.org", DATE)
    assert "policy-changed in production: sys/policies/acl/simba (warning)" in written.get_content()
    assert "times: 2" in written.get_content()
    assert mail(alarms.told, "production")["Message-ID"] == written["Message-ID"]
    alarms.tick(300)
    assert "over: 2023-11-15T12:05:00.000+00:00" in mail(alarms.told, None).get_content()


def test_a_path_cannot_write_a_header_of_a_mail():
    alarms = Alarms("{usual: false, reads_per_hour: 1}")
    name = "x\r\nBcc: somebody@example.org\r\n\r\nbody \u2028 \udcff Grüße"
    alarms.hear(*[access(role=name, path=f"secret/data/{name}")] * 2)
    written = mail(alarms.told, None)
    assert written["Bcc"] is None
    assert written["Subject"].startswith("[lessee] firing: reads-per-hour: x??Bcc: somebody@example.org")
    assert "Grüße" in written.get_content()
