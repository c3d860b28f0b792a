import pytest

from lessee.ops.backup.policy.object_restore import Change, Conflict, Unrestorable
from lessee.ops.backup.policy.records import Secret, ServerObject
from lessee.ops.backup.policy.secret_restore import Plan, SecretStatus, WriteSettings, WriteVersion
from lessee.ops.dev.policy.copying import is_copied, not_readable, notes, of_object, of_secret

ROLE = ServerObject("role", "auth/approle/role/shop", {"token_ttl": 60})
MOUNT = ServerObject("mount", "secret/", {"type": "kv"})
SECRET = Secret("secret/", "a/b", 2, 2, {}, ())


@pytest.mark.parametrize(
    ("kind", "path", "copied"),
    [
        ("policy", "sys/policies/acl/default", False),
        ("policy", "sys/policies/acl/lessee-dev-admin", False),
        ("policy", "sys/policies/acl/shop", True),
        ("role", "auth/approle/role/shop", True),
        ("role", "auth/approle/role/shop/role-id", False),
        ("mount", "secret/", True),
    ],
)
def test_what_each_server_has_of_its_own_is_not_copied(kind, path, copied):
    assert is_copied(ServerObject(kind, path, {})) is copied


@pytest.mark.parametrize(
    ("found", "force", "line"),
    [
        (Change(ROLE, ROLE.path, {}, new=True), False, "+ auth/approle/role/shop"),
        (Change(ROLE, ROLE.path, {}, new=False), True, "~ auth/approle/role/shop: another one there is overwritten"),
        (Change(ROLE, ROLE.path, {}, new=False), False, "! auth/approle/role/shop: another one is there, and stays"),
        (Change(MOUNT, "sys/mounts/secret/tune", {}, new=False), True, "= sys/mounts/secret: exists, and its settings"),
        (Unrestorable("database/config/x", "settings"), False, "! database/config/x: cannot be read from a server"),
        (
            Conflict("secret/", "the server has kv 1, and the archive kv 2"),
            False,
            "! secret/: the server has kv 1, and",
        ),
    ],
)
def test_each_line_says_what_becomes_of_an_object(found, force, line):
    copied = of_object(found, force=force)
    assert copied.text.startswith(line)
    assert copied.is_left is line.startswith("!")
    assert copied.is_write is line.startswith(("+", "~"))


def test_the_settings_of_tokens_are_no_line():
    tokens = ServerObject("auth", "token/", {"type": "token"})
    assert of_object(Change(tokens, "sys/auth/token/tune", {}, new=False), force=True) is None


@pytest.mark.parametrize(
    ("status", "force", "line"),
    [
        (SecretStatus.NEW, False, "+ secret/a/b: 2 versions"),
        (
            SecretStatus.CONTINUED,
            False,
            "~ secret/a/b: its first versions are there; 2 versions and its settings follow",
        ),
        (SecretStatus.CHANGED, True, "~ secret/a/b: a different secret there gets a new version (--force)"),
        (SecretStatus.CHANGED, False, "! secret/a/b: a different secret is there, and stays"),
    ],
)
def test_each_line_says_what_becomes_of_a_secret(status, force, line):
    steps = (WriteSettings({}), WriteVersion({}, 0), WriteVersion({}, 1))
    copied = of_secret(SECRET, Plan(status, steps), force=force)
    assert copied.text.startswith(line)
    assert copied.is_left is line.startswith("!")
    assert copied.is_write is line.startswith(("+", "~"))


def test_an_equal_secret_is_no_line_and_one_version_is_no_plural():
    assert of_secret(SECRET, Plan(SecretStatus.EQUAL, ()), force=False) is None
    assert (
        of_secret(SECRET, Plan(SecretStatus.NEW, (WriteVersion({}, 0),)), force=False).text == "+ secret/a/b: 1 version"
    )


def test_what_no_server_returns_is_left_to_a_person():
    objects = [
        MOUNT,
        ServerObject("mount", "db/", {"type": "database"}),
        ServerObject("mount", "pki/", {"type": "pki"}),
        ServerObject("mount", "transit/", {"type": "transit"}),
        ServerObject("auth", "approle/", {"type": "approle"}),
        ServerObject("auth", "ldap/", {"type": "ldap"}),
        ServerObject("policy", "sys/policies/acl/x", {}),
    ]
    found = list(not_readable(objects, ["team/"]))
    assert all(one.is_left for one in found)
    assert [one.text.partition(":")[0] for one in found] == [
        "! pki/",
        "! transit/",
        "! auth/ldap/",
        "! namespace team",
    ]
    assert found[-1].text.endswith("copy it with --namespace team")


def test_secret_ids_are_named_where_there_are_roles_for_them():
    assert len(list(notes([ServerObject("auth", "approle/", {"type": "approle"})]))) == 2
    assert list(notes([MOUNT])) == ["tokens and leases are not copied: each client logs in there"]
