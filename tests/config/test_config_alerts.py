"""What may stand in `monitor.alerts` and `monitor.watch`, and what each mistake is told as."""

import pytest

from lessee.config.alerts import watched
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.ops.monitor.policy.rules import wanted_rules
from support.models.alert_rules import monitor

FILE = "monitor: {audit: {file: audit.log}, watch: [%s], alerts: {%s}}"


def read(alerts, watch=""):
    return parse(
        FILE % (watch, alerts), source="lessee.yaml", environ={"SLACK": "https://slack/x"}, blocks=("monitor",)
    )


def problems(alerts, watch=""):
    with pytest.raises(ConfigError) as caught:
        read(alerts, watch)
    return [str(one) for one in caught.value.problems]


def alerts_of(text):
    """Of the block, without the rest of the file."""
    return monitor(f"{{audit: {{file: x}}, alerts: {{{text}}}}}").alerts


def test_what_needs_no_figure_is_told_of_unless_it_is_not_wanted():
    usual = {"root-token", "policy-changed", "auth-changed", "audit-changed", "audit-off"}
    services = {"rotation-overdue", "rotation-failing", "lease-ending", "agent-silent"}
    assert set(wanted_rules(alerts_of(""), watches=False)) == usual
    assert set(wanted_rules(alerts_of(""), watches=True)) == usual | services
    assert set(wanted_rules(alerts_of("usual: false"), watches=True)) == set()


def test_the_short_form_and_rules_stand_beside_the_usual_ones():
    said = alerts_of(
        "usual: false, reads_per_hour: 100, refusals_in_a_row: 5, rules: [{rule: reads, limit: 7, name: few}]"
    )
    assert set(wanted_rules(said, watches=False)) == {"reads-per-hour", "refusals-in-a-row", "few"}


def test_a_rule_takes_the_place_of_the_usual_one():
    said = alerts_of("rules: [{rule: root-token, severity: info, name: root-by-day}]")
    wanted = wanted_rules(said, watches=False)
    assert "root-token" not in wanted
    assert wanted["root-by-day"].severity == "info"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("{rule: reads}", "monitor.alerts.rules[0].limit: missing"),
        ("{rule: reeds, limit: 1}", "did you mean `reads`?"),
        ("{limit: 1}", "monitor.alerts.rules[0].rule: missing"),
        ("{rule: reads, limit: 0}", "expected a whole number above 0"),
        ("{rule: reads, limit: 5, within: 5}", "write its unit too"),
        ("{rule: reads, limit: 5, by: reader}", "expected one of `address`, `component`, `path`"),
        ("{rule: root-token, limit: 5}", "unknown key"),
        ("{rule: root-token, severity: bad}", "expected one of `critical`, `info`, `warning`"),
        ("{rule: outside-hours}", "hours: missing"),
        ("{rule: outside-hours, hours: []}", "the list is empty"),
        ("{rule: outside-hours, hours: [8-18]}", "expected a time of the day such as"),
        ("{rule: outside-hours, hours: ['08:00-18:00'], zone: ../etc/passwd}", "expected a time zone such as"),
        ("{rule: root-token}, {rule: root-token}", "its alerts would be those of monitor.alerts.rules[0]: root-token"),
        ("{rule: lease-ending}", "nobody says how they are; name the status sockets"),
        ("{rule: agent-silent}", "nobody says how they are"),
        ("{rule: rotation-overdue}", "nobody says how they are"),
    ],
)
def test_each_mistake_in_a_rule_is_told_where_it_stands(rules, told):
    [text] = problems(f"rules: [{rules}]")
    assert told in text
    assert text.startswith("lessee.yaml:1: monitor.alerts.rules[")


def test_the_short_forms_have_names_too():
    [text] = problems("reads_per_hour: 5, rules: [{rule: reads, limit: 5, name: reads-per-hour}]")
    assert "its alerts would be those of monitor.alerts.reads_per_hour" in text


def test_a_component_can_be_silent_without_being_asked():
    read("rules: [{rule: agent-silent, components: [simba]}]")


MAIL = "server: 'mail.example.org:587', sender: a@example.org, to: [b@example.org]"


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        ("webhook: slack", "expected a URL that begins with"),
        ("webhook: {slack: true}", "expected exactly one of `url`, `url_file`, found none"),
        ("webhook: {url: 'http://a', url_file: f}", "expected exactly one of"),
        ("alertmanager: {}", "url: missing"),
        ("smtp: {server: mail, sender: a@b, to: [b@c]}", "expected `host:port`"),
        ("smtp: {server: 'm:25', sender: 'a b', to: [b@c]}", "expected a mail address"),
        ("smtp: {server: 'm:25', sender: a@b, to: []}", "the list is empty"),
        (f"smtp: {{{MAIL}, username: u}}", "username and password_file go together"),
        (f"smtp: {{{MAIL}, username: u, password_file: f, tls: none}}", "the password would cross the network"),
    ],
)
def test_each_mistake_in_a_way_is_told(alerts, told):
    [text] = problems(alerts)
    assert told in text


def test_ways_may_be_short_and_long_and_take_variables():
    said = read(f"webhook: '${{SLACK}}', alertmanager: 'http://am:9093', smtp: {{{MAIL}}}")
    assert said is not None
    read("webhook: {url_file: /run/slack, slack: true}, smtp: {server: 'localhost:25', sender: a@b, to: [c@d], "
         "tls: none, username: u, password_file: f}")  # fmt: skip


def test_services_are_called_by_their_hosts_or_sockets():
    text = "[/run/lessee/status.sock, 'http://u@simba:9105/x', {socket: /a, name: agent}, {url: 'http://b'}]"
    assert list(watched(monitor(f"{{audit: {{file: x}}, watch: {text}}}"))) == [
        "lessee/status",
        "simba:9105",
        "agent",
        "b",
    ]


@pytest.mark.parametrize(
    ("watch", "told"),
    [
        ("run.sock", "expected the absolute path of a status socket, or a URL"),
        ("/a/x.sock, {url: 'http://b', name: c}, /a/x.sock", "monitor.watch[2]: monitor.watch[0] is called a/x too"),
        ("{name: a}", "expected exactly one of `socket`, `url`"),
    ],
)
def test_each_mistake_in_what_is_watched_is_told(watch, told):
    [text] = problems("", watch)
    assert told in text


def test_a_sidecar_needs_none_of_its_variables_and_checks_none_of_it():
    parse(FILE % ("", "webhook: '${NOT_THERE}'"), source="lessee.yaml", environ={})
