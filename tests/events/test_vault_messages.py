"""Events of Vault Enterprise are parsed into changes, and invalid messages are rejected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.change_events import Change
from lessee.events.vault_messages import OPERATIONS, parse_event
from support.servers.vault_event_stream import frame

AT = "2026-11-28T13:11:39.227341-08:00"


def event(kind="kv-v2/data-write", path="secret/data/production/one", mount="secret/", **more):
    message = json.loads(frame("x"))
    message["data"] |= {"event_type": kind, "event": {"metadata": {"path": path} | more}}
    message["data"]["plugin_info"]["mount_path"] = mount
    return message


def parsed(message):
    return parse_event(json.dumps(message).encode())


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_event_that_changes_a_value_is_a_change(kind):
    section = {"kv-v1": "", "kv-v2": kind.rpartition("/")[2].partition("-")[0] + "/"}[kind[:5]]
    found = parsed(event(kind, f"secret/{section}production/one", current_version="3"))
    assert found == Change(None, "secret", "production/one", 3, OPERATIONS[kind], AT)


@pytest.mark.parametrize("kind", ["kv-v2/metadata-write", "kv-v2/metadata-patch", "kv-v2/config-write", "pki/x", ""])
def test_other_events_are_ignored(kind):
    assert parsed(event(kind)) is None


def test_paths_of_old_servers_and_nested_mounts_are_parsed():
    assert parsed(event(path="data/one")).path == "one"
    found = parsed(event(path="team/kv/data/data/one", mount="team/kv/"))
    assert (found.mount, found.path) == ("team/kv", "data/one")
    assert parsed(event(path=None, data_path="secret/data/one")).path == "one"


def test_both_spellings_of_the_envelope_and_a_namespace_are_parsed():
    message = event(current_version="x")
    data = message["data"]
    data["eventType"], data["namespace"] = data.pop("event_type"), "team/"
    data["pluginInfo"] = {"mountPath": data.pop("plugin_info")["mount_path"]}
    found = parsed(message)
    assert (found.mount, found.path, found.namespace, found.version) == ("secret", "production/one", "team", None)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 5000, b"null", b"[]", b'{"data": [1]}', b" " * 9000, b"{}"])
def test_an_invalid_message_is_ignored(text):
    assert parse_event(text) is None


@pytest.mark.parametrize("path", ["secret/one", "secret/data/", "", "secret/data", 7])
def test_a_path_without_a_secret_is_ignored(path):
    assert parsed(event(path=path)) is None
    assert parsed(event(mount="")) is None


@pytest.mark.long
@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_json_raises_an_error(message):
    assert parsed(message) is None
