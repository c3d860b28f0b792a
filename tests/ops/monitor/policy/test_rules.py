"""What each rule detects, and what it does not."""

from itertools import count

import pytest

from lessee.config.time_windows import DAY, HOUR
from lessee.core.immutable import replace
from lessee.ops.monitor.policy.alerts import GROUP_WINDOW, MAX_SUBJECTS, NEXT_GROUP_WINDOW
from lessee.ops.monitor.policy.fleet import parse_agent
from lessee.ops.monitor.policy.rates import OTHER
from lessee.ops.monitor.policy.rules import counts, liveness
from lessee.ops.monitor.policy.service_status import (
    AgentLease,
    LogSource,
    PollResult,
    RotationTarget,
    ServiceStatus,
    Snapshot,
)
from support.models.alert_rules import FIRING, NOON, REPEATED, RESOLVED, Rules, access, denied, root

ONLY = "{default_rules: false, resolve_timeout: 5m, rules: [%s]}"
SECRET = "secret/data/production/database/postgres"


def texts(rules):
    return [one.alert.text for one in rules.notifications]


def test_use_of_a_root_token_fires_once_and_resolves_after_the_timeout():
    rules = Rules("{}")
    assert rules.take(root()) == [(FIRING, "10.0.0.5")]
    assert texts(rules) == ["a root token was used from 10.0.0.5: read secret/production/database/postgres"]
    assert rules.notifications[0].alert.severity == "critical"
    assert rules.take(root(NOON + 60), after=60) == []
    assert rules.tick(299) == []
    assert rules.tick(1) == [(RESOLVED, "10.0.0.5")]
    assert rules.take(root(rules.now)) == [(FIRING, "10.0.0.5")]


def test_an_alert_that_lasts_repeats():
    rules = Rules("{default_rules: true, repeat_interval: 10m}")
    rules.take(root())
    kinds = [rules.take(root(rules.now), after=60) for _ in range(21)]
    assert [minute + 1 for minute, one in enumerate(kinds) if one] == [10, 20]
    assert kinds[9] == [(REPEATED, "10.0.0.5")]
    assert rules.notifications == ()


def test_a_request_of_the_server_itself_with_a_root_token_has_no_address():
    assert Rules("{}").take(root(address="")) == [(FIRING, "the server itself")]


@pytest.mark.parametrize(
    ("rule", "operation", "path"),
    [
        ("policy-changed", "update", "sys/policies/acl/simba"),
        ("policy-changed", "delete", "sys/policy/simba"),
        ("policy-changed", "create", "sys/policies/password/long"),
        ("auth-changed", "update", "sys/auth/userpass"),
        ("auth-changed", "update", "sys/mounts/auth/approle/tune"),
        ("auth-changed", "create", "auth/approle/role/simba"),
        ("auth-changed", "update", "auth/approle/role/simba/policies"),
        ("auth-changed", "update", "auth/userpass/users/bob/password"),
        ("auth-changed", "update", "auth/kubernetes/config"),
        ("auth-changed", "update", "auth/token/roles/ci"),
        ("auth-changed", "update", "identity/group/name/admins"),
        ("auth-changed", "update", "identity/entity"),
        ("auth-changed", "update", "sys/generate-root/attempt"),
        ("audit-changed", "delete", "sys/audit/file"),
        ("audit-changed", "update", "sys/config/auditing/request-headers/X-A"),
        (None, "read", "sys/policies/acl/simba"),
        (None, "list", "sys/auth/"),
        (None, "update", "auth/approle/login"),
        (None, "update", "auth/approle/role/simba/secret-id"),
        (None, "update", "auth/token/renew-self"),
        (None, "update", "identity/lookup/entity"),
        (None, "update", "sys/audit-hash/file"),
        (None, "update", "secret/data/sys/policies/acl/simba"),
        (None, "update", "pki/issue/web"),
    ],
)
def test_changes_of_access_control_fire(rule, operation, path):
    rules = Rules("{}")
    kinds = rules.take(access(operation=operation, path=path))
    assert {one.alert.rule for one in rules.notifications} == ({rule} if rule else set())
    assert kinds == ([(FIRING, path)] if rule else [])


def test_a_rule_about_changes_can_be_limited_to_some_paths():
    rules = Rules("{default_rules: false, rules: [{rule: policy-changed, paths: ['*/acl/prod-*']}]}")
    assert rules.take(access(operation="update", path="sys/policies/acl/test-a")) == []
    assert rules.take(access(operation="update", path="sys/policies/acl/prod-a")) == [
        (FIRING, "sys/policies/acl/prod-a")
    ]


def test_the_text_of_a_change_names_the_client_and_the_error():
    rules = Rules("{}")
    rules.take(
        access(operation="delete", path="sys/policies/acl/simba"),
    )
    assert texts(rules) == ["simba deleted sys/policies/acl/simba from 10.0.0.5"]
    rules.tick(GROUP_WINDOW)
    rules.take(
        access(operation="update", path="sys/policies/acl/other", error="permission denied", denied=True, address=""),
    )
    assert texts(rules) == [
        "simba tried to update sys/policies/acl/other from the server itself; the request failed: permission denied",
    ]


def test_the_changes_of_a_command_are_one_alert_with_a_count_and_their_paths():
    rules = Rules("{}")
    paths = [f"sys/policies/acl/{name}" for name in ("a", "b", "c", "d", "e")]
    assert rules.take(*[access(operation="update", path=path) for path in paths[:4]]) == [(FIRING, paths[0])]
    [alert] = [one.alert for one in rules.notifications]
    assert (alert.count, alert.subjects, alert.subject_count) == (4, tuple(paths[:4]), 4)
    assert alert.text == (
        "4 subjects: sys/policies/acl/a, sys/policies/acl/b, sys/policies/acl/c and 1 more; "
        "the latest: simba wrote sys/policies/acl/d from 10.0.0.5"
    )
    # What joins later is reported once, when the minute is over.
    assert rules.take(access(NOON + 30, operation="update", path=paths[4]), after=30) == []
    assert rules.tick(29) == []
    assert rules.tick(1) == [(REPEATED, paths[0])]
    [alert] = [one.alert for one in rules.notifications]
    assert (alert.count, alert.subjects) == (5, tuple(paths))
    assert (alert.started_at, alert.last_seen_at) == (NOON, NOON + 30)
    # A path that the alert names does not fire again; another one has an alert of its own.
    assert rules.take(access(rules.now, operation="update", path=paths[4])) == []
    assert rules.take(access(rules.now, operation="update", path="sys/policies/acl/later")) == [
        (FIRING, "sys/policies/acl/later")
    ]
    assert rules.tick(360) == [(RESOLVED, paths[0]), (RESOLVED, "sys/policies/acl/later")]


def test_changes_of_two_kinds_are_two_alerts():
    rules = Rules("{}")
    assert rules.take(
        access(operation="update", path="sys/policies/acl/a"),
        access(operation="update", path="auth/approle/role/a"),
        access(operation="update", path="auth/approle/role/b"),
    ) == [(FIRING, "sys/policies/acl/a"), (FIRING, "auth/approle/role/a")]


def test_a_storm_of_denials_is_two_notifications_and_its_alert_names_a_hundred_clients():
    rules, kinds = Rules("{default_rules: false, consecutive_denials: 5}"), []
    for second in range(60):
        kinds += rules.take(*[denied(NOON + second, role=f"client-{n}") for n in range(150)], after=1)
    for _ in range(600):
        kinds += rules.tick(1)
    assert kinds == [(FIRING, "client-0"), (RESOLVED, "client-0")]
    [alert] = rules.engine.alerts.values()
    assert (len(alert.subjects), alert.subjects_omitted, alert.count) == (MAX_SUBJECTS, 50, 150 * 56)
    assert alert.text.startswith("at least 150 subjects: client-0, client-1, client-2 and 147 more; the latest: ")


@pytest.mark.no_cover
def test_a_flood_that_lasts_and_always_has_new_subjects_is_two_notifications_in_five_minutes():
    rules, kinds, changes = Rules("{}"), [], {}
    for second in range(1860):
        change = access(NOON + second, operation="update", path=f"sys/policies/acl/{second}")
        kinds += rules.take(change, after=1)
        changes |= {alert.subject: alert.count for alert in rules.engine.alerts.values()}
    assert [kind for kind, _ in kinds].count(FIRING) == 7
    assert [kind for kind, _ in kinds].count(REPEATED) == 6
    assert sum(changes.values()) == 1860
    # The last one resolves, and the next change is alone again.
    rules.tick(600)
    assert rules.take(access(rules.now, operation="update", path="sys/policies/acl/a")) == [
        (FIRING, "sys/policies/acl/a")
    ]
    assert rules.take(access(rules.now, operation="update", path="sys/policies/acl/b"), after=GROUP_WINDOW) == [
        (FIRING, "sys/policies/acl/b")
    ]


def test_a_restart_within_the_minute_keeps_what_joined():
    rules = Rules("{}")
    rules.take(access(operation="update", path="sys/policies/acl/a"))
    assert rules.restart().take(access(operation="update", path="sys/policies/acl/b"), after=1) == []
    assert rules.tick(60) == [(REPEATED, "sys/policies/acl/a")]
    assert rules.notifications[0].alert.subjects == ("sys/policies/acl/a", "sys/policies/acl/b")


def test_reads_per_hour_counts_each_path_of_each_component():
    rules = Rules("{default_rules: false, reads_per_hour: 100}")
    paths = [access(NOON + n, path=f"secret/data/{n % 2}") for n in range(200)]
    assert rules.take(*paths, *[access(NOON + n, role="web", path="secret/data/0") for n in range(100)]) == []
    assert rules.take(access(NOON + 200, path="secret/data/1"), after=200) == [(FIRING, "simba: secret/1")]
    text = "simba: secret/1: 101 reads within 1h, the limit is 100; last read: secret/1 by simba from 10.0.0.5"
    assert texts(rules) == [text]
    assert rules.take(access(NOON + 201, role="web", path="secret/data/0"), after=60) == [(FIRING, "web: secret/0")]
    kinds = rules.restart().take(access(NOON + 202, path="secret/data/0"), after=NEXT_GROUP_WINDOW)
    assert (FIRING, "simba: secret/0") in kinds


def test_more_pairs_than_are_counted_raise_no_alert_and_hide_no_busy_one():
    rules = Rules("{default_rules: false, reads_per_hour: 100}")
    busy = access(path="secret/data/busy")
    many = (access(path=f"secret/data/{n}") for n in range(3 * counts.MAX_PAIRS))
    assert rules.take(*[busy] * 50, *many, *[busy] * 50) == []
    assert rules.take(busy) == [(FIRING, "simba: secret/busy")]
    assert len(rules.engine.state()["rules"]["reads-per-hour"][1]["counts"]) <= counts.MAX_PAIRS
    assert rules.tick(2 * HOUR) == [(RESOLVED, "simba: secret/busy")]


def test_the_alert_of_a_component_names_its_busiest_paths():
    rules = Rules(ONLY % "{rule: reads, limit: 10}")
    reads = [access(path=f"secret/data/{n}") for n in range(5) for _ in range(n)]
    assert rules.take(*reads) == []
    assert rules.restart().take(access(path="secret/data/4")) == [(FIRING, "simba")]
    named = "busiest paths: secret/4 (5), secret/3 (3), secret/2 (2)"
    text = f"simba: 11 reads within 1h, the limit is 10; {named}; last read: secret/4 by simba from 10.0.0.5"
    assert texts(rules) == [text]


def test_the_alert_of_a_path_names_the_components_that_read_it_most():
    rules = Rules(ONLY % "{rule: reads, limit: 3, group_by: path}")
    rules.take(access(), access(role="web"), access(role="web"), access(role="web"))
    assert "busiest components: web (3), simba (1); " in texts(rules)[0]


def test_reads_over_the_limit_fire_for_the_component_and_resolve():
    rules = Rules(ONLY % "{rule: reads, limit: 100}")
    assert rules.take(*[access(NOON + n) for n in range(100)]) == []
    assert rules.take(access(NOON + 100, role="web")) == []
    assert rules.take(access(NOON + 100), after=100) == [(FIRING, "simba")]
    path = "secret/production/database/postgres"
    text = f"simba: 101 reads within 1h, the limit is 100; busiest paths: {path} (101); last read: {path} by simba"
    assert texts(rules) == [f"{text} from 10.0.0.5"]
    assert rules.take(access(NOON + 160), after=60) == []
    assert rules.tick(300) == [(RESOLVED, "simba")]
    # After an hour they no longer count.
    assert rules.take(*[access(NOON + HOUR + 200 + n) for n in range(90)], after=HOUR) == []


def test_a_window_is_not_longer_than_configured():
    rules = Rules(ONLY % "{rule: reads, limit: 3, window: 1m}")
    for second in range(0, 600, 20):
        assert rules.take(access(NOON + second), after=20) == []
    assert rules.take(access(rules.now), access(rules.now)) == [(FIRING, "simba")]


@pytest.mark.parametrize(
    ("by", "subject"),
    [("component", "simba"), ("path", "secret/production/database/postgres"), ("address", "10.0.0.5")],
)
def test_reads_can_be_grouped_by_path_and_address(by, subject):
    rules = Rules(ONLY % f"{{rule: reads, limit: 2, group_by: {by}}}")
    others = [
        access(role="web", path="secret/data/a", address="10.0.0.6"),
        access(role="api", path="secret/data/b", address="10.0.0.7"),
    ]
    assert rules.take(access(), access(), *others) == []
    assert rules.take(access()) == [(FIRING, subject)]


def test_only_a_request_that_returns_a_secret_is_a_read():
    rules = Rules(ONLY % "{rule: reads, limit: 1}")
    kinds = rules.take(
        *[access(path="secret/metadata/production/database/postgres")] * 5,
        *[access(path="secret/config")] * 5,
        *[access(operation="list", path="secret/metadata/production/")] * 5,
        *[access(path="sys/health")] * 5,
        *[access(path="auth/token/lookup-self", mount_type="token")] * 5,
        *[denied()] * 5,
    )
    assert kinds == []
    assert rules.take(*[access(path="database/creds/simba", mount_type="database")] * 2) == [(FIRING, "simba")]


def test_a_rule_can_be_limited_to_some_paths_and_components():
    rules = Rules(
        ONLY % "{rule: reads, limit: 1, paths: [secret/production/*], components: [ci-*, simba]}, "
        "{rule: root-token, name: other-root, components: [unknown-*], severity: info}"
    )
    assert rules.take(*[access(path="secret/data/testing/x")] * 3) == []
    assert rules.take(*[access(role="web")] * 3) == []
    assert rules.take(root()) == []
    assert rules.take(*[access(role="ci-1")] * 3) == [(FIRING, "ci-1")]


def test_a_filter_matches_more_paths_than_it_caches():
    rules = Rules(ONLY % "{rule: reads, limit: 1, paths: ['secret/production/*']}")
    rules.take(*[access(path=f"secret/data/testing/{n}") for n in range(5000)])
    assert rules.take(access(), access()) == [(FIRING, "simba")]


def test_components_and_paths_have_their_namespace_as_a_prefix():
    rules = Rules(ONLY % "{rule: reads, limit: 1}")
    assert rules.take(*[access(namespace="team-a")] * 2) == [(FIRING, "team-a/simba")]
    assert "team-a/secret/production/database/postgres" in texts(rules)[0]


def test_in_a_namespace_too_metadata_is_no_read_and_a_path_has_no_data():
    # OpenBao's mounts have the namespace, its paths have not.
    there = {"mount": "team-a/secret", "namespace": "team-a"}
    rules = Rules(ONLY % "{rule: reads, limit: 1}")
    assert rules.take(*[access(path="secret/metadata/production/one", **there)] * 3) == []
    rules.take(access(**there), access(**there))
    assert "last read: team-a/secret/production/database/postgres by team-a/simba" in texts(rules)[0]


def test_readers_beyond_the_limit_share_one_count(monkeypatch):
    monkeypatch.setattr(counts, "MAX_SUBJECTS", 3)
    rules = Rules(ONLY % "{rule: reads, limit: 2}")
    assert rules.take(*[access(role=f"r{n}") for n in range(5)]) == []
    assert rules.take(access(role="r9")) == [(FIRING, OTHER)]
    rules.tick(2 * HOUR)
    assert rules.take(*[access(rules.now, role="r9")] * 3) == [(FIRING, "r9")]


def test_denials_in_a_row_fire_and_a_success_resets_the_count():
    rules = Rules("{default_rules: false, consecutive_denials: 3}")
    assert rules.take(denied(), denied(), access(), denied(), denied()) == []
    assert rules.take(denied()) == [(FIRING, "simba")]
    assert texts(rules) == [
        "simba: 3 denials in a row; last request: read secret/production/database/postgres from 10.0.0.5"
    ]
    rules.take(access(), after=60)
    assert rules.tick(300) == [(RESOLVED, "simba")]


def test_a_thief_with_bao_kv_fires_although_each_command_asks_for_the_mount_first():
    rules = Rules("{default_rules: false, consecutive_denials: 3}")
    asks = access(path="sys/internal/ui/mounts/secret/production", mount="sys/", mount_type="system")
    assert rules.take(asks, denied(), asks, denied(), asks) == []
    assert rules.take(denied()) == [(FIRING, "simba")]


def test_a_copied_login_fires_although_the_app_s_own_requests_succeed_in_between():
    rules = Rules("{default_rules: false, consecutive_denials: 3}")
    thief = denied(accessor="hmac-sha256:2", address="10.0.0.9")
    assert rules.take(thief, access(), thief, access()) == []
    rules.restart()
    assert rules.take(thief, access()) == [(FIRING, "simba")]
    assert "simba: 3 denials in a row; last request: " in texts(rules)[0]
    # A success of the same token resets its count.
    rules.tick(600)
    again = access(rules.now, accessor="hmac-sha256:2")
    assert rules.take(again, thief, thief, again, thief, access(), thief, access()) == []


def test_tokens_beyond_the_limit_are_not_counted_one_by_one(monkeypatch):
    monkeypatch.setattr(counts, "MAX_SUBJECTS", 2)
    rules = Rules("{default_rules: false, consecutive_denials: 2}")
    for number in range(3):
        assert rules.take(denied(accessor=f"hmac-sha256:a{number}"), access()) == []
    assert rules.take(denied(accessor="hmac-sha256:a2"), access()) == []
    rules.tick(2 * HOUR)
    late = denied(rules.now, accessor="hmac-sha256:a2")
    assert rules.take(late, access(rules.now), late, access(rules.now)) == [(FIRING, "simba")]


def test_a_client_without_a_valid_token_is_counted_by_address_until_it_logs_in():
    rules = Rules("{default_rules: false, consecutive_denials: 3}")
    stranger = {"role": "", "display_name": ""}
    wrong = access(operation="update", path="auth/approle/login", error="invalid credentials", **stranger)
    assert rules.take(denied(**stranger), wrong, wrong) == [(FIRING, "unauthenticated at 10.0.0.5")]
    assert rules.take(access(operation="update", path="auth/approle/login")) == []
    rules.tick(600)
    assert rules.take(wrong, wrong) == []
    assert rules.take(wrong) == [(FIRING, "unauthenticated at 10.0.0.5")]
    rules.tick(GROUP_WINDOW)
    assert rules.take(*[denied(address="", **stranger)] * 3) == [(FIRING, "unauthenticated at the server itself")]


def test_denials_of_other_paths_can_be_ignored():
    rules = Rules(ONLY % "{rule: denials, limit: 2, paths: ['secret/production/*']}")
    assert rules.take(*[denied(path="secret/data/testing/x")] * 5) == []
    assert rules.take(*[denied()] * 2) == [(FIRING, "simba")]


def test_denied_clients_beyond_the_limit_share_one_count(monkeypatch):
    monkeypatch.setattr(counts, "MAX_SUBJECTS", 3)
    rules = Rules("{default_rules: false, consecutive_denials: 2}")
    stranger = {"role": "", "display_name": ""}
    assert rules.take(*[denied(address=f"10.0.0.{n}", **stranger) for n in range(5)]) == [(FIRING, OTHER)]
    rules.tick(2 * HOUR)
    again = [denied(rules.now, address="10.0.0.9", **stranger)] * 2
    assert rules.take(*again) == [(FIRING, "unauthenticated at 10.0.0.9")]


def test_the_first_read_of_a_path_or_from_an_address_fires_after_the_learning_period():
    rules = Rules(
        ONLY % "{rule: first-read, learning_period: 1h}, "
        "{rule: first-read, name: first-from, group_by: address, learning_period: 1h}"
    )
    assert rules.take(access(), access(path="secret/data/a", address="10.0.0.6")) == []
    new = access(NOON + HOUR, path="secret/data/b", address="10.0.0.7")
    later = [access(NOON + HOUR), new, new]
    assert rules.take(*later, after=HOUR) == [(FIRING, "simba: secret/b"), (FIRING, "simba: 10.0.0.7")]
    assert texts(rules) == [
        "simba read secret/b from 10.0.0.7: its first read of this path",
        "simba read secret/b from 10.0.0.7: its first read from this address",
    ]
    rules.restart()
    rules.tick(HOUR)
    assert rules.take(new) == []
    assert rules.take(access(rules.now, role="web")) == [
        (FIRING, "web: secret/production/database/postgres"),
        (FIRING, "web: 10.0.0.5"),
    ]
    rules.tick(NEXT_GROUP_WINDOW)
    assert rules.take(access(rules.now, role="api", address=""))[1] == (FIRING, "api: the server itself")
    assert rules.take(denied(rules.now, role="zzz"), access(rules.now, "update", role="zzz")) == []


def test_an_older_entry_does_not_make_a_known_read_older(monkeypatch):
    monkeypatch.setattr(counts, "MAX_KNOWN_READS", 10)
    rules = Rules(ONLY % "{rule: first-read, learning_period: 0s}")
    rules.take(access(NOON + 20, path="secret/data/a"), access(NOON, path="secret/data/a"), after=20)
    rules.take(*[access(NOON + n, path=f"secret/data/{n}") for n in range(1, 11)])
    rules.tick(600)
    assert rules.take(access(rules.now, path="secret/data/a")) == []


def test_the_oldest_reads_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(counts, "MAX_KNOWN_READS", 10)
    rules = Rules(ONLY % "{rule: first-read, learning_period: 0s}")
    rules.take(*[access(NOON + n, path=f"secret/data/{n}") for n in range(11)], after=20)
    assert rules.take(access(NOON + 21, path="secret/data/10")) == []
    rules.tick(600)
    assert rules.take(access(rules.now, path="secret/data/0")) == [(FIRING, "simba: secret/0")]


@pytest.mark.parametrize(
    ("zone", "hours", "at", "fires"),
    [
        ("UTC", "'mon-fri 08:00-18:00'", NOON, False),
        ("UTC", "'08:00-12:30'", NOON + 30 * 60 - 1, False),
        ("UTC", "'08:00-12:30'", NOON + 30 * 60, True),
        ("UTC", "'mon-fri 08:00-18:00'", NOON + 6 * HOUR, True),
        ("UTC", "'mon-fri 08:00-18:00'", NOON + 3 * DAY, True),
        ("UTC", "'mon 22:00-06:00', 'wed 22:00-06:00'", NOON + 14 * HOUR, False),
        ("UTC", "'sun 22:00-06:00'", NOON + 4 * DAY + 17 * HOUR, False),
        ("America/New_York", "'08:00-18:00'", NOON, True),
        ("America/New_York", "'08:00-18:00'", NOON + 2 * HOUR, False),
        ("Europe/Berlin", "'08:00-18:00'", NOON + 5 * HOUR, True),
    ],
)
def test_a_read_outside_the_expected_hours_fires_in_the_configured_time_zone(zone, hours, at, fires):
    rules = Rules(ONLY % f"{{rule: outside-hours, hours: [{hours}], timezone: {zone}}}", now=at)
    assert rules.take(access(at)) == ([(FIRING, "simba")] if fires else [])
    assert rules.take(denied(at, role="web"), access(at, operation="update", role="web")) == []


def test_the_text_about_a_read_outside_the_expected_hours_has_the_local_time():
    rules = Rules(ONLY % "{rule: outside-hours, hours: ['13:30-14:00'], timezone: Asia/Kolkata}")
    rules.take(access(role="web"), access(NOON + 1, address=""))
    assert texts(rules) == [
        (
            "2 subjects: web, simba; the latest: "
            "simba read secret/production/database/postgres on Wednesday at 17:30 (Asia/Kolkata), "
            "outside the expected hours"
        )
    ]


def test_an_unreadable_or_silent_audit_log_fires():
    rules = Rules("{rules: [{rule: audit-off, after: 1m, silent_after: 1h}]}")
    rules.sources = (LogSource("one", None, NOON), LogSource("two", None, None))
    assert rules.tick() == []
    rules.sources = (LogSource("one", "no such file", NOON), LogSource("two", None, None))
    assert rules.tick(30) == []
    assert rules.tick(59) == []
    rules.restart()
    assert rules.tick(1) == [(FIRING, "one")]
    assert texts(rules) == ["the audit log one cannot be read: no such file"]
    rules.sources = (LogSource("one", None, NOON + 100), LogSource("two", None, None))
    assert rules.tick(301) == [(RESOLVED, "one")]
    assert rules.tick(HOUR + 300) == [(FIRING, "one"), (FIRING, "two")]
    assert texts(rules)[0] == "the audit log one has had no entry for 69m"


def poll(error=None, leases=(), targets=(), at=NOON):
    return PollResult(at, error, ServiceStatus(tuple(leases), tuple(targets)))


def test_a_rotation_that_is_overdue_or_fails_fires_with_the_reason():
    rules = Rules("{resolve_timeout: 0s}", watch=["/run/lessee/rotator.sock"])
    healthy = RotationTarget("postgres", NOON + 60, 0, "", 0.0)
    for target in (
        healthy,
        RotationTarget("postgres", None, 2, "", 0.0),
        RotationTarget("postgres", NOON - HOUR + 1, 0, "", 60.0),
    ):
        rules.services = {"rotator": poll(targets=[target])}
        assert rules.tick() == []
    rules.services = {"rotator": poll(targets=[RotationTarget("postgres", NOON - 4 * DAY, 3, "no answer", 0.0)])}
    assert rules.tick() == [(FIRING, "rotator: postgres"), (FIRING, "rotator: postgres")]
    assert texts(rules) == [
        "the rotation of postgres has been due for 4d: no answer",
        "the rotation of postgres has failed 3 times in a row: no answer",
    ]
    rules.services = {"rotator": poll(targets=[RotationTarget("postgres", None, 0, "", 5 * DAY)])}
    rules.tick(60)
    assert rules.firing() == {("rotation-overdue", "rotator: postgres")}
    assert "has been in progress for 5d" in str(rules.engine.alerts)
    rules.services = {"rotator": poll(targets=[healthy]), "new": PollResult(NOON, None, None)}
    assert rules.tick(60) == [(RESOLVED, "rotator: postgres")]


def test_a_rotation_that_cannot_start_fires():
    rules = Rules("{}", watch=["/run/lessee/rotator.sock"])
    rules.services = {"rotator": poll(targets=[RotationTarget("postgres", NOON + 60, 0, "permission denied", 0.0)])}
    assert rules.tick() == [(FIRING, "rotator: postgres")]
    assert texts(rules) == ["the rotation of postgres cannot start: permission denied"]


def lease(path="database/creds/simba", ends=NOON + HOUR, renew=NOON + HOUR / 2, state="held"):
    return AgentLease(path, ends, renew, state)


def test_a_lease_that_was_not_renewed_in_time_fires():
    rules = Rules("{resolve_timeout: 0s}", watch=["/run/lessee/status.sock"])
    leases = [
        lease(),
        lease("pki/issue/web", ends=NOON + 2 * HOUR, renew=None),
        lease("old", NOON + 1, NOON, "retiring"),
    ]
    rules.services = {"agent": poll(leases=leases), "new": PollResult(NOON, None, None)}
    assert rules.tick(44 * 60) == []
    assert rules.tick(60) == [(FIRING, "agent")]
    assert texts(rules) == ["agent: not renewed in time: database/creds/simba; the first expires in 15m"]
    rules.services = {"agent": poll(leases=[*leases[1:], lease(ends=NOON + 2 * HOUR, renew=NOON + 1.5 * HOUR)])}
    assert rules.tick(60) == [(RESOLVED, "agent")]


def test_several_leases_of_an_agent_are_one_alert():
    rules = Rules("{}", watch=["/run/lessee/status.sock"])
    numbers = count(1)
    rules.services = {
        "agent": poll(leases=[lease(f"database/creds/{next(numbers)}", NOON - 3 * HOUR, None, "expired")] * 5)
    }
    assert rules.tick() == [(FIRING, "agent")]
    assert texts(rules) == ["agent: not renewed in time: database/creds/1 and 2 more; the first expired 3h ago"]
    now = Rules("{}", watch=["/run/lessee/status.sock"])
    now.services = {"agent": poll(leases=[lease(ends=NOON, renew=None)])}
    assert now.tick() == [(FIRING, "agent")]
    assert texts(now) == ["agent: not renewed in time: database/creds/simba; the first expired 1s ago"]


def test_a_lease_can_fire_by_its_remaining_time():
    rules = Rules(ONLY % "{rule: lease-expiring, before: 10m}", watch=["/run/lessee/status.sock"])
    rules.services = {"agent": poll(leases=[lease(renew=NOON)])}
    assert rules.tick(50 * 60) == []
    assert rules.tick(1) == [(FIRING, "agent")]
    rules.restart()
    rules.tick(540)
    assert "the first expires in 59s" in str(rules.engine.alerts)


def test_a_service_that_does_not_answer_fires_and_resolves_when_it_answers():
    rules = Rules("{resolve_timeout: 0s}", watch=["/run/lessee/status.sock"])
    rules.services = {"agent": poll()}
    assert rules.tick() == []
    rules.services = {"agent": poll("connection refused", at=NOON + 15)}
    assert rules.tick(15) == []
    assert rules.tick(299) == []
    # Before the first poll after a start, the alert neither resolves nor starts again.
    services, rules.services = rules.services, {}
    rules.restart()
    assert rules.tick(1) == []
    rules.services = services
    assert rules.tick() == [(FIRING, "agent")]
    assert texts(rules) == ["agent has not answered for 5m: connection refused"]
    rules.restart()
    rules.services = {}
    assert rules.tick(30) == []
    rules.services = {"agent": poll(at=rules.now)}
    assert rules.tick(60) == [(RESOLVED, "agent")]


def test_a_component_that_stops_its_regular_requests_fires():
    rules = Rules(ONLY % "{rule: agent-silent, after: 5m, components: [simba, w*]}")
    for _ in range(31):
        minute = [access(rules.now, path="secret/metadata/production/"), access(rules.now, role="other")]
        assert rules.take(*minute, after=60) == []
    other = [access(rules.now + n, role="other") for n in (60, 200)]
    # A job that ran for a minute is not expected to continue.
    job = [access(rules.now + n, role="w1") for n in range(60)]
    assert rules.take(*other, *job, after=300) == []
    # Without any new log entry, no component is silent.
    assert rules.tick(HOUR) == []
    rules.restart()
    assert rules.take(access(rules.now, role="other")) == [(FIRING, "simba")]
    assert texts(rules) == ["simba sent requests to Vault regularly, but has sent none for 66m"]
    assert rules.take(access(rules.now)) == []
    assert rules.tick(300) == [(RESOLVED, "simba")]


def test_a_component_that_was_silent_for_a_week_is_forgotten(monkeypatch):
    monkeypatch.setattr(liveness, "MAX_COMPONENTS", 1)
    rules = Rules(ONLY % "{rule: agent-silent, after: 5m, components: ['*'], resolve_timeout: 0s}")
    for n in range(31):
        rules.take(access(NOON + 60 * n), after=60)
    rules.take(access(rules.now + 600, role="second"), after=600)
    assert rules.firing() == {("agent-silent", "simba")}
    # The limit leaves no room for another component.
    assert rules.take(access(rules.now + 8 * DAY, role="second"), after=8 * DAY) == [(RESOLVED, "simba")]
    assert rules.take(access(rules.now + 600, role="third"), after=600) == []


def test_a_key_that_an_operator_must_enter_fires_with_the_command():
    rules = Rules("{resolve_timeout: 0s}", watch=["/run/lessee/rotator.sock"])
    rules.services = {"rotator": poll(targets=[RotationTarget("brave", NOON - 4 * DAY, 0, "", 0.0, entry_due=True)])}
    assert rules.tick() == [(FIRING, "rotator: brave")]
    assert texts(rules) == [
        "the rotation of brave has been due for 4d: create a new credential, and run `lessee rotate brave --enter`"
    ]


def agent(*problems, ready=True, fresh=False):
    status = ServiceStatus(agent=parse_agent({
        "version": "1", "apps": {}, "ready": ready, "fresh": fresh, "problems": list(problems),
    }))  # fmt: skip
    return PollResult(NOON, None, status)


def test_an_agent_that_is_not_fresh_fires_with_its_first_problem_and_resolves():
    rules = Rules("{resolve_timeout: 0s}", watch=["/run/lessee/status.sock"])
    rules.services = {"agent": agent(fresh=True), "rotator": poll()}
    assert rules.tick() == []
    rules.services = {"agent": agent("vault is unavailable: refused", "more"), "new": PollResult(NOON, None, None)}
    assert rules.tick() == []
    rules.restart()
    assert rules.tick(300) == [(FIRING, "agent")]
    assert texts(rules) == ["agent may have outdated files since 5m: vault is unavailable: refused"]
    rules.services = {"agent": agent(fresh=True)}
    assert rules.tick(60) == [(RESOLVED, "agent")]
    rules.services = {"agent": replace(agent(ready=False), at=rules.now)}
    assert rules.tick() == []
    assert rules.tick(300) == [(FIRING, "agent")]
    assert texts(rules) == ["agent has no files for an app since 5m"]


def test_an_agent_that_does_not_answer_is_not_also_reported_as_not_fresh():
    rules = Rules(ONLY % "{rule: agent-not-fresh, after: 0s}", watch=["/run/lessee/status.sock"])
    rules.services = {"agent": replace(agent("one"), error="refused")}
    assert rules.tick() == []
    rules.services = {"agent": agent("one")}
    assert rules.tick() == [(FIRING, "agent")]
    rules.engine.evaluate(Snapshot(NOON - HOUR, (), rules.services))
    assert rules.engine.state()["rules"]["agent-not-fresh"][1] == {"agent": NOON - HOUR}
