"""A plan as text."""

import pytest

from lessee.core.immutable import replace
from lessee.ops.setup.policy.desired_state import InitialSecret
from lessee.ops.setup.policy.initial_values import Constant, Generate, Prompt
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import Add, Change, Conflict, Fill, Remove, ServerConfigRequired, Unconfirmed
from lessee.ops.setup.policy.plan_report import count, step_lines

POLICY = Object(Kind.POLICY, Group.POLICIES, "a", "sys/policies/acl/a-b", {"policy": "one\ntwo\n"})
ROLE = Object(Kind.ROLE, Group.ROLES, "a", "auth/approle/role/a-b", {"token_ttl": 3600, "token_policies": ["a-b"]})
AUDIT = Object(Kind.AUDIT, Group.AUDIT, "", "sys/audit/file", {"type": "file", "file_path": '/l"og'})
URL = "postgresql://{{username}}:{{password}}@db/a"
CONNECTION = Object(Kind.CONNECTION, Group.DATABASE, "a", "a/database/config/s", {"connection_url": URL}, Prompt())
SECRET = InitialSecret("a", "secret", "a/b", {})
KEYS = {"password": Generate(32, "x"), "user\n": Constant("simba")}


@pytest.mark.parametrize(
    ("step", "lines"),
    [
        (Add(POLICY), ["  + policy a-b", "      + one", "      + two"]),
        (Add(ROLE), ["  + role a-b", '      token_policies: ["a-b"]', "      token_ttl: 1h"]),
        (
            Add(CONNECTION),
            [
                "  + database connection a/database/s",
                f'      connection_url: "{URL}"',
                "      password: (typed at a prompt)",
            ],
        ),
        (Change(ROLE, ROLE.fields | {"token_ttl": 60}), ["  ~ role a-b", "      token_ttl: 1m → 1h"]),
        (
            Change(POLICY, {"policy": "one\nthree\x1b\n"}),
            [
                "  ~ policy a-b",
                "      --- is",
                "      +++ will be",
                "      @@ -1,2 +1,2 @@",
                "       one",
                "      -three\\x1b",
                "      +two",
            ],
        ),
        (
            Change(CONNECTION, {"connection_url": "postgresql://u:canary@db/a"}),
            ["  ~ database connection a/database/s", f'      connection_url: "postgresql://u:…@db/a" → "{URL}"'],
        ),
        (
            Change(CONNECTION, CONNECTION.fields, password=True),
            ["  ~ database connection a/database/s", "      password: (typed at a prompt)"],
        ),
        (
            Remove(Kind.ROLE, "a", ROLE.path, {}),
            ["  - role a-b: no longer in the configuration"],
        ),
        (
            Fill(SECRET, KEYS, 0),
            [
                "  + secret secret/a/b",
                "      password: (generated, 32 characters)",
                "      user\\n: (from the configuration)",
            ],
        ),
        (Fill(SECRET, {"a": Prompt()}, 3), ["  ~ secret secret/a/b", "      a: (typed at a prompt)"]),
        (
            Conflict(Change(ROLE, ROLE.fields | {"token_ttl": 60})),
            ["  ! role a-b: manually changed, left in place; --force overwrites it", "      token_ttl: 1m → 1h"],
        ),
        (
            Unconfirmed(Remove(Kind.ROLE, "a", ROLE.path, {})),
            ["  ! role a-b: not in this configuration, left in place; --yes removes it"],
        ),
        (
            Conflict(Remove(Kind.ROLE, "a", ROLE.path, {})),
            ["  ! role a-b: no longer in the configuration, but manually changed, left in place"],
        ),
        (
            Conflict(Fill(SECRET, KEYS, 3, deleted=True)),
            ["  ! secret secret/a/b: its newest version is deleted; --force writes a new one"],
        ),
        (
            Conflict(Change(AUDIT, AUDIT.fields | {"file_path": "/other"})),
            [
                "  ! audit device file: it writes to another file; setup never redirects an audit log",
                '      file_path: "/other" → "/l\\"og"',
            ],
        ),
        (
            ServerConfigRequired(AUDIT),
            [
                "audit device file: the server takes it only from its own configuration; add there:",
                'audit "file" "file" {',
                "  options {",
                '    file_path = "/l\\"og"',
                "  }",
                "}",
            ],
        ),
    ],
)
def test_a_step_is_printed_without_values(step, lines):
    assert list(step_lines(step)) == lines


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("postgresql://u:can/ary@db/a", "postgresql://u:…@db/a"),
        ("u:can/a@ry@tcp(db:3306)/", "u:…@tcp(db:3306)/"),
        ("host=db user=u password=canary dbname=a", "host=db user=u password=…"),
        ("host=db%20password%20=%20'can%20ary'%20dbname=a", "host=db%20password%20=…"),
        ("postgresql://u@db/a?sslmode=require&sslpassword=canary", "postgresql://u@db/a?sslmode=require&sslpassword=…"),
        ("server=db;user id=u;PWD=canary;", "server=db;user id=u;PWD=…"),
        (
            "server=db;user id={{username}};password={{password}};",
            "server=db;user id={{username}};password={{password}};",
        ),
        ("postgresql://{{username}}:{{password}}@db:5432/a", "postgresql://{{username}}:{{password}}@db:5432/a"),
    ],
)
def test_a_password_in_a_connection_url_is_not_printed(url, printed):
    step = Conflict(Change(CONNECTION, {"connection_url": url}))
    assert list(step_lines(step))[1] == f'      connection_url: "{printed}" → "{URL}"'


def test_a_formerly_empty_policy_is_printed_in_full():
    assert list(step_lines(Change(POLICY, {"policy": ""}))) == ["  ~ policy a-b", "      + one", "      + two"]


def test_a_connection_without_a_password_prints_none():
    bare = replace(CONNECTION, password=None)
    assert "password" not in "".join(list(step_lines(Change(bare, bare.fields, password=True)))[1:])


def test_steps_are_counted_by_sort():
    steps = [
        Add(ROLE),
        Add(POLICY),
        Change(ROLE, {}),
        Fill(SECRET, {}, 0),
        Conflict(Fill(SECRET, {}, 0)),
        Unconfirmed(Remove(Kind.ROLE, "a", ROLE.path, {})),
        ServerConfigRequired(AUDIT),
    ]
    assert count(steps) == (
        "2 new, 1 changed, 1 given first values, 1 manually changed, left in place, "
        "1 not in this configuration, left in place, 1 to add to the server's configuration"
    )
    assert count([]) == "nothing to do"
