"""The record of what setup wrote."""

import json

import pytest

from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.server_state import (
    RecordEntry,
    entry_of,
    fingerprint,
    from_data,
    is_written_by_setup,
    to_data,
)

ROLE = Object(Kind.ROLE, Group.ROLES, "testing", "auth/approle/role/testing-app", {"token_ttl": 1, "x": [1]})


def test_equal_values_have_equal_fingerprints_in_any_order():
    assert fingerprint({"a": 1, "b": [2, 1]}) == fingerprint({"b": [2, 1], "a": 1})
    assert fingerprint({"a": 1, "b": [2, 1]}) != fingerprint({"a": 1, "b": [1, 2]})


def test_a_record_is_read_back_unchanged_and_holds_no_value():
    recorded = {ROLE.path: entry_of(ROLE), "sys/policies/acl/testing-a": RecordEntry(Kind.POLICY, {})}
    saved = json.loads(json.dumps(to_data(recorded)))
    assert from_data(saved, "testing") == recorded
    assert from_data(saved, "production") == {}
    assert from_data(saved, "test") == {}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"objects": []},
        {"objects": {ROLE.path: 1}},
        {"objects": {ROLE.path: {"kind": "NONE", "keys": {}}}},
        {"objects": {ROLE.path: {"kind": "ROLE", "keys": []}}},
    ],
)
def test_a_malformed_record_is_ignored(data):
    assert from_data(data, "testing") == {}


def test_a_field_with_malformed_fingerprints_is_ignored():
    data = {"objects": {ROLE.path: {"kind": "ROLE", "keys": {"a": 1, "b": ["c"]}}}}
    assert from_data(data, "testing") == {ROLE.path: RecordEntry(Kind.ROLE, {"b": ("c",)})}


def test_fields_that_setup_wrote_are_distinguished_from_manual_changes():
    entry = entry_of(ROLE)
    assert is_written_by_setup(entry, {"token_ttl": 1, "x": [1]})
    assert not is_written_by_setup(entry, {"token_ttl": 2, "x": [1]})
    assert is_written_by_setup(entry, {"token_ttl": 1, "new key": 5})
    assert not is_written_by_setup(None, {"token_ttl": 1})


def test_during_a_change_old_and_new_fields_count_as_written_by_setup():
    before = RecordEntry(Kind.ROLE, {"token_ttl": (fingerprint(9),), "gone": (fingerprint(3),)})
    entry = entry_of(ROLE, before)
    assert is_written_by_setup(entry, {"token_ttl": 9, "gone": 3})
    assert is_written_by_setup(entry, {"token_ttl": 1, "x": [1]})
    assert not is_written_by_setup(entry, {"token_ttl": 5})


def test_only_an_entry_without_fields_was_refused():
    assert RecordEntry(Kind.AUDIT, {}).refused
    assert not entry_of(ROLE).refused
