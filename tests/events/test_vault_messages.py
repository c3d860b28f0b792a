"""What Vault Enterprise tells of a change, in the words of a change; and nothing of what it would not have sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.change_events import Change
from lessee.events.vault_messages import OPERATIONS, told
from support.servers.vault_event_stream import frame

AT = "2026-11-28T13:11:39.227341-08:00"


def event(kind="kv-v2/data-write", path="secret/data/production/one", mount="secret/", **more):
    said = json.loads(frame("x"))
    said["data"] |= {"event_type": kind, "event": {"metadata": {"path": path} | more}}
    said["data"]["plugin_info"]["mount_path"] = mount
    return said


def of(said):
    return told(json.dumps(said).encode())


@pytest.mark.parametrize("kind", OPERATIONS)
def test_whatever_changes_a_value_is_told(kind):
    section = {"kv-v1": "", "kv-v2": kind.rpartition("/")[2].partition("-")[0] + "/"}[kind[:5]]
    found = of(event(kind, f"secret/{section}production/one", current_version="3"))
    assert found == Change(None, "secret", "production/one", 3, OPERATIONS[kind], AT)


@pytest.mark.parametrize("kind", ["kv-v2/metadata-write", "kv-v2/metadata-patch", "kv-v2/config-write", "pki/x", ""])
def test_whatever_changes_none_is_not(kind):
    assert of(event(kind)) is None


def test_paths_of_old_servers_and_mounts_within_mounts_are_understood():
    assert of(event(path="data/one")).path == "one"
    found = of(event(path="team/kv/data/data/one", mount="team/kv/"))
    assert (found.mount, found.path) == ("team/kv", "data/one")
    assert of(event(path=None, data_path="secret/data/one")).path == "one"


def test_both_spellings_of_the_envelope_and_a_namespace_are_understood():
    said = event(current_version="x")
    data = said["data"]
    data["eventType"], data["namespace"] = data.pop("event_type"), "team/"
    data["pluginInfo"] = {"mountPath": data.pop("plugin_info")["mount_path"]}
    found = of(said)
    assert (found.mount, found.path, found.namespace, found.version) == ("secret", "production/one", "team", None)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 5000, b"null", b"[]", b'{"data": [1]}', b" " * 9000, b"{}"])
def test_rubbish_is_nothing(text):
    assert told(text) is None


@pytest.mark.parametrize("path", ["secret/one", "secret/data/", "", "secret/data", 7])
def test_a_path_that_names_no_secret_is_nothing(path):
    assert of(event(path=path)) is None
    assert of(event(mount="")) is None


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_json_at_all_is_an_error(said):
    assert of(said) is None
