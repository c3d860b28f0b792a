"""The steps from what is there to what is wanted."""

import pytest

from lessee.core.errors import DeniedError
from lessee.core.immutable import replace
from lessee.ops.setup.policy.desired_state import KV, InitialSecret
from lessee.ops.setup.policy.initial_values import Constant, FromVariable, Generate
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Fill,
    ServerConfigRequired,
    Conflict,
    Selection,
    Remove,
    actions,
    environment_of,
    record_before,
    plan,
    record_after,
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


def steps(wanted, there, only=ALL, *, force=False):
    return plan(wanted, there, only, force=force)


def with_record(one, found):
    """The object is there in this form, and setup wrote it as it is wanted now but for the time."""
    wrote = replace(one, fields=one.fields | {"token_ttl": 9})
    return state({one.path: found}, recorded={"testing": {one.path: entry_of(wrote)}})


def test_what_is_not_there_is_added_and_what_is_as_wanted_is_left():
    assert steps([ENGINE, ROLE], state()) == (Add(ENGINE), Add(ROLE))
    assert steps([ENGINE, ROLE], state({ENGINE.path: ENGINE.fields, ROLE.path: ROLE.fields})) == ()


def test_what_setup_wrote_is_changed_and_what_somebody_changed_is_held():
    own, by_hand = {"token_ttl": 9, "uses": 2}, {"token_ttl": 9, "uses": 5}
    assert steps([ROLE], with_record(ROLE, own)) == (Change(ROLE, own),)
    assert steps([ROLE], with_record(ROLE, by_hand)) == (Conflict(Change(ROLE, by_hand)),)
    assert steps([ROLE], with_record(ROLE, by_hand), force=True) == (Change(ROLE, by_hand),)


def test_what_was_there_before_setup_is_held_where_it_differs():
    found = {"token_ttl": 1, "uses": 5}
    assert steps([ROLE], state({ROLE.path: found})) == (Conflict(Change(ROLE, found)),)


def test_a_root_certificate_is_made_once():
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


def test_a_password_that_nobody_can_see_is_written_where_it_is_forced():
    there = state({CONNECTION.path: CONNECTION.fields})
    assert steps([CONNECTION], there) == ()
    assert steps([CONNECTION], there, force=True) == (Change(CONNECTION, CONNECTION.fields, password=True),)


def test_a_secret_is_filled_where_it_or_a_key_is_not_there():
    assert steps([SECRET], state()) == (Fill(SECRET, SECRET.keys, 0),)
    there = state(secrets={SECRET.name: SecretState(4, frozenset({"b", "other"}))})
    assert steps([SECRET], there) == (Fill(SECRET, {"c": Constant("d")}, 4),)
    assert steps([SECRET], state(secrets={SECRET.name: SecretState(4, frozenset({"b", "c"}))}), force=True) == ()


def test_a_secret_that_was_deleted_is_left_so():
    there = state(secrets={SECRET.name: SecretState(4, frozenset(), deleted=True)})
    fill = Fill(SECRET, SECRET.keys, 4, deleted=True)
    assert steps([SECRET], there) == (Conflict(fill),)
    assert steps([SECRET], there, force=True) == (fill,)


def test_settings_do_not_make_a_secret_look_as_if_it_were_there():
    assert steps([SETTINGS, JOURNAL], state()) == (Add(JOURNAL),)
    assert steps([SECRET, SETTINGS], state())[1:] == (Add(SETTINGS),)
    default = {"cas_required": False}
    assert steps([SETTINGS], state({SETTINGS.path: default})) == (Change(SETTINGS, default),)
    known = {"testing": {SETTINGS.path: entry_of(SETTINGS)}}
    assert steps([SETTINGS], state({SETTINGS.path: default}, recorded=known)) == (Conflict(Change(SETTINGS, default)),)


def test_an_audit_device_that_the_server_refused_is_not_asked_for_again_unless_forced():
    there = state(recorded={"": {AUDIT.path: RecordEntry(Kind.AUDIT, {})}})
    assert steps([AUDIT], state()) == (Add(AUDIT),)
    assert steps([AUDIT], there) == (ServerConfigRequired(AUDIT),)
    assert steps([AUDIT], there, force=True) == (Add(AUDIT),)


def test_an_audit_log_is_never_exchanged_for_another():
    found = {"type": "file", "file_path": "/other"}
    there = state({AUDIT.path: found}, recorded={"": {AUDIT.path: entry_of(replace(AUDIT, fields=found))}})
    for force in (False, True):
        assert steps([AUDIT], there, force=force) == (Conflict(Change(AUDIT, found)),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "kv", "version": "1"}, "secret: it is KV version 1, .*; `bao kv enable-versioning secret` makes it"),
        ({"type": "pki", "version": "1"}, "secret: a mount of type pki is there, and kv is wanted; name another path"),
    ],
)
def test_another_engine_in_the_way_is_refused(fields, message):
    with pytest.raises(DeniedError, match=message):
        steps([ENGINE], state({ENGINE.path: fields}))


def test_what_is_not_wanted_any_more_goes_unless_it_is_somebodys_or_holds_data():
    recorded = {"testing": {one.path: entry_of(one) for one in (ROLE, CA, SETTINGS)}}
    there = {one.path: one.fields for one in (ROLE, CA, SETTINGS)}
    remove = Remove(Kind.ROLE, "testing", ROLE.path, ROLE.fields)
    assert steps([], state(there, recorded=recorded)) == (remove,)
    changed = {**there, ROLE.path: {"token_ttl": 7, "uses": 2}}
    assert steps([], state(changed, recorded=recorded)) == (Conflict(replace(remove, was=changed[ROLE.path])),)
    assert steps([], state({}, recorded=recorded)) == ()
    assert steps([], state(there, recorded=recorded), Selection(groups=frozenset({Group.POLICIES}))) == ()


@pytest.mark.parametrize(
    ("environments", "groups", "taken"),
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
def test_one_may_take_a_part_alone_and_the_mounts_with_it(environments, groups, taken):
    only = Selection(frozenset(environments), frozenset(groups))
    names = {ENGINE.path: "engine", AUDIT.path: "audit", ROLE.path: "role"}
    found = steps([ENGINE, AUDIT, ROLE, SECRET], state(), only)
    assert {"secret" if isinstance(step, Fill) else names[step.object.path] for step in found} == taken


def test_each_step_is_somebodys():
    remove = Remove(Kind.ROLE, "testing", ROLE.path, {})
    fill = Fill(SECRET, {}, 0)
    for step in (Add(ROLE), Change(ROLE, {}), remove, fill, Conflict(remove), Conflict(fill)):
        assert environment_of(step) == "testing"
    assert environment_of(ServerConfigRequired(AUDIT)) == ""
    assert list(actions([Add(ROLE), Conflict(fill), ServerConfigRequired(AUDIT), fill])) == [Add(ROLE), fill]


def test_the_record_knows_what_was_and_what_will_be_until_all_is_done():
    before = {ROLE.path: entry_of(replace(ROLE, fields={"token_ttl": 9}))}
    remove = Remove(Kind.POLICY, "testing", "sys/policies/acl/testing-x", {})
    # Filling the secret makes its settings, which are not what is wanted until the next step.
    between = record_before({}, [Fill(SECRET, {}, 0), Add(SETTINGS)])
    made = {SETTINGS.path: {"cas_required": False}}
    assert steps([SETTINGS], state(made, recorded={"testing": between})) == (Change(SETTINGS, made[SETTINGS.path]),)
    doing = [Change(ROLE, {"token_ttl": 9}), Add(CA), remove, Fill(SECRET, {}, 0)]
    intent = record_before(before, doing)
    assert intent == {ROLE.path: entry_of(ROLE, before[ROLE.path]), CA.path: entry_of(CA)}
    # Killed before the change or after it: the next run knows its own.
    for found in ({"token_ttl": 9, "uses": 2}, ROLE.fields):
        there = state({ROLE.path: found}, recorded={"testing": intent})
        assert not any(
            isinstance(step, Conflict) for step in steps([replace(ROLE, fields={"token_ttl": 5, "uses": 2})], there)
        )


def test_the_record_knows_in_the_end_all_that_is_as_wanted():
    gone = {"sys/policies/acl/testing-x": RecordEntry(Kind.POLICY, {"policy": ("a",)})}
    held = replace(ROLE, path="auth/approle/role/testing-held")
    there = state({CA.path: CA.fields, held.path: {"token_ttl": 7}})
    done = [
        Change(ROLE, {"token_ttl": 9}),
        Remove(Kind.POLICY, "testing", "sys/policies/acl/testing-x", {}),
        Conflict(Change(held, {"token_ttl": 7})),
        ServerConfigRequired(AUDIT),
        Fill(SECRET, {}, 0),
    ]
    assert record_after(gone, [ROLE, CA, held, AUDIT, SECRET, SETTINGS], there, done) == {
        ROLE.path: entry_of(ROLE),
        CA.path: entry_of(CA),
        AUDIT.path: RecordEntry(Kind.AUDIT, {}),
    }
