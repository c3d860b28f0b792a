"""The steps from the actual to the desired state."""

import pytest

from lessee.core.errors import DeniedError
from lessee.core.immutable import replace
from lessee.ops.setup.policy.desired_state import KV, InitialSecret
from lessee.ops.setup.policy.initial_values import Constant, FromVariable, Generate
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Conflict,
    Fill,
    Remove,
    Selection,
    ServerConfigRequired,
    Unconfirmed,
    actions,
    environment_of,
    plan,
    record_after,
    record_before,
    removals,
    without_removals,
)
from lessee.ops.setup.policy.server_state import RecordEntry, SecretState, ServerState, entry_of

ENGINE = Object(Kind.KV, Group.MOUNTS, "", "sys/mounts/secret", KV)
AUDIT = Object(Kind.AUDIT, Group.AUDIT, "", "sys/audit/file", {"type": "file", "file_path": "/log"})
ROLE = Object(Kind.ROLE, Group.ROLES, "testing", "auth/approle/role/testing-app", {"token_ttl": 1, "uses": 2})
CA = Object(Kind.CA, Group.PKI, "testing", "testing/pki/root/generate/internal", {"common_name": "a"})
CONNECTION = Object(
    Kind.CONNECTION,
    Group.DATABASE,
    "testing",
    "testing/database/config/simba",
    {"username": "u", "connection_url": "url", "allowed_roles": ["a"]},
    FromVariable("P"),
)
SECRET = InitialSecret("testing", "secret", "testing/a", {"b": Generate(3, "x"), "c": Constant("d")})
SETTINGS = Object(Kind.SETTINGS, Group.SECRETS, "testing", "secret/metadata/testing/a", {"cas_required": True})
JOURNAL = replace(SETTINGS, path="secret/metadata/testing/lessee/rotation/a")
ALL = Selection()


def state(objects=None, secrets=None, recorded=None):
    return ServerState(objects or {}, secrets or {}, recorded or {})


def steps(desired, there, selection=ALL, *, force=False):
    return plan(desired, there, selection, force=force)


def with_record(one, found):
    """The object exists in this form; setup wrote it as desired, but with another token_ttl."""
    wrote = replace(one, fields=one.fields | {"token_ttl": 9})
    return state({one.path: found}, recorded={"testing": {one.path: entry_of(wrote)}})


def test_missing_objects_are_added_and_correct_ones_left():
    assert steps([ENGINE, ROLE], state()) == (Add(ENGINE), Add(ROLE))
    assert steps([ENGINE, ROLE], state({ENGINE.path: ENGINE.fields, ROLE.path: ROLE.fields})) == ()


def test_setup_changes_its_own_objects_but_not_manually_changed_ones():
    own, manual = {"token_ttl": 9, "uses": 2}, {"token_ttl": 9, "uses": 5}
    assert steps([ROLE], with_record(ROLE, own)) == (Change(ROLE, own),)
    assert steps([ROLE], with_record(ROLE, manual)) == (Conflict(Change(ROLE, manual)),)
    assert steps([ROLE], with_record(ROLE, manual), force=True) == (Change(ROLE, manual),)


def test_an_object_older_than_setup_is_a_conflict_where_it_differs():
    found = {"token_ttl": 1, "uses": 5}
    assert steps([ROLE], state({ROLE.path: found})) == (Conflict(Change(ROLE, found)),)


def test_a_root_certificate_is_created_once():
    assert steps([CA], state()) == (Add(CA),)
    assert steps([CA], state({CA.path: {"common_name": "other"}})) == ()


@pytest.mark.parametrize(
    ("differs", "password"),
    [({"allowed_roles": []}, False), ({"username": "v"}, True), ({"connection_url": "other"}, True)],
)
def test_a_password_is_written_only_where_the_login_changes(differs, password):
    found = CONNECTION.fields | differs
    there = state(
        {CONNECTION.path: found}, recorded={"testing": {CONNECTION.path: entry_of(replace(CONNECTION, fields=found))}}
    )
    assert steps([CONNECTION], there) == (Change(CONNECTION, found, password=password),)


def test_force_writes_the_password_that_vault_does_not_return():
    there = state({CONNECTION.path: CONNECTION.fields})
    assert steps([CONNECTION], there) == ()
    assert steps([CONNECTION], there, force=True) == (Change(CONNECTION, CONNECTION.fields, password=True),)


def test_missing_secrets_and_keys_are_written():
    assert steps([SECRET], state()) == (Fill(SECRET, SECRET.keys, 0),)
    there = state(secrets={SECRET.name: SecretState(4, frozenset({"b", "other"}))})
    assert steps([SECRET], there) == (Fill(SECRET, {"c": Constant("d")}, 4),)
    assert steps([SECRET], state(secrets={SECRET.name: SecretState(4, frozenset({"b", "c"}))}), force=True) == ()


def test_a_deleted_secret_stays_deleted_unless_forced():
    there = state(secrets={SECRET.name: SecretState(4, frozenset(), deleted=True)})
    fill = Fill(SECRET, SECRET.keys, 4, deleted=True)
    assert steps([SECRET], there) == (Conflict(fill),)
    assert steps([SECRET], there, force=True) == (fill,)


def test_settings_are_written_only_for_existing_secrets():
    assert steps([SETTINGS, JOURNAL], state()) == (Add(JOURNAL),)
    assert steps([SECRET, SETTINGS], state())[1:] == (Add(SETTINGS),)
    default = {"cas_required": False}
    assert steps([SETTINGS], state({SETTINGS.path: default})) == (Change(SETTINGS, default),)
    known = {"testing": {SETTINGS.path: entry_of(SETTINGS)}}
    assert steps([SETTINGS], state({SETTINGS.path: default}, recorded=known)) == (Conflict(Change(SETTINGS, default)),)


def test_a_rejected_audit_device_is_requested_again_only_if_forced():
    there = state(recorded={"": {AUDIT.path: RecordEntry(Kind.AUDIT, {})}})
    assert steps([AUDIT], state()) == (Add(AUDIT),)
    assert steps([AUDIT], there) == (ServerConfigRequired(AUDIT),)
    assert steps([AUDIT], there, force=True) == (Add(AUDIT),)


def test_an_audit_log_is_never_redirected():
    found = {"type": "file", "file_path": "/other"}
    there = state({AUDIT.path: found}, recorded={"": {AUDIT.path: entry_of(replace(AUDIT, fields=found))}})
    for force in (False, True):
        assert steps([AUDIT], there, force=force) == (Conflict(Change(AUDIT, found)),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"type": "kv", "version": "1"},
            "secret: the mount is KV version 1, .*; upgrade it with `bao kv enable-versioning secret`",
        ),
        (
            {"type": "pki", "version": "1"},
            "secret: the mount has type pki, and the configuration needs kv; use another path",
        ),
    ],
)
def test_a_mount_of_another_type_is_refused(fields, message):
    with pytest.raises(DeniedError, match=message):
        steps([ENGINE], state({ENGINE.path: fields}))


def test_objects_no_longer_configured_are_removed_unless_changed_manually_or_holding_data():
    recorded = {"testing": {one.path: entry_of(one) for one in (ROLE, CA, SETTINGS)}}
    there = {one.path: one.fields for one in (ROLE, CA, SETTINGS)}
    remove = Remove(Kind.ROLE, "testing", ROLE.path, ROLE.fields)
    assert steps([], state(there, recorded=recorded)) == (remove,)
    changed = {**there, ROLE.path: {"token_ttl": 7, "uses": 2}}
    assert steps([], state(changed, recorded=recorded)) == (Conflict(replace(remove, was=changed[ROLE.path])),)
    assert steps([], state({}, recorded=recorded)) == ()
    assert steps([], state(there, recorded=recorded), Selection(groups=frozenset({Group.POLICIES}))) == ()


@pytest.mark.parametrize(
    ("environments", "groups", "included"),
    [
        ([], [], {"engine", "audit", "role", "secret"}),
        (["testing"], [], {"engine", "role", "secret"}),
        (["production"], [], {"engine"}),
        ([], [Group.ROLES], {"engine", "role"}),
        ([], [Group.AUDIT], {"engine", "audit"}),
        (["testing"], [Group.SECRETS], {"engine", "secret"}),
        (["production"], [Group.AUDIT, Group.ROLES], {"engine", "audit"}),
    ],
)
def test_a_selection_includes_the_shared_mounts(environments, groups, included):
    selection = Selection(frozenset(environments), frozenset(groups))
    names = {ENGINE.path: "engine", AUDIT.path: "audit", ROLE.path: "role"}
    found = steps([ENGINE, AUDIT, ROLE, SECRET], state(), selection)
    assert {"secret" if isinstance(step, Fill) else names[step.object.path] for step in found} == included


def test_each_step_has_an_environment():
    remove = Remove(Kind.ROLE, "testing", ROLE.path, {})
    fill = Fill(SECRET, {}, 0)
    for step in (Add(ROLE), Change(ROLE, {}), remove, fill, Conflict(remove), Conflict(fill)):
        assert environment_of(step) == "testing"
    assert environment_of(ServerConfigRequired(AUDIT)) == ""
    assert list(actions([Add(ROLE), Conflict(fill), ServerConfigRequired(AUDIT), fill])) == [Add(ROLE), fill]


def test_the_record_has_old_and_new_fields_while_steps_run():
    before = {ROLE.path: entry_of(replace(ROLE, fields={"token_ttl": 9}))}
    remove = Remove(Kind.POLICY, "testing", "sys/policies/acl/testing-x", {})
    # Writing the secret creates its metadata, with settings that only the next step makes right.
    between = record_before({}, [Fill(SECRET, {}, 0), Add(SETTINGS)])
    made = {SETTINGS.path: {"cas_required": False}}
    assert steps([SETTINGS], state(made, recorded={"testing": between})) == (Change(SETTINGS, made[SETTINGS.path]),)
    running = [Change(ROLE, {"token_ttl": 9}), Add(CA), remove, Fill(SECRET, {}, 0)]
    intent = record_before(before, running)
    assert intent == {ROLE.path: entry_of(ROLE, before[ROLE.path]), CA.path: entry_of(CA)}
    # After a kill before or after the change, the next run knows that setup wrote it.
    for found in ({"token_ttl": 9, "uses": 2}, ROLE.fields):
        there = state({ROLE.path: found}, recorded={"testing": intent})
        assert not any(
            isinstance(step, Conflict) for step in steps([replace(ROLE, fields={"token_ttl": 5, "uses": 2})], there)
        )


def test_an_unconfirmed_removal_changes_nothing_and_stays_recorded():
    recorded = {ROLE.path: entry_of(ROLE)}
    there = state({ROLE.path: ROLE.fields}, recorded={"testing": recorded})
    remove = Remove(Kind.ROLE, "testing", ROLE.path, ROLE.fields)
    [add, found] = planned = steps([JOURNAL], there)
    assert (add, found) == (Add(JOURNAL), remove)
    assert removals(planned) == (remove,)
    left = without_removals(planned)
    assert left == (Add(JOURNAL), Unconfirmed(remove))
    assert removals(left) == ()
    assert tuple(actions(left)) == (Add(JOURNAL),)
    assert environment_of(left[1]) == "testing"
    assert record_after(recorded, [], there, left)[ROLE.path] == entry_of(ROLE)


def test_the_final_record_has_all_objects_in_their_desired_state():
    removed = {"sys/policies/acl/testing-x": RecordEntry(Kind.POLICY, {"policy": ("a",)})}
    conflicting = replace(ROLE, path="auth/approle/role/testing-conflicting")
    there = state({CA.path: CA.fields, conflicting.path: {"token_ttl": 7}})
    done = [
        Change(ROLE, {"token_ttl": 9}),
        Remove(Kind.POLICY, "testing", "sys/policies/acl/testing-x", {}),
        Conflict(Change(conflicting, {"token_ttl": 7})),
        ServerConfigRequired(AUDIT),
        Fill(SECRET, {}, 0),
    ]
    assert record_after(removed, [ROLE, CA, conflicting, AUDIT, SECRET, SETTINGS], there, done) == {
        ROLE.path: entry_of(ROLE),
        CA.path: entry_of(CA),
        AUDIT.path: RecordEntry(Kind.AUDIT, {}),
    }
