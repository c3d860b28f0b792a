"""What `rotation` may say, and what its keys and its targets may not say together."""

import pytest

from lessee.config.parsing import parse
from lessee.config.time_windows import longest_pause, spans
from lessee.core.errors import ConfigError

HOUR, DAY = 3600, 86400


def read(targets, top="environment: testing", blocks=("rotation",)):
    return parse(f"{top}\nrotation: {targets}", source="lessee.yaml", environ={}, blocks=blocks)


def problems(targets, **settings):
    with pytest.raises(ConfigError) as caught:
        read(targets, **settings)
    return [str(problem).removeprefix("lessee.yaml:2: ") for problem in caught.value.problems]


VALUES = "kind: vault, secret: a/b, keys: {jwt: {}}"
POSTGRES = "kind: postgres, secret: d/p, admin: d/admin, owner: o"


@pytest.mark.parametrize(
    "targets",
    [
        f"{{t: {{{VALUES}}}}}",
        "{t: {kind: vault, secret: a, approle: app}}",
        "{t: {kind: vault, secret: a, approle: app, keys: {jwt: {alphabet: ab, previous: old}}}}",
        f"{{t: {{{POSTGRES}, roles: [a, b]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a, b]}}, u: {{kind: postgres, secret: d/q, admin: d/admin, roles: [c, d]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a]}}, u: {{kind: postgres, secret: d/q, admin: e/admin, roles: [a]}}}}",
        "{t: {kind: redis, secret: c/r, admin: c/admin}}",
        "{t: {kind: manual, secret: m, keys: [a, b], prove: [./try]}, u: {kind: vault, secret: m, keys: {c: {}}}}",
        "{t: {kind: command, secret: o, command: [./a]}, u: {kind: command, secret: o, command: [./b]}}",
        "{t: {kind: s3, secret: s, admin: sa, user: u}, u: {kind: api-key, secret: s, recipe: r}}",
        "{t: {kind: minio, secret: s, admin: sa}, u: {kind: redis, secret: s, admin: ra}}",
        f"{{t: {{{VALUES}, every: 24h, jitter: 1h, windows: ['02:00-04:00', 'sat,sun 22:00-06:00']}}}}",
        f"{{t: {{{VALUES}, every: 500ms, windows: ['00:00-24:00']}}}}",
    ],
)
def test_what_makes_sense_is_read(targets):
    assert read(targets).rotation["t"]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("kind: vault, secret: a", "keys: missing, and there is no `approle`; write `keys:` with those that get a"),
        ("kind: vault, secret: a, keys: {x: {alphabet: zzz}}", "keys.x.alphabet: of one character alone nothing ran"),
        ("kind: vault, secret: a, keys: {x: {previous: x}}", "keys: `x` gets two values at once; name one of them o"),
        ("kind: vault, secret: a, approle: r, keys: {role_id: {}}", "keys: `role_id` gets two values at once"),
        ("kind: vault, secret: a, keys: {rotation_count: {}}", "keys: `rotation_count` is what lessee tells there of"),
        ("kind: manual, secret: a, keys: [x, x]", "keys: `x` gets two values at once"),
        ("kind: manual, secret: a, keys: [rotation_timestamp]", "keys: `rotation_timestamp` is what lessee tells"),
        ("kind: manual, secret: a, keys: [x], recipe: r, prove: [p]", "prove: `recipe` says already how it is proved"),
        ("kind: manual, secret: a, keys: []", "keys: the list is empty"),
        (f"{POSTGRES}, roles: [a, b, c]", "roles: there are 3, and two take turns; leave the others out"),
        (f"{POSTGRES}, roles: [a, a]", "roles: `a` stands there twice; name another, or leave one out"),
        (f"{POSTGRES}, roles: [a, o]", "owner: `o` is one of the roles that take turns; what it owns would not be"),
        (f"{POSTGRES}, roles: []", "roles: the list is empty"),
        ("kind: redis, secret: a, admin: a", "admin: it is the secret that is rotated: an admin who is shut out coul"),
        ("kind: redis, secret: lessee/a, admin: b", "secret: what is below `lessee` is lessee's own; name the folder"),
        ("kind: redis, secret: b, admin: lessee/a", "admin: what is below `lessee` is lessee's own; name the folder"),
        ("kind: redis, secret: production/a, admin: b", "secret: 'production/a' starts with another environment's na"),
        ("kind: redis, secret: a, admin: development/b", "admin: 'development/b' starts with another environment's"),
        ("kind: redis, secret: testing/a, admin: b", "secret: 'testing/a' starts with the prefix 'testing/', which"),
        (f"{VALUES}, windows: ['02:00-04:00']", "windows: there is no `every`; write how often it is rotated"),
        (f"{VALUES}, jitter: 1h", "jitter: there is no `every`; write how often it is rotated"),
        (f"{VALUES}, every: 1h, jitter: 2h", "jitter: it is longer than `every`; make it shorter"),
        (f"{VALUES}, every: 1h, windows: ['02:00-02:00']", "windows[0]: it ends as it begins; for the whole day write"),
        (f"{VALUES}, every: 1h, windows: ['24:00-02:00']", "windows[0]: no day begins at 24:00; write `00:00`, and"),
        (f"{VALUES}, every: 1h, windows: ['2-4']", "windows[0]: expected a time of the day such as `02:00-04:00`"),
        (f"{VALUES}, every: 21h, windows: ['02:00-04:00']", "every: it is shorter than the 22h between two of its wi"),
        (f"{VALUES}, every: 6d, windows: ['sun 02:00-04:00']", "every: it is shorter than the 166h between two of it"),
    ],
)
def test_what_makes_no_sense_is_told(keys, told):
    [problem] = problems(f"{{t: {{{keys}}}}}")
    assert problem.startswith(f"rotation.t.{told}")


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (VALUES, VALUES, "secret: rotation.t changes its `jwt` too; give each keys, or a secret, of its own"),
        (VALUES, "kind: manual, secret: a/b, keys: [jwt]", "secret: rotation.t changes its `jwt` too"),
        (VALUES, "kind: vault, secret: a/b, keys: {x: {previous: jwt}}", "secret: rotation.t changes its `jwt` too"),
        (
            f"{POSTGRES}, roles: [a]",
            "kind: redis, secret: d/p, admin: r",
            "secret: rotation.t changes its `password`, `username` too",
        ),
        (
            "kind: s3, secret: s, admin: x, user: u",
            "kind: minio, secret: s, admin: y",
            "secret: rotation.t changes its `access_key`, `secret_key` too",
        ),
        (
            "kind: vault, secret: a, approle: r",
            "kind: manual, secret: a, keys: [secret_id]",
            "secret: rotation.t changes its `secret_id` too",
        ),
        (
            f"{POSTGRES}, roles: [a, b]",
            "kind: postgres, secret: d/q, admin: d/admin, roles: [b, c]",
            "roles: rotation.t changes the password of `b` too; give each roles of its own",
        ),
    ],
)
def test_two_targets_may_not_undo_each_others_work(one, other, told):
    [problem] = problems(f"{{t: {{{one}}}, u: {{{other}}}}}")
    assert problem.startswith(f"rotation.u.{told}")


def test_a_shared_folder_is_no_environments_to_change():
    top = "environment: testing\nsecrets: {shared: [shared/]}"
    [problem] = problems("{t: {kind: vault, secret: shared/a, keys: {x: {}}}}", top=top)
    assert "rotation.t.secret: it lies in a shared folder, and so is no environment's to change; name one" in problem


def test_without_a_prefix_nothing_is_shared():
    top = "environment: testing\nsecrets: {prefix: '', shared: [shared/]}"
    assert read("{t: {kind: vault, secret: shared/a, keys: {x: {}}}}", top=top).rotation


def test_the_environment_must_be_known():
    [problem] = problems(f"{{t: {{{VALUES}}}}}", top="state: /run/x")
    assert "environment: missing, and secrets.prefix holds {environment}; write `environment: NAME`" in problem
    assert read("{}", top="state: /run/x").rotation == {}
    assert read(f"{{t: {{{VALUES}}}}}", top="secrets: {prefix: all/}").rotation


def test_a_sidecar_is_not_bothered_with_what_only_the_rotator_does():
    assert read("{t: {kind: vault, secret: a}}", blocks=()).rotation["t"]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("mon 02:00-04:00", [(2 * HOUR, 4 * HOUR)]),
        ("sun 22:00-02:00", [(6 * DAY + 22 * HOUR, 7 * DAY + 2 * HOUR)]),
        ("sat-mon,wed 00:00-24:00", [(day * DAY, (day + 1) * DAY) for day in (0, 2, 5, 6)]),
        ("00:30-01:00", [(day * DAY + HOUR / 2, day * DAY + HOUR) for day in range(7)]),
    ],
)
def test_a_window_lies_in_the_week(window, expected):
    assert list(spans([window])) == expected


@pytest.mark.parametrize(
    ("windows", "pause"),
    [
        (["00:00-24:00"], 0),
        (["02:00-04:00"], 22 * HOUR),
        (["00:00-12:00", "12:00-24:00"], 0),
        (["mon-fri 22:00-06:00"], 64 * HOUR),
        (["sat 00:00-12:00", "sun 06:00-08:00"], 136 * HOUR),
        (["mon 00:00-24:00", "mon 01:00-02:00"], 6 * DAY),
    ],
)
def test_the_longest_time_between_windows_is_known(windows, pause):
    assert longest_pause(windows) == pause
