"""Decoding lines in the shapes of OpenBao 2.7 and of other servers."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.decoder import MAX_ERROR, InvalidLineError, decode

HMAC = "hmac-sha256:" + "0" * 64
READ = {
    "time": "2026-11-28T16:26:37.115022573Z",
    "type": "response",
    "auth": {
        "client_token": HMAC,
        "accessor": HMAC,
        "display_name": "approle",
        "policies": ["default", "reader"],
        "token_policies": ["default", "reader"],
        "metadata": {"role_name": "reader"},
        "entity_id": "dcb242a0-7f04-df00-b9f8-05e28b57c343",
    },
    "request": {
        "id": "8434318c",
        "operation": "read",
        "mount_point": "secret/",
        "mount_type": "kv",
        "namespace": {"id": "x", "path": "team-a/"},
        "path": "secret/data/production/database/postgres",
        "remote_address": "127.0.0.1",
    },
    "response": {
        "data": {
            "data": {"password": HMAC},
            "metadata": {"created_time": "2026-11-28T16:26:37.1Z", "version": 2},
        }
    },
}


def line(**changes):
    return json.dumps({**READ, **changes}, separators=(",", ":")).encode()


def request(**changes):
    return {"request": {**READ["request"], **changes}}


def answer(data):
    return {"response": {"data": data}}


def test_a_read_is_decoded_with_its_client_and_the_version_it_got():
    access = decode(line(), "one")
    assert (access.operation, access.path) == ("read", "secret/data/production/database/postgres")
    assert (access.mount, access.mount_type, access.namespace) == ("secret", "kv", "team-a")
    assert (access.display_name, access.role, access.accessor) == ("approle", "reader", HMAC)
    assert (access.version, access.denied, access.root, access.error) == (2, False, False, None)
    assert (access.server, access.address, access.policies) == ("one", "127.0.0.1", ("default", "reader"))
    assert access.at == pytest.approx(1795883197.115022)


def test_a_denial_is_recognized_and_any_error_is_one_truncated_line():
    access = decode(line(error="1 error occurred:\n\t* permission denied\n\n"), "one")
    assert (access.denied, access.error) == (True, "1 error occurred: * permission denied")
    access = decode(line(error="invalid " * 100), "one")
    assert (access.denied, len(access.error)) == (False, MAX_ERROR)


def test_missing_fields_are_empty():
    bare = {"time": READ["time"], "type": "response", "request": {"operation": "read", "path": "sys/health"}}
    access = decode(json.dumps(bare).encode(), "one")
    assert (access.mount, access.namespace, access.role, access.entity, access.policies) == ("sys", "", "", "", ())
    assert access.root is False
    nothing = {"auth": None, "error": None, "response": None, **request(namespace=None, remote_address=None)}
    assert decode(line(**nothing), "one").address == ""


@pytest.mark.parametrize(
    "auth", [{"policies": ["root"]}, {"token_policies": ["root"]}, {"policies": [], "token_policies": ["root"]}]
)
def test_a_root_token_is_recognized(auth):
    assert decode(line(auth=auth), "one").root is True


def test_the_role_is_found_under_the_key_of_other_auth_methods():
    assert decode(line(auth={"metadata": {"role": "web"}}), "one").role == "web"


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ({"created_time": "2026-11-28T16:26:37Z", "version": 3}, 3),
        ({"created_time": "2026-11-28T16:26:37Z", "current_version": 4}, 4),
        ({"metadata": {"created_time": "2026-11-28T16:26:37Z", "version": 5}}, 5),
        ({"metadata": {"version": 5}}, None),
        ({"version": 4711}, None),  # The log has the numbers of a version 1 secret in plain text.
        ({"created_time": HMAC, "version": 4711}, None),
        ({"created_time": 1, "version": 4711}, None),
        ({"version": {"a": "b"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_only_a_version_of_kv_version_2_is_decoded(data, version):
    assert decode(line(**answer(data)), "one").version == version


def test_requests_without_a_version_have_none():
    response = answer({"created_time": "2026-11-28T16:26:37Z", "version": 3})
    assert decode(line(**response, **request(operation="list")), "one").version is None
    assert decode(line(**response, **request(mount_type="system")), "one").version is None
    assert decode(line(**response, **request(mount_type=None)), "one").version == 3


def test_a_request_entry_is_no_access_wherever_its_type_is():
    assert decode(line(type="request"), "one") is None
    last = {key: value for key, value in READ.items() if key not in {"type", "time"}}
    assert (
        decode(json.dumps({**last, "time": READ["time"], "type": "request"}, separators=(",", ":")).encode(), "")
        is None
    )
    assert decode(json.dumps({"a": 1, "type": "request", **last, "time": READ["time"]}).encode(), "") is None
    assert decode(line(type="config"), "one") is None
    assert decode(json.dumps({"time": READ["time"], "type": "response"}).encode(), "one") is None


def test_a_response_that_contains_a_request_type_is_an_access():
    data = {"type": "request", "x": '"type":"request"'}
    assert decode(line(**answer(data)), "one") is not None
    assert decode(line(**request(data=data)), "one") is not None


def test_a_line_may_have_the_prefix_of_the_audit_device():
    assert decode(b"@cee: " + line(), "one") == decode(line(), "one")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no entry",
        b"\x00\xff",
        b"null",
        b"{}",
        b"[" * 5000,
        b'{"time":' + b"[" * 100_000,
        b'{"time":1,"type":"response"}',
        line()[:-10],
        line(request=[1]),
        line(time="tomorrow"),
        line().replace(b"reader", b"\xff"),
    ],
)
def test_an_invalid_line_is_rejected_and_not_quoted(text):
    with pytest.raises(InvalidLineError) as caught:
        decode(text, "one")
    assert str(caught.value) == ""
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_an_access_or_none_or_an_invalid_line(text, position):
    whole = line()
    for mixed in (text, whole[:position] + text + whole[position:]):
        with suppress(InvalidLineError):
            decode(mixed, "one")


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"]
)
def test_a_line_with_a_time_out_of_range_is_invalid(time):
    with pytest.raises(InvalidLineError):
        decode(line(time=time), "one")
