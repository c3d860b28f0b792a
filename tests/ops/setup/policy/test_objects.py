"""Server answers in the desired form, and the request bodies that create objects."""

import pytest

from lessee.ops.setup.policy.objects import Group, Kind, Object, belongs_to, body_of, display_name, fields_of


@pytest.mark.parametrize(
    ("kind", "data", "fields"),
    [
        (Kind.KV, {"type": "kv", "options": {"version": "2"}}, {"type": "kv", "version": "2"}),
        (Kind.KV, {"type": "kv", "options": None}, {"type": "kv", "version": "1"}),
        (Kind.KV, {"type": "kv", "options": {}}, {"type": "kv", "version": "1"}),
        (Kind.ENGINE, {"type": "pki", "config": {"max_lease_ttl": 9}}, {"type": "pki", "max_lease_ttl": 9}),
        (Kind.AUDIT, {"type": "file", "options": {"file_path": "/a"}}, {"type": "file", "file_path": "/a"}),
        (Kind.ROLE, {"token_ttl": 1, "other": 2}, {"token_ttl": 1}),
        (
            Kind.ROLE,
            {"token_bound_cidrs": ["10.0.0.1", "10.0.0.0/8"]},
            {"token_bound_cidrs": ["10.0.0.0/8", "10.0.0.1/32"]},
        ),
        (Kind.ROLE, {"token_bound_cidrs": None}, {"token_bound_cidrs": []}),
        (Kind.ROLE, {"token_policies": ["b", "a"]}, {"token_policies": ["a", "b"]}),
        (Kind.DATABASE_ROLE, {"creation_statements": ["b", "a"]}, {"creation_statements": ["b", "a"]}),
        (
            Kind.CONNECTION,
            {"plugin_name": "p", "connection_details": {"username": "u", "other": 1}},
            {"plugin_name": "p", "username": "u"},
        ),
        (Kind.CONNECTION, {"plugin_name": "p", "connection_details": None}, {"plugin_name": "p"}),
    ],
)
def test_the_server_s_answer_is_normalized_to_the_desired_form(kind, data, fields):
    assert fields_of(kind, data, fields) == fields


@pytest.mark.parametrize(
    ("kind", "new", "fields", "body"),
    [
        (Kind.KV, True, {"type": "kv", "version": "2"}, {"type": "kv", "options": {"version": "2"}}),
        (Kind.ENGINE, True, {"type": "database"}, {"type": "database", "config": {}}),
        (Kind.ENGINE, True, {"type": "pki", "max_lease_ttl": 9}, {"type": "pki", "config": {"max_lease_ttl": "9s"}}),
        (Kind.ENGINE, False, {"type": "pki", "max_lease_ttl": 9}, {"max_lease_ttl": "9s"}),
        (Kind.AUDIT, True, {"type": "file", "file_path": "/a"}, {"type": "file", "options": {"file_path": "/a"}}),
        (Kind.CONNECTION, False, {"username": "u"}, {"username": "u", "verify_connection": True}),
        (Kind.ROLE, False, {"token_ttl": 1}, {"token_ttl": 1}),
    ],
)
def test_request_bodies_have_the_server_s_form(kind, new, fields, body):
    assert body_of(Object(kind, Group.MOUNTS, "", "a", fields), new=new) == body


@pytest.mark.parametrize(
    ("kind", "path", "name"),
    [
        (Kind.KV, "sys/mounts/secret", "secret"),
        (Kind.POLICY, "sys/policies/acl/testing-app", "testing-app"),
        (Kind.ROLE, "auth/approle/role/testing-app", "testing-app"),
        (Kind.CA, "testing/pki/root/generate/internal", "testing/pki"),
        (Kind.CONNECTION, "testing/database/config/simba", "testing/database/simba"),
        (Kind.SETTINGS, "secret/metadata/testing/a/b", "secret/testing/a/b"),
    ],
)
def test_an_object_has_a_short_display_name(kind, path, name):
    assert display_name(kind, path) == name == Object(kind, Group.MOUNTS, "", path, {}).name


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Kind.POLICY, "sys/policies/acl/{}-app"),
        (Kind.ROLE, "auth/approle/role/{}-app"),
        (Kind.ENGINE, "sys/mounts/{}/pki"),
        (Kind.CONNECTION, "{}/database/config/a"),
        (Kind.SETTINGS, "secret/metadata/{}/a"),
    ],
)
def test_an_object_belongs_to_one_environment(kind, path):
    assert belongs_to(kind, path.format("test"), "test")
    assert not belongs_to(kind, path.format("testing"), "test")
    assert not belongs_to(kind, path.format("test"), "testing")
    assert not belongs_to(kind, path.format("test"), "")


@pytest.mark.parametrize("rest", ["x/../production-app", "x/..", "x/./y", "x%2f..%2fproduction-app"])
def test_a_path_that_leads_elsewhere_belongs_to_no_environment(rest):
    assert not belongs_to(Kind.POLICY, f"sys/policies/acl/testing-{rest}", "testing")
    assert not belongs_to(Kind.ROLE, f"auth/approle/role/testing-{rest}", "testing")


def test_shared_objects_belong_to_no_environment():
    for kind in (Kind.KV, Kind.AUTH, Kind.AUDIT):
        assert belongs_to(kind, "sys/mounts/secret", "")
        assert not belongs_to(kind, "sys/mounts/secret", "testing")
