"""What raises an alarm, and what does not."""

from itertools import count

import pytest

from lessee.config.time_windows import DAY, HOUR
from lessee.ops.monitor.policy.facts import Answer, Heard, Held, Rotated, Source
from lessee.ops.monitor.policy.rates import OTHER
from lessee.ops.monitor.policy.rules import counts, silence
from support.models.alert_rules import AGAIN, FIRING, NOON, RESOLVED, Alarms, access, refused, root

ONLY = "{usual: false, resolve_after: 5m, rules: [%s]}"
SECRET = "secret/data/production/database/postgres"


def texts(alarms):
    return [one.alert.text for one in alarms.told]


def test_a_root_token_is_told_once_and_is_over_when_it_was_not_used_for_a_while():
    alarms = Alarms("{}")
    assert alarms.hear(root()) == [(FIRING, "10.0.0.5")]
    assert texts(alarms) == ["a root token was used from 10.0.0.5: read secret/production/database/postgres"]
    assert alarms.told[0].alert.severity == "critical"
    assert alarms.hear(root(NOON + 60), after=60) == []
    assert alarms.tick(299) == []
    assert alarms.tick(1) == [(RESOLVED, "10.0.0.5")]
    assert alarms.hear(root(alarms.now)) == [(FIRING, "10.0.0.5")]


def test_what_lasts_is_told_again_after_a_time():
    alarms = Alarms("{usual: true, again_after: 10m}")
    alarms.hear(root())
    told = [alarms.hear(root(alarms.now), after=60) for _ in range(21)]
    assert [minute + 1 for minute, one in enumerate(told) if one] == [10, 20]
    assert told[9] == [(AGAIN, "10.0.0.5")]
    assert alarms.told == ()


def test_a_request_that_the_server_made_itself_with_a_root_token_has_no_address():
    assert Alarms("{}").hear(root(address="")) == [(FIRING, "the server itself")]


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
def test_changes_of_who_may_do_what_are_told(rule, operation, path):
    alarms = Alarms("{}")
    told = alarms.hear(access(operation=operation, path=path))
    assert {one.alert.rule for one in alarms.told} == ({rule} if rule else set())
    assert told == ([(FIRING, path)] if rule else [])


def test_some_policies_may_change_as_they_like():
    alarms = Alarms("{usual: false, rules: [{rule: policy-changed, paths: ['*/acl/prod-*']}]}")
    assert alarms.hear(access(operation="update", path="sys/policies/acl/test-a")) == []
    assert alarms.hear(access(operation="update", path="sys/policies/acl/prod-a")) == [
        (FIRING, "sys/policies/acl/prod-a")
    ]


def test_who_changed_it_and_whether_it_failed_is_said():
    alarms = Alarms("{}")
    alarms.hear(
        access(operation="delete", path="sys/policies/acl/simba"),
        access(operation="update", path="sys/policies/acl/other", error="permission denied", refused=True, address=""),
    )
    assert texts(alarms) == [
        "sys/policies/acl/simba was deleted by simba from 10.0.0.5",
        "sys/policies/acl/other was tried (update) by simba from the server itself; it failed: permission denied",
    ]


def test_reads_over_the_limit_are_told_by_component_and_stop_to_be():
    alarms = Alarms("{usual: false, reads_per_hour: 100}")
    assert alarms.hear(*[access(NOON + n) for n in range(100)]) == []
    assert alarms.hear(access(NOON + 100, role="web")) == []
    assert alarms.hear(access(NOON + 100), after=100) == [(FIRING, "simba")]
    text = "simba: 101 reads within 1h, more than 100; the last one of secret/production/database/postgres by simba"
    assert texts(alarms) == [f"{text} from 10.0.0.5"]
    assert alarms.hear(access(NOON + 160), after=60) == []
    assert alarms.tick(300) == [(RESOLVED, "simba")]
    # An hour later they count no more.
    assert alarms.hear(*[access(NOON + HOUR + 200 + n) for n in range(90)], after=HOUR) == []


def test_no_window_is_longer_than_it_is_said_to_be():
    alarms = Alarms(ONLY % "{rule: reads, limit: 3, within: 1m}")
    for second in range(0, 600, 20):
        assert alarms.hear(access(NOON + second), after=20) == []
    assert alarms.hear(access(alarms.now), access(alarms.now)) == [(FIRING, "simba")]


@pytest.mark.parametrize(
    ("by", "subject"),
    [("component", "simba"), ("path", "secret/production/database/postgres"), ("address", "10.0.0.5")],
)
def test_reads_can_be_counted_by_path_and_address_too(by, subject):
    alarms = Alarms(ONLY % f"{{rule: reads, limit: 2, by: {by}}}")
    others = [
        access(role="web", path="secret/data/a", address="10.0.0.6"),
        access(role="api", path="secret/data/b", address="10.0.0.7"),
    ]
    assert alarms.hear(access(), access(), *others) == []
    assert alarms.hear(access()) == [(FIRING, subject)]


def test_only_what_gives_a_secret_is_a_read():
    alarms = Alarms(ONLY % "{rule: reads, limit: 1}")
    told = alarms.hear(
        *[access(path="secret/metadata/production/database/postgres")] * 5,
        *[access(path="secret/config")] * 5,
        *[access(operation="list", path="secret/metadata/production/")] * 5,
        *[access(path="sys/health")] * 5,
        *[access(path="auth/token/lookup-self", mount_type="token")] * 5,
        *[refused()] * 5,
    )
    assert told == []
    assert alarms.hear(*[access(path="database/creds/simba", mount_type="database")] * 2) == [(FIRING, "simba")]


def test_a_rule_may_be_about_some_paths_and_components():
    alarms = Alarms(
        ONLY % "{rule: reads, limit: 1, paths: [secret/production/*], components: [ci-*, simba]}, "
        "{rule: root-token, name: other-root, components: [nobody-*], severity: info}"
    )
    assert alarms.hear(*[access(path="secret/data/testing/x")] * 3) == []
    assert alarms.hear(*[access(role="web")] * 3) == []
    assert alarms.hear(root()) == []
    assert alarms.hear(*[access(role="ci-1")] * 3) == [(FIRING, "ci-1")]


def test_more_paths_than_a_filter_remembers_are_judged_all_the_same():
    alarms = Alarms(ONLY % "{rule: reads, limit: 1, paths: ['secret/production/*']}")
    alarms.hear(*[access(path=f"secret/data/testing/{n}") for n in range(5000)])
    assert alarms.hear(access(), access()) == [(FIRING, "simba")]


def test_a_namespace_stands_in_front_of_what_is_in_it():
    alarms = Alarms(ONLY % "{rule: reads, limit: 1}")
    assert alarms.hear(*[access(namespace="team-a")] * 2) == [(FIRING, "team-a/simba")]
    assert "team-a/secret/production/database/postgres" in texts(alarms)[0]


def test_more_readers_than_can_be_counted_are_counted_together(monkeypatch):
    monkeypatch.setattr(counts, "MOST", 3)
    alarms = Alarms(ONLY % "{rule: reads, limit: 2}")
    assert alarms.hear(*[access(role=f"r{n}") for n in range(5)]) == []
    assert alarms.hear(access(role="r9")) == [(FIRING, OTHER)]
    alarms.tick(2 * HOUR)
    assert alarms.hear(*[access(alarms.now, role="r9")] * 3) == [(FIRING, "r9")]


def test_refusals_in_a_row_are_told_and_a_success_ends_the_row():
    alarms = Alarms("{usual: false, refusals_in_a_row: 3}")
    assert alarms.hear(refused(), refused(), access(), refused(), refused()) == []
    assert alarms.hear(refused()) == [(FIRING, "simba")]
    assert texts(alarms) == [
        "simba: 3 refusals in a row; the last one of read secret/production/database/postgres from 10.0.0.5"
    ]
    alarms.hear(access(), after=60)
    assert alarms.tick(300) == [(RESOLVED, "simba")]


def test_who_has_no_valid_token_is_known_by_the_address_until_it_logs_in():
    alarms = Alarms("{usual: false, refusals_in_a_row: 3}")
    stranger = {"role": "", "display_name": ""}
    wrong = access(operation="update", path="auth/approle/login", error="invalid credentials", **stranger)
    assert alarms.hear(refused(**stranger), wrong, wrong) == [(FIRING, "nobody at 10.0.0.5")]
    assert alarms.hear(access(operation="update", path="auth/approle/login")) == []
    alarms.tick(600)
    assert alarms.hear(wrong, wrong) == []
    assert alarms.hear(wrong) == [(FIRING, "nobody at 10.0.0.5")]
    assert alarms.hear(*[refused(address="", **stranger)] * 3) == [(FIRING, "nobody at the server itself")]


def test_refusals_of_other_paths_may_be_no_matter():
    alarms = Alarms(ONLY % "{rule: refusals, limit: 2, paths: ['secret/production/*']}")
    assert alarms.hear(*[refused(path="secret/data/testing/x")] * 5) == []
    assert alarms.hear(*[refused()] * 2) == [(FIRING, "simba")]


def test_more_refused_than_can_be_counted_are_counted_together(monkeypatch):
    monkeypatch.setattr(counts, "MOST", 3)
    alarms = Alarms("{usual: false, refusals_in_a_row: 2}")
    stranger = {"role": "", "display_name": ""}
    assert alarms.hear(*[refused(address=f"10.0.0.{n}", **stranger) for n in range(5)]) == [(FIRING, OTHER)]
    alarms.tick(2 * HOUR)
    again = [refused(alarms.now, address="10.0.0.9", **stranger)] * 2
    assert alarms.hear(*again) == [(FIRING, "nobody at 10.0.0.9")]


def test_the_first_read_of_a_path_or_from_an_address_is_told_once_it_has_learnt():
    alarms = Alarms(
        ONLY % "{rule: first-read, learn: 1h}, {rule: first-read, name: first-from, by: address, learn: 1h}"
    )
    assert alarms.hear(access(), access(path="secret/data/a", address="10.0.0.6")) == []
    new = access(NOON + HOUR, path="secret/data/b", address="10.0.0.7")
    later = [access(NOON + HOUR), new, new]
    assert alarms.hear(*later, after=HOUR) == [(FIRING, "simba: secret/b"), (FIRING, "simba: 10.0.0.7")]
    assert texts(alarms) == [
        "simba has read secret/b from 10.0.0.7: the first read of it",
        "simba has read secret/b from 10.0.0.7: the first read from this address",
    ]
    alarms.restart()
    alarms.tick(HOUR)
    assert alarms.hear(new) == []
    assert alarms.hear(access(alarms.now, role="web")) == [
        (FIRING, "web: secret/production/database/postgres"),
        (FIRING, "web: 10.0.0.5"),
    ]
    assert alarms.hear(access(alarms.now, role="api", address=""))[1] == (FIRING, "api: the server itself")
    assert alarms.hear(refused(alarms.now, role="zzz"), access(alarms.now, "update", role="zzz")) == []


def test_what_was_read_longest_ago_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(counts, "MOST_KNOWN", 10)
    alarms = Alarms(ONLY % "{rule: first-read, learn: 0s}")
    alarms.hear(*[access(NOON + n, path=f"secret/data/{n}") for n in range(11)], after=20)
    assert alarms.hear(access(NOON + 21, path="secret/data/10")) == []
    alarms.tick(600)
    assert alarms.hear(access(alarms.now, path="secret/data/0")) == [(FIRING, "simba: secret/0")]


@pytest.mark.parametrize(
    ("zone", "hours", "at", "told"),
    [
        ("UTC", "'mon-fri 08:00-18:00'", NOON, False),
        ("UTC", "'mon-fri 08:00-18:00'", NOON + 6 * HOUR, True),
        ("UTC", "'mon-fri 08:00-18:00'", NOON + 3 * DAY, True),
        ("UTC", "'mon 22:00-06:00', 'wed 22:00-06:00'", NOON + 14 * HOUR, False),
        ("UTC", "'sun 22:00-06:00'", NOON + 4 * DAY + 17 * HOUR, False),
        ("America/New_York", "'08:00-18:00'", NOON, True),
        ("America/New_York", "'08:00-18:00'", NOON + 2 * HOUR, False),
        ("Europe/Berlin", "'08:00-18:00'", NOON + 5 * HOUR, True),
    ],
)
def test_a_read_outside_its_hours_is_told_by_the_clocks_of_a_zone(zone, hours, at, told):
    alarms = Alarms(ONLY % f"{{rule: outside-hours, hours: [{hours}], zone: {zone}}}", now=at)
    assert alarms.hear(access(at)) == ([(FIRING, "simba")] if told else [])
    assert alarms.hear(refused(at, role="web"), access(at, operation="update", role="web")) == []


def test_the_local_time_of_a_read_outside_its_hours_is_said():
    alarms = Alarms(ONLY % "{rule: outside-hours, hours: ['13:30-14:00'], zone: Asia/Kolkata}")
    alarms.hear(access(role="web"), access(NOON + 1, address=""))
    assert texts(alarms)[1:] == [
        "simba has read secret/production/database/postgres on Wednesday at 17:30 (Asia/Kolkata), outside its hours"
    ]


def test_an_audit_log_that_cannot_be_read_or_says_nothing_is_told():
    alarms = Alarms("{rules: [{rule: audit-off, after: 1m, silent_after: 1h}]}")
    alarms.sources = (Source("one", None, NOON), Source("two", None, None))
    assert alarms.tick() == []
    alarms.sources = (Source("one", "no such file", NOON), Source("two", None, None))
    assert alarms.tick(30) == []
    assert alarms.tick(59) == []
    alarms.restart()
    assert alarms.tick(1) == [(FIRING, "one")]
    assert texts(alarms) == ["the audit log one cannot be read: no such file"]
    alarms.sources = (Source("one", None, NOON + 100), Source("two", None, None))
    assert alarms.tick(301) == [(RESOLVED, "one")]
    assert alarms.tick(HOUR + 300) == [(FIRING, "one"), (FIRING, "two")]
    assert texts(alarms)[0] == "the audit log one has said nothing for 69m"


def answer(error=None, held=(), rotated=(), at=NOON):
    return Answer(at, error, Heard(tuple(held), tuple(rotated)))


def test_a_rotation_that_is_overdue_or_fails_is_told_with_the_reason():
    alarms = Alarms("{resolve_after: 0s}", watch=["/run/lessee/rotator.sock"])
    well = Rotated("postgres", NOON + 60, 0, "", 0.0)
    for target in (well, Rotated("postgres", None, 2, "", 0.0), Rotated("postgres", NOON - HOUR + 1, 0, "", 60.0)):
        alarms.answers = {"rotator": answer(rotated=[target])}
        assert alarms.tick() == []
    alarms.answers = {"rotator": answer(rotated=[Rotated("postgres", NOON - 4 * DAY, 3, "it is away", 0.0)])}
    assert alarms.tick() == [(FIRING, "rotator: postgres"), (FIRING, "rotator: postgres")]
    assert texts(alarms) == [
        "the rotation of postgres has been due for 4d: it is away",
        "the rotation of postgres has failed 3 times in a row: it is away",
    ]
    alarms.answers = {"rotator": answer(rotated=[Rotated("postgres", None, 0, "", 5 * DAY)])}
    alarms.tick(60)
    assert alarms.firing() == {("rotation-overdue", "rotator: postgres")}
    assert "has not come to an end for 5d" in str(alarms.watch.alerts)
    alarms.answers = {"rotator": answer(rotated=[well]), "new": Answer(NOON, None, None)}
    assert alarms.tick(60) == [(RESOLVED, "rotator: postgres")]


def test_a_rotation_that_cannot_begin_is_told():
    alarms = Alarms("{}", watch=["/run/lessee/rotator.sock"])
    alarms.answers = {"rotator": answer(rotated=[Rotated("postgres", NOON + 60, 0, "permission denied", 0.0)])}
    assert alarms.tick() == [(FIRING, "rotator: postgres")]
    assert texts(alarms) == ["the rotation of postgres cannot begin: permission denied"]


def held(path="database/creds/simba", ends=NOON + HOUR, renew=NOON + HOUR / 2, state="held"):
    return Held(path, ends, renew, state)


def test_a_lease_that_is_not_renewed_when_it_should_have_been_is_told():
    alarms = Alarms("{resolve_after: 0s}", watch=["/run/lessee/status.sock"])
    leases = [held(), held("pki/issue/web", ends=NOON + 2 * HOUR, renew=None), held("old", NOON + 1, NOON, "retiring")]
    alarms.answers = {"agent": answer(held=leases), "new": Answer(NOON, None, None)}
    assert alarms.tick(44 * 60) == []
    assert alarms.tick(60) == [(FIRING, "agent")]
    assert texts(alarms) == ["agent: not renewed in time: database/creds/simba; the first ends in 15m"]
    alarms.answers = {"agent": answer(held=[*leases[1:], held(ends=NOON + 2 * HOUR, renew=NOON + 1.5 * HOUR)])}
    assert alarms.tick(60) == [(RESOLVED, "agent")]


def test_many_leases_that_end_are_one_alert():
    alarms = Alarms("{}", watch=["/run/lessee/status.sock"])
    numbers = count(1)
    alarms.answers = {
        "agent": answer(held=[held(f"database/creds/{next(numbers)}", NOON - 3 * HOUR, None, "expired")] * 5)
    }
    assert alarms.tick() == [(FIRING, "agent")]
    assert texts(alarms) == ["agent: not renewed in time: database/creds/1 and 2 more; the first ended 3h ago"]


def test_a_lease_can_be_told_of_by_the_time_that_is_left():
    alarms = Alarms(ONLY % "{rule: lease-ending, before: 10m}", watch=["/run/lessee/status.sock"])
    alarms.answers = {"agent": answer(held=[held(renew=NOON)])}
    assert alarms.tick(50 * 60) == []
    assert alarms.tick(1) == [(FIRING, "agent")]
    alarms.restart()
    alarms.tick(540)
    assert "the first ends in 59s" in str(alarms.watch.alerts)


def test_a_service_that_does_not_answer_is_told_and_is_back_when_it_answers():
    alarms = Alarms("{resolve_after: 0s}", watch=["/run/lessee/status.sock"])
    alarms.answers = {"agent": answer()}
    assert alarms.tick() == []
    alarms.answers = {"agent": answer("nobody listens there", at=NOON + 15)}
    assert alarms.tick(15) == []
    assert alarms.tick(299) == []
    # What is not known yet after a start is not over, and does not begin anew.
    said, alarms.answers = alarms.answers, {}
    alarms.restart()
    assert alarms.tick(1) == []
    alarms.answers = said
    assert alarms.tick() == [(FIRING, "agent")]
    assert texts(alarms) == ["agent has not answered for 5m: nobody listens there"]
    alarms.restart()
    alarms.answers = {}
    assert alarms.tick(30) == []
    alarms.answers = {"agent": answer(at=alarms.now)}
    assert alarms.tick(60) == [(RESOLVED, "agent")]


def test_a_component_that_asked_regularly_and_does_not_any_more_is_told():
    alarms = Alarms(ONLY % "{rule: agent-silent, after: 5m, components: [simba, w*]}")
    for _ in range(31):
        minute = [access(alarms.now, path="secret/metadata/production/"), access(alarms.now, role="other")]
        assert alarms.hear(*minute, after=60) == []
    other = [access(alarms.now + n, role="other") for n in (60, 200)]
    # A job that ran for a minute is not expected to be back.
    job = [access(alarms.now + n, role="w1") for n in range(60)]
    assert alarms.hear(*other, *job, after=300) == []
    # Where nothing is heard of anybody, it is not this one that is silent.
    assert alarms.tick(HOUR) == []
    alarms.restart()
    assert alarms.hear(access(alarms.now, role="other")) == [(FIRING, "simba")]
    assert texts(alarms) == ["simba asked Vault regularly, and has not for 66m"]
    assert alarms.hear(access(alarms.now)) == []
    assert alarms.tick(300) == [(RESOLVED, "simba")]


def test_who_has_been_silent_for_a_week_is_not_expected_any_more(monkeypatch):
    monkeypatch.setattr(silence, "MOST", 1)
    alarms = Alarms(ONLY % "{rule: agent-silent, after: 5m, components: ['*'], resolve_after: 0s}")
    for n in range(31):
        alarms.hear(access(NOON + 60 * n), after=60)
    alarms.hear(access(alarms.now + 600, role="second"), after=600)
    assert alarms.firing() == {("agent-silent", "simba")}
    # Nor is there room to remember another one.
    assert alarms.hear(access(alarms.now + 8 * DAY, role="second"), after=8 * DAY) == [(RESOLVED, "simba")]
    assert alarms.hear(access(alarms.now + 600, role="third"), after=600) == []
