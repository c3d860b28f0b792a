"""What setup wrote last, as it is kept."""

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


def test_a_record_comes_back_as_it_was_kept_and_holds_no_value():
    recorded = {ROLE.path: entry_of(ROLE), "sys/policies/acl/testing-a": RecordEntry(Kind.POLICY, {})}
    kept = json.loads(json.dumps(to_data(recorded)))
    assert from_data(kept, "testing") == recorded
    assert from_data(kept, "production") == {}
    assert from_data(kept, "test") == {}


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
def test_what_makes_no_sense_is_as_good_as_not_there(data):
    assert from_data(data, "testing") == {}


def test_a_key_whose_fingerprints_make_no_sense_is_not_known():
    data = {"objects": {ROLE.path: {"kind": "ROLE", "keys": {"a": 1, "b": ["c"]}}}}
    assert from_data(data, "testing") == {ROLE.path: RecordEntry(Kind.ROLE, {"b": ("c",)})}


def test_what_was_written_is_known_again_and_a_change_by_hand_too():
    entry = entry_of(ROLE)
    assert is_written_by_setup(entry, {"token_ttl": 1, "x": [1]})
    assert not is_written_by_setup(entry, {"token_ttl": 2, "x": [1]})
    assert is_written_by_setup(entry, {"token_ttl": 1, "new key": 5})
    assert not is_written_by_setup(None, {"token_ttl": 1})


def test_while_it_is_changed_both_are_its_own():
    before = RecordEntry(Kind.ROLE, {"token_ttl": (fingerprint(9),), "gone": (fingerprint(3),)})
    entry = entry_of(ROLE, before)
    assert is_written_by_setup(entry, {"token_ttl": 9, "gone": 3})
    assert is_written_by_setup(entry, {"token_ttl": 1, "x": [1]})
    assert not is_written_by_setup(entry, {"token_ttl": 5})


def test_only_what_the_server_would_not_have_was_refused():
    assert RecordEntry(Kind.AUDIT, {}).refused
    assert not entry_of(ROLE).refused
