"""`monitor.alerts` and `monitor.watch` are read, and each mistake in them is reported."""

import pytest

from lessee.config.monitor import watch_targets
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.ops.monitor.policy.rules import effective_rules
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
    """The block alone, without the rest of the file."""
    return monitor(f"{{audit: {{file: x}}, alerts: {{{text}}}}}").alerts


def test_rules_without_figures_apply_unless_default_rules_is_false():
    default = {"root-token", "policy-changed", "auth-changed", "audit-changed", "audit-off"}
    services = {"rotation-overdue", "rotation-failing", "lease-expiring", "agent-silent", "agent-not-fresh"}
    assert set(effective_rules(alerts_of(""), polls_services=False)) == default
    assert set(effective_rules(alerts_of(""), polls_services=True)) == default | services
    assert set(effective_rules(alerts_of("default_rules: false"), polls_services=True)) == set()


def test_shorthand_rules_and_rules_are_added_to_the_default_ones():
    config = alerts_of(
        "default_rules: false, reads_per_hour: 100, consecutive_denials: 5, rules: [{rule: reads, limit: 7, name: few}]"
    )
    assert set(effective_rules(config, polls_services=False)) == {"reads-per-hour", "consecutive-denials", "few"}


def test_a_rule_replaces_the_default_one_of_its_type():
    config = alerts_of("rules: [{rule: root-token, severity: info, name: root-by-day}]")
    wanted = effective_rules(config, polls_services=False)
    assert "root-token" not in wanted
    assert wanted["root-by-day"].severity == "info"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("{rule: reads}", "monitor.alerts.rules[0].limit: missing"),
        ("{rule: reeds, limit: 1}", "did you mean `reads`?"),
        ("{limit: 1}", "monitor.alerts.rules[0].rule: missing"),
        ("{rule: reads, limit: 0}", "expected an integer above 0"),
        ("{rule: reads, limit: 5, window: 5}", "write its unit too"),
        (
            "{rule: reads, limit: 5, group_by: reader}",
            "expected one of `address`, `component`, `component-and-path`, `path`",
        ),
        ("{rule: root-token, limit: 5}", "unknown key"),
        ("{rule: root-token, severity: bad}", "expected one of `critical`, `info`, `warning`"),
        ("{rule: outside-hours}", "hours: missing"),
        ("{rule: outside-hours, hours: []}", "the list is empty"),
        ("{rule: outside-hours, hours: [8-18]}", "expected a time of day such as"),
        ("{rule: outside-hours, hours: ['08:00-18:00'], timezone: ../etc/passwd}", "expected a time zone such as"),
        ("{rule: root-token}, {rule: root-token}", "monitor.alerts.rules[0] has the same name, root-token"),
        ("{rule: lease-expiring}", "but monitor.watch is empty; list their status sockets"),
        ("{rule: agent-silent}", "this rule needs the status of agents and rotators, but monitor.watch is empty"),
        ("{rule: agent-not-fresh}", "this rule needs the status of agents and rotators, but monitor.watch is empty"),
        ("{rule: rotation-overdue}", "this rule needs the status of agents and rotators, but monitor.watch is empty"),
    ],
)
def test_each_mistake_in_a_rule_is_reported_with_its_place(rules, expected):
    [text] = problems(f"rules: [{rules}]")
    assert expected in text
    assert text.startswith("lessee.yaml:1: monitor.alerts.rules[")


def test_a_rule_may_not_have_the_name_of_a_shorthand_rule():
    [text] = problems("reads_per_hour: 5, rules: [{rule: reads, limit: 5, name: reads-per-hour}]")
    assert "monitor.alerts.reads_per_hour has the same name, reads-per-hour" in text


def test_a_rule_about_silent_components_needs_no_watch():
    read("rules: [{rule: agent-silent, components: [simba]}]")


SMTP = "server: 'mail.example.org:587', sender: a@example.org, to: [b@example.org]"


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ("webhook: slack", "expected an `http://` or `https://` URL"),
        ("webhook: {slack: true}", "expected exactly one of `url`, `url_file`, found none of them"),
        ("webhook: {url: 'http://a', url_file: f}", "expected exactly one of"),
        ("alertmanager: {}", "url: missing"),
        ("smtp: {server: mail, sender: a@b, to: [b@c]}", "expected `host:port`"),
        ("smtp: {server: 'm:25', sender: 'a b', to: [b@c]}", "expected an email address"),
        ("smtp: {server: 'm:25', sender: a@b, to: []}", "the list is empty"),
        (f"smtp: {{{SMTP}, username: u}}", "username and password_file need each other"),
        (f"smtp: {{{SMTP}, username: u, password_file: f, tls: none}}", "the password would cross the network"),
    ],
)
def test_each_mistake_in_a_channel_is_reported(alerts, expected):
    [text] = problems(alerts)
    assert expected in text


def test_a_channel_is_a_url_or_a_mapping_and_may_contain_variables():
    config = read(f"webhook: '${{SLACK}}', alertmanager: 'http://am:9093', smtp: {{{SMTP}}}")
    assert config is not None
    read("webhook: {url_file: /run/slack, slack: true}, smtp: {server: 'localhost:25', sender: a@b, to: [c@d], "
         "tls: none, username: u, password_file: f}")  # fmt: skip


def test_watched_services_are_named_after_their_host_or_socket():
    text = "[/run/lessee/status.sock, 'http://u@simba:9105/x', {socket: /a, name: agent}, {url: 'http://b'}]"
    assert list(watch_targets(monitor(f"{{audit: {{file: x}}, watch: {text}}}"))) == [
        "lessee/status",
        "simba:9105",
        "agent",
        "b",
    ]


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        ("run.sock", "expected the absolute path of a status socket, or a URL"),
        (
            "/a/x.sock, {url: 'http://b', name: c}, /a/x.sock",
            "monitor.watch[2]: monitor.watch[0] has the same name, a/x",
        ),
        ("{name: a}", "expected exactly one of `socket`, `url`"),
    ],
)
def test_each_mistake_in_watch_is_reported(watch, expected):
    [text] = problems("", watch)
    assert expected in text


def test_a_sidecar_neither_expands_nor_checks_the_block():
    parse(FILE % ("", "webhook: '${NOT_THERE}'"), source="lessee.yaml", environ={})
