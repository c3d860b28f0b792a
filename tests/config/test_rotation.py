"""The block `rotation`: valid targets are read, and contradictions within and between targets are reported."""

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
POSTGRES = "kind: postgres, secret: d/p, admin_secret: d/admin, owner: o"
MYSQL = "kind: mysql, secret: d/m, admin_secret: d/admin"
RABBITMQ = "kind: rabbitmq, admin_secret: q/admin, user: shop"
LDAP = "kind: ldap, secret: l/e, admin_secret: l/admin"
BASIC = "kind: basic-auth, verifier_secret: v"
OTHER = "kind: postgres, secret: d/q"


def secret_id(path="f", file="/etc/s"):
    return f"kind: secret-id, secret: {path}, approle: r, secret_id_file: {file}"


def root(path="r", mount="database"):
    return f"kind: database-root, secret: {path}, connection: simba, mount: {mount}"


def test_the_mount_of_an_approle_may_begin_with_auth_as_in_vaults_own_paths():
    targets = read("{t: {kind: vault, secret: a, approle: app, mount: auth/team/approle}}").rotation
    assert targets["t"].mount == "team/approle"


@pytest.mark.parametrize(
    "targets",
    [
        f"{{t: {{{VALUES}}}}}",
        "{t: {kind: vault, secret: a, approle: app}}",
        "{t: {kind: vault, secret: a, approle: app, keys: {jwt: {charset: ab, previous_key: old}}}}",
        f"{{t: {{{POSTGRES}, roles: [a, b]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a, b]}}, u: {{{OTHER}, admin_secret: d/admin, roles: [c, d]}}}}",
        f"{{t: {{{POSTGRES}, roles: [a]}}, u: {{{OTHER}, admin_secret: e/admin, roles: [a]}}}}",
        "{t: {kind: redis, secret: c/r, admin_secret: c/admin, user: u}}",
        "{t: {kind: redis, secret: c/r, user: default}, u: {kind: postgres, secret: p, roles: [a]}}",
        "{t: {kind: rabbitmq, secret: q, user: a, keep_name: true}}",
        "{t: {kind: mysql, secret: m, users: [root], more_account_hosts: [localhost]}}",
        "{t: {kind: mysql, secret: m, admin_secret: a, users: [a, b], role: shop, terminate: true}}",
        f"{{t: {{{MYSQL}, users: [a]}}, u: {{kind: mysql, secret: n, admin_secret: d/admin, users: [b]}}}}",
        "{t: {kind: rabbitmq, secret: m, admin_secret: a, user: shop, delete_delay: 1h}}",
        f"{{t: {{{RABBITMQ}, secret: m}}, u: {{{LDAP}, accounts: [cn=a]}}}}",
        "{t: {kind: ldap, secret: m, admin_secret: a, accounts: ['cn=a', 'cn=b']}}",
        f"{{t: {{{LDAP}, accounts: ['ou=b,cn=a']}}, u: {{{LDAP.replace('l/e', 'l/f')}, accounts: [cn=a]}}}}",
        "{t: {kind: manual, secret: m, keys: [a, b], verify: [./try]}, u: {kind: vault, secret: m, keys: {c: {}}}}",
        "{t: {kind: command, secret: o, command: [./a]}, u: {kind: command, secret: o, command: [./b]}}",
        "{t: {kind: s3, secret: s, admin_secret: sa, user: u}, u: {kind: api-key, secret: s, recipe: r}}",
        "{t: {kind: postgres-admins, secret: d/admin, roles: [a, b]}, u: {kind: s3-admin, secret: s, user: u}}",
        f"{{t: {{{root()}}}, u: {{{root('r2', 'db')}}}}}",
        f"{{t: {{{secret_id()}}}, u: {{{secret_id('f2', '/etc/other')}}}}}",
        "{t: {kind: minio, secret: s, admin_secret: sa}, u: {kind: redis, secret: s, admin_secret: ra, user: u}}",
        f"{{t: {{{VALUES}, rotation_period: 24h, jitter: 1h, rotation_windows: ['02:00-04:00', 'sat 22:00-06:00']}}}}",
        "{t: {kind: ssh-key, secret: s, verifier_secret: v}, u: {kind: totp, secret: w, verifier_secret: x}}",
        "{t: {kind: jwt-key, secret: s, verifier_secret: v, token_ttl: 1h, algorithm: ES256, verifiers: [api]}}",
        "{t: {kind: age-identity, secret: s, verifier_secret: v}}",
        "{t: {kind: signing-key, secret: s, verifier_secret: v, delete_delay: 90d}}",
        f"{{t: {{{BASIC}, secret: s, users: [a, b]}}, u: {{{BASIC}, secret: w, users: [c, d]}}}}",
        f"{{t: {{{VALUES}, rotation_period: 500ms, rotation_windows: ['00:00-24:00']}}}}",
    ],
)
def test_valid_targets_are_read(targets):
    assert read(targets).rotation["t"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("kind: vault, secret: a", "keys: missing, and `approle` is missing too; write `keys:` with the keys that"),
        (
            "kind: vault, secret: a, keys: {x: {charset: zzz}}",
            "keys.x.charset: a value of a single character is not random",
        ),
        (
            "kind: vault, secret: a, keys: {x: {previous_key: x}}",
            "keys: two values would be written to the key `x`; rename one",
        ),
        (
            "kind: vault, secret: a, approle: r, keys: {role_id: {}}",
            "keys: two values would be written to the key `role_id`",
        ),
        (
            "kind: vault, secret: a, keys: {rotation_count: {}}",
            "keys: the key `rotation_count` is reserved: lessee writes it",
        ),
        ("kind: manual, secret: a, keys: [x, x]", "keys: two values would be written to the key `x`"),
        ("kind: manual, secret: a, keys: [rotation_timestamp]", "keys: the key `rotation_timestamp` is reserved"),
        ("kind: manual, secret: a, keys: [x], recipe: r, verify: [p]", "verify: `recipe` is set too, and both verify"),
        ("kind: manual, secret: a, keys: []", "keys: the list is empty"),
        (
            "kind: totp, secret: a, verifier_secret: a",
            "verifier_secret: it is the secret that is rotated; a server needs no private key",
        ),
        ("kind: totp, secret: a, verifier_secret: lessee/b", "verifier_secret: paths below `lessee` are reserved"),
        (
            "kind: basic-auth, secret: a, verifier_secret: b, users: [x, x]",
            "users: duplicate user `x`; name another user: servers look only at the first line",
        ),
        (
            "kind: basic-auth, secret: a, verifier_secret: b, users: [x]",
            "users: expected two users, found 1; name two users",
        ),
        (
            "kind: basic-auth, secret: a, verifier_secret: b, users: ['x:y', z]",
            "users: 'x:y' cannot be a user of HTTP basic authentication; choose printable characters, no `:`",
        ),
        ("kind: basic-auth, secret: a, verifier_secret: b, users: ['#x', z]", "users: '#x' cannot be a user of HTTP"),
        (
            'kind: basic-auth, secret: a, verifier_secret: b, users: ["x\\n", z]',
            r"users: 'x\n' cannot be a user of HTTP",
        ),
        (
            'kind: ssh-key, secret: a, verifier_secret: b, options: "a\\nb"',
            "options: it has a line break or another control character, which would end the key's line; write",
        ),
        (
            "kind: basic-auth, secret: a, verifier_secret: b, users: [retired, z]",
            "users: the key `retired` is reserved",
        ),
        (f"{POSTGRES}, roles: [a, b, c]", "roles: expected one or two roles, found 3; remove the others"),
        (f"{POSTGRES}, roles: [a, a]", "roles: duplicate role `a`; name another role, or remove one"),
        (
            f"{POSTGRES}, roles: [a, o]",
            (
                "owner: `o` is also one of `roles`; the other role could not use the objects that it owns; "
                "name a separate role, without a login"
            ),
        ),
        (f"{POSTGRES}, roles: []", "roles: the list is empty"),
        (f"{MYSQL}, users: [a, b, c]", "users: expected one or two, found 3; remove the others"),
        (f"{MYSQL}, users: [a, a]", "users: `a` is duplicate; name another, or remove one"),
        (f"{MYSQL}, users: [a], role: a", "role: `a` is also one of `users`; name the role that has the privileges"),
        (LDAP, "accounts: missing"),
        (f"{LDAP}, accounts: []", "accounts: the list is empty; add an item"),
        (f"{LDAP}, accounts: [cn=a, cn=b, cn=c]", "accounts: expected one or two, found 3; remove the others"),
        (
            f"{LDAP}, accounts: ['cn=A,o=x', 'CN = a, o=X']",
            "accounts: `cn=A,o=x` is duplicate; name another, or remove",
        ),
        (f"{LDAP}, accounts: [cn=a, shop]", "accounts[1]: `shop` is not a DN; write it as in RFC 4514, such as `cn=sh"),
        ("kind: redis, secret: a, admin_secret: b", "user: missing"),
        ("kind: redis, secret: lessee/a, user: u", "secret: paths below `lessee` are reserved for lessee"),
        ("kind: postgres, secret: a, roles: [a, b]", "roles: `admin_secret` is missing, and a login cannot do more"),
        ("kind: postgres, secret: a, roles: [a], owner: o", "owner: `admin_secret` is missing"),
        ("kind: postgres, secret: a, roles: [a], terminate: true", "terminate: `admin_secret` is missing"),
        ("kind: mysql, secret: a, users: [a, b]", "users: `admin_secret` is missing"),
        ("kind: mysql, secret: a, users: [a], role: r", "role: `admin_secret` is missing"),
        ("kind: rabbitmq, secret: a, user: u", "keep_name: `admin_secret` is missing, and a login cannot do more than"),
        (f"{MYSQL}, users: [a, b], more_account_hosts: [x]", "more_account_hosts: it is for a single user; name one"),
        ("kind: postgres-admins, secret: a, roles: [a, a]", "roles: duplicate role `a`; name another role, or remove"),
        ("kind: postgres-admins, secret: a, roles: [a]", "roles: "),
        ("kind: postgres-admins, secret: a, admin_secret: b, roles: [a, b]", "admin_secret: unknown key"),
        (
            "kind: redis, secret: a, admin_secret: a, user: u",
            "admin_secret: it is the secret that is rotated; if a rotation",
        ),
        (
            "kind: redis, secret: lessee/a, admin_secret: b, user: u",
            "secret: paths below `lessee` are reserved for lessee; choose another",
        ),
        (
            "kind: redis, secret: b, admin_secret: lessee/a, user: u",
            "admin_secret: paths below `lessee` are reserved for lessee; choose another",
        ),
        (
            "kind: redis, secret: production/a, admin_secret: b, user: u",
            "secret: 'production/a' starts with the name of another environment",
        ),
        (
            "kind: redis, secret: a, admin_secret: development/b, user: u",
            "admin_secret: 'development/b' starts with the name of another environment",
        ),
        (
            "kind: redis, secret: testing/a, admin_secret: b, user: u",
            "secret: 'testing/a' starts with the prefix 'testing/', which",
        ),
        (
            f"{VALUES}, rotation_windows: ['02:00-04:00']",
            "rotation_windows: it needs `rotation_period`, which is missing; write",
        ),
        (f"{VALUES}, jitter: 1h", "jitter: it needs `rotation_period`, which is missing; write how often"),
        (f"{VALUES}, rotation_period: 1h, jitter: 2h", "jitter: it is longer than `rotation_period`; make it shorter"),
        (
            f"{VALUES}, rotation_period: 1h, rotation_windows: ['02:00-02:00']",
            "rotation_windows[0]: it is empty: it ends when it begins; for the whole",
        ),
        (
            f"{VALUES}, rotation_period: 1h, rotation_windows: ['24:00-02:00']",
            "rotation_windows[0]: a window cannot begin at 24:00; write `00:00`",
        ),
        (
            f"{VALUES}, rotation_period: 1h, rotation_windows: ['2-4']",
            "rotation_windows[0]: expected a time of day such as `02:00-04:00`",
        ),
        (
            f"{VALUES}, rotation_period: 21h, rotation_windows: ['02:00-04:00']",
            "rotation_period: it is shorter than the longest time between two rotation windows, 22h",
        ),
        (
            f"{VALUES}, rotation_period: 6d, rotation_windows: ['sun 02:00-04:00']",
            "rotation_period: it is shorter than the longest time between two rotation windows, 166h",
        ),
    ],
)
def test_each_mistake_in_a_target_is_reported(keys, expected):
    [problem] = problems(f"{{t: {{{keys}}}}}")
    assert problem.startswith(f"rotation.t.{expected}")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (VALUES, VALUES, "secret: rotation.t rotates its `jwt` too; give each target its own keys, or its own secret"),
        (VALUES, "kind: manual, secret: a/b, keys: [jwt]", "secret: rotation.t rotates its `jwt` too"),
        (
            VALUES,
            "kind: vault, secret: a/b, keys: {x: {previous_key: jwt}}",
            "secret: rotation.t rotates its `jwt` too",
        ),
        (
            f"{POSTGRES}, roles: [a]",
            "kind: redis, secret: d/p, admin_secret: r, user: u",
            "secret: rotation.t rotates its `password`, `username` too",
        ),
        (
            f"{MYSQL}, users: [a]",
            "kind: rabbitmq, secret: d/m, admin_secret: r, user: u",
            "secret: rotation.t rotates its `password`, `username` too",
        ),
        (
            f"{LDAP}, accounts: [cn=a]",
            "kind: ldap, secret: l/e, admin_secret: x, accounts: [cn=a]",
            "secret: rotation.t rotates its `dn`, `password` too",
        ),
        (
            f"{MYSQL}, users: [a, b]",
            "kind: mysql, secret: d/n, admin_secret: d/admin, users: [b]",
            "users: rotation.t changes the password of `b` too; give each target its own users",
        ),
        (
            f"{RABBITMQ}, secret: q/a",
            f"{RABBITMQ}, secret: q/b",
            "user: rotation.t changes the password of `shop` too; give each target its own user",
        ),
        (
            f"{LDAP}, accounts: [cn=a, 'cn=b,o=x']",
            "kind: ldap, secret: l/f, admin_secret: l/admin, accounts: [cn=c, 'CN=B , O=X']",
            "accounts: rotation.t changes the password of `CN=B , O=X` too; give each target its own accounts",
        ),
        (
            "kind: redis, secret: r/a, admin_secret: r/admin, user: app",
            "kind: redis, secret: r/b, admin_secret: r/admin, user: app",
            "user: rotation.t changes the password of `app` too; give each target its own user",
        ),
        (
            "kind: s3, secret: s, admin_secret: x, user: u",
            "kind: minio, secret: s, admin_secret: y",
            "secret: rotation.t rotates its `access_key`, `secret_key` too",
        ),
        (
            "kind: vault, secret: a, approle: r",
            "kind: manual, secret: a, keys: [secret_id]",
            "secret: rotation.t rotates its `secret_id` too",
        ),
        (
            "kind: ssh-key, secret: s, verifier_secret: v",
            "kind: signing-key, secret: s, verifier_secret: w",
            "secret: rotation.t rotates its `private_key`, `public_key` too",
        ),
        (
            f"{BASIC}, secret: s, users: [a, b]",
            "kind: redis, secret: s, admin_secret: x, user: u",
            "secret: rotation.t rotates its `password`, `username` too",
        ),
        (
            f"{BASIC}, secret: s, users: [a, b]",
            f"{BASIC}, secret: w, users: [b, c]",
            "users: rotation.t changes the password of `b` too; give each target its own users",
        ),
        (
            "kind: ssh-key, secret: s, verifier_secret: v",
            "kind: totp, secret: w, verifier_secret: v",
            "verifier_secret: rotation.t writes this secret too; give each target its own verifiers' secret",
        ),
        (
            "kind: ssh-key, secret: s, verifier_secret: v",
            VALUES.replace("a/b", "v"),
            "verifier_secret: rotation.t uses this secret for the other side; give each side its own secret",
        ),
        (
            VALUES,
            "kind: ssh-key, secret: s, verifier_secret: a/b",
            "verifier_secret: rotation.t uses this secret for the other side; give each side its own secret",
        ),
        (
            f"{POSTGRES}, roles: [a, b]",
            "kind: postgres, secret: d/q, admin_secret: d/admin, roles: [b, c]",
            "roles: rotation.t changes the password of `b` too; give each target its own roles",
        ),
        (
            f"{POSTGRES}, roles: [a, b]",
            "kind: postgres-admins, secret: d/admin, roles: [b, c]",
            "roles: rotation.t changes the password of `b` too; give each target its own roles",
        ),
        (
            "kind: postgres-admins, secret: s, roles: [a, b]",
            "kind: redis, secret: s, admin_secret: r, user: u",
            "secret: rotation.t rotates its `password`, `username` too",
        ),
        (
            "kind: s3-admin, secret: s, user: u",
            "kind: manual, secret: s, keys: [secret_key]",
            "secret: rotation.t rotates its `secret_key` too",
        ),
        (secret_id(), secret_id("g"), "secret_id_file: rotation.t rotates the credential of `/etc/s` too; remove one"),
        (
            secret_id(),
            secret_id(file="/etc/t"),
            "secret: rotation.t rotates its `replaced_accessor`, `secret_id_accessor` too",
        ),
        (root(), root("g"), "connection: rotation.t rotates the credential of `simba` too; remove one of the targets"),
        (root(), root(mount="x"), "secret: rotation.t rotates its `rotation_id`, `username` too; give each target"),
    ],
)
def test_two_targets_may_not_overwrite_each_others_values(one, other, expected):
    [problem] = problems(f"{{t: {{{one}}}, u: {{{other}}}}}")
    assert problem.startswith(f"rotation.u.{expected}")


def test_a_secret_below_a_shared_prefix_cannot_be_rotated():
    top = "environment: testing\nsecrets: {shared_prefixes: [shared/]}"
    [problem] = problems("{t: {kind: vault, secret: shared/a, keys: {x: {}}}}", top=top)
    assert "rotation.t.secret: it is below a shared prefix, and an environment may not change what all" in problem


def test_without_a_prefix_every_secret_can_be_rotated():
    top = "environment: testing\nsecrets: {prefix: '', shared_prefixes: [shared/]}"
    assert read("{t: {kind: vault, secret: shared/a, keys: {x: {}}}}", top=top).rotation


def test_the_environment_must_be_known():
    [problem] = problems(f"{{t: {{{VALUES}}}}}", top="state_dir: /run/x")
    assert "environment: missing, but secrets.prefix contains {environment}; write `environment: NAME`" in problem
    assert read("{}", top="state_dir: /run/x").rotation == {}
    assert read(f"{{t: {{{VALUES}}}}}", top="secrets: {prefix: all/}").rotation


def test_a_sidecar_does_not_check_targets():
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
def test_a_window_is_converted_into_spans_of_the_week(window, expected):
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
def test_the_longest_pause_between_windows_is_measured(windows, pause):
    assert longest_pause(windows) == pause
