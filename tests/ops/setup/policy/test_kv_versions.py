"""KV v2 metadata to values and back."""

import pytest

from lessee.ops.setup.policy.kv_versions import fingerprint, is_lossless, metadata_body, settings_of, version_of
from lessee.ops.setup.policy.migration import Settings, Version

METADATA = {"max_versions": 3, "cas_required": True, "delete_version_after": "1h1m1.5s", "custom_metadata": {"a": "b"}}


def test_settings_are_written_as_they_were_read():
    settings = settings_of(METADATA)
    assert settings == Settings(3, cas_required=True, delete_version_after=3661.5, custom_metadata={"a": "b"})
    assert metadata_body(settings) == METADATA | {"delete_version_after": "3662s"}
    assert settings_of({"custom_metadata": None}) == Settings()


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("", 0), ("90s", 90), ("3h25m19s", 12319), ("500ms", 0.5), ("720h0m0s", 2592000)]
)
def test_durations_are_parsed_in_go_s_format(text, seconds):
    assert settings_of({"delete_version_after": text}).delete_version_after == seconds


def test_a_version_has_the_server_s_deletion_time():
    assert version_of({"deletion_time": "", "destroyed": False}) == Version()
    assert version_of({"deletion_time": "2026-01-01T00:00:00.123456789Z"}).deletes_at == 1767225600.123456
    assert version_of({"destroyed": True}).destroyed


def test_equal_data_has_equal_fingerprints_within_one_run_only():
    one = fingerprint(b"key", {"a": 1, "b": {"c": [None, "x"], "d": 2}})
    assert fingerprint(b"key", {"b": {"d": 2, "c": [None, "x"]}, "a": 1}) == one
    assert fingerprint(b"key", {"a": 1, "b": {"c": ["x", None], "d": 2}}) != one
    assert fingerprint(b"another", {"a": 1, "b": {"c": [None, "x"], "d": 2}}) != one


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (-0.0, 0), (1e22, 10**22), ([{"a": 2}], [{"a": 2.0}])])
def test_numbers_that_kv_stores_alike_have_the_same_fingerprint(one, other):
    assert fingerprint(b"key", {"a": one}) == fingerprint(b"key", {"a": other})


def test_different_numbers_have_different_fingerprints():
    values = (1, True, "1", 2**53, 2**53 + 1, float(2**53 + 2), 10**400)
    assert len({fingerprint(b"key", {"a": value}) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("value", "exact"), [(2**53, True), (2**53 + 1, False), (10**400, False), (1.5, True), (True, True)]
)
def test_an_integer_that_kv_would_round_is_found_at_any_depth(value, exact):
    assert is_lossless({"a": ["x", None, {"b": value}]}) is exact
