"""Which requests of the audit log become a change event, and with which path."""

import pytest

from lessee.core.immutable import replace
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.change_detection import change_of

ENVIRONMENTS = ("development", "testing", "production")
ACCESS = Access(
    at=1_795_880_000.5,
    id="1",
    operation="update",
    path="secret/data/production/database/postgres",
    mount="secret",
    mount_type="kv",
    namespace="",
    address="127.0.0.1",
    display_name="approle",
    entity="",
    role="",
    accessor="hmac-sha256:canary",
    policies=("default",),
    root=False,
    error=None,
    denied=False,
    version=4,
    server="audit",
)


def change(operation, path, mount="secret", kind="kv", **more):
    access = replace(ACCESS, operation=operation, path=path, mount=mount, mount_type=kind, **more)
    event = change_of(access, ENVIRONMENTS)
    return event and (event.operation, event.environment, event.mount, event.path)


def test_a_write_has_its_environment_version_and_time():
    change = change_of(ACCESS, ENVIRONMENTS)
    assert (change.environment, change.mount, change.path) == ("production", "secret", "database/postgres")
    assert (change.version, change.operation) == (4, "update")
    assert change.at == "2026-11-28T15:33:20.500+00:00"


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ("create", "secret/data/testing/a", ("create", "testing", "secret", "a")),
        ("patch", "secret/data/testing/a/b", ("patch", "testing", "secret", "a/b")),
        ("delete", "secret/data/testing/a", ("delete", "testing", "secret", "a")),
        ("update", "secret/delete/testing/a", ("delete", "testing", "secret", "a")),
        ("update", "secret/undelete/testing/a", ("undelete", "testing", "secret", "a")),
        ("update", "secret/destroy/testing/a", ("destroy", "testing", "secret", "a")),
        ("delete", "secret/metadata/testing/a", ("remove", "testing", "secret", "a")),
        ("update", "secret/data/shared/a", ("update", None, "secret", "shared/a")),
        ("update", "secret/data/testing", ("update", None, "secret", "testing")),
        ("read", "secret/data/testing/a", None),
        ("list", "secret/metadata/testing/", None),
        ("update", "secret/metadata/testing/a", None),
        ("update", "secret/config", None),
        ("update", "secret/data/", None),
        ("read", "secret/subkeys/testing/a", None),
        # KV version 1.
        ("update", "secret/testing/a", ("update", "testing", "secret", "a")),
        ("delete", "secret/testing/a", ("delete", "testing", "secret", "a")),
        ("read", "secret/testing/a", None),
    ],
)
def test_changes_of_kv_values_are_detected_below_their_environment(operation, path, expected):
    assert change(operation, path) == expected


@pytest.mark.parametrize(
    ("operation", "path", "mount", "expected"),
    [
        ("update", "sys/policies/acl/app", "sys", ("update", None, "sys", "policies/acl/app")),
        ("delete", "sys/policy/app", "sys", ("delete", None, "sys", "policies/acl/app")),
        ("read", "sys/policies/acl/app", "sys", None),
        ("update", "sys/policies/acl/", "sys", None),
        ("update", "sys/mounts/other", "sys", None),
        ("update", "auth/approle/role/ci", "auth/approle", ("update", None, "auth/approle", "role/ci")),
        ("delete", "auth/approle/role/ci", "auth/approle", ("delete", None, "auth/approle", "role/ci")),
        ("delete", "auth/approle/role/ci/policies", "auth/approle", ("update", None, "auth/approle", "role/ci")),
        ("update", "auth/approle/role/ci/secret-id", "auth/approle", None),
        ("update", "auth/approle/login", "auth/approle", None),
        ("update", "auth/approle/role/", "auth/approle", None),
        ("read", "auth/approle/role/ci", "auth/approle", None),
        ("update", "database/roles/web", "database", ("update", None, "database", "roles/web")),
        ("update", "database/rotate-role/web", "database", ("rotate", None, "database", "static-creds/web")),
        ("update", "database/rotate-root/main", "database", ("rotate", None, "database", "config/main")),
        ("read", "database/creds/web", "database", None),
        ("update", "pki/issue/web", "pki", None),
        ("update", "pki/config/urls", "pki", None),
    ],
)
def test_changes_of_roles_and_policies_and_rotations_are_detected_and_issued_credentials_are_not(
    operation, path, mount, expected
):
    assert change(operation, path, mount, "approle" if mount.startswith("auth/") else mount) == expected


def test_a_change_in_a_namespace_has_the_namespace_and_the_path_that_its_agents_use():
    there = replace(ACCESS, mount="team/secret", namespace="team")
    change = change_of(there, ENVIRONMENTS)
    assert (change.namespace, change.mount, change.path) == ("team", "secret", "database/postgres")
    policy = replace(ACCESS, path="sys/policies/acl/app", mount="team/sys", mount_type="ns_system", namespace="team")
    assert change_of(policy, ENVIRONMENTS).path == "policies/acl/app"


def test_a_denied_or_failed_request_changed_nothing():
    assert change_of(replace(ACCESS, denied=True, error="permission denied"), ENVIRONMENTS) is None
    assert change_of(replace(ACCESS, error="check-and-set did not match"), ENVIRONMENTS) is None
