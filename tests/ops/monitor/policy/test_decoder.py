"""Lines as servers write them; the shapes are those of OpenBao 2.7, and what other servers do otherwise."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.decoder import ERROR_MAX, NotALineError, decode

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


def test_a_read_is_told_with_who_did_it_and_which_version_it_got():
    access = decode(line(), "one")
    assert (access.operation, access.path) == ("read", "secret/data/production/database/postgres")
    assert (access.mount, access.mount_type, access.namespace) == ("secret", "kv", "team-a")
    assert (access.display_name, access.role, access.accessor) == ("approle", "reader", HMAC)
    assert (access.version, access.refused, access.root, access.error) == (2, False, False, None)
    assert (access.server, access.address, access.policies) == ("one", "127.0.0.1", ("default", "reader"))
    assert access.at == pytest.approx(1795883197.115022)


def test_a_refusal_is_told_and_so_is_another_error_on_one_line_and_cut():
    access = decode(line(error="1 error occurred:\n\t* permission denied\n\n"), "one")
    assert (access.refused, access.error) == (True, "1 error occurred: * permission denied")
    access = decode(line(error="invalid " * 100), "one")
    assert (access.refused, len(access.error)) == (False, ERROR_MAX)


def test_what_is_not_there_is_empty():
    bare = {"time": READ["time"], "type": "response", "request": {"operation": "read", "path": "sys/health"}}
    access = decode(json.dumps(bare).encode(), "one")
    assert (access.mount, access.namespace, access.role, access.entity, access.policies) == ("sys", "", "", "", ())
    assert access.root is False
    nothing = {"auth": None, "error": None, "response": None, **request(namespace=None, remote_address=None)}
    assert decode(line(**nothing), "one").address == ""


@pytest.mark.parametrize(
    "auth", [{"policies": ["root"]}, {"token_policies": ["root"]}, {"policies": [], "token_policies": ["root"]}]
)
def test_a_token_that_may_do_anything_is_told(auth):
    assert decode(line(auth=auth), "one").root is True


def test_a_role_has_another_name_in_other_methods():
    assert decode(line(auth={"metadata": {"role": "web"}}), "one").role == "web"


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ({"created_time": "2026-11-28T16:26:37Z", "version": 3}, 3),
        ({"created_time": "2026-11-28T16:26:37Z", "current_version": 4}, 4),
        ({"metadata": {"created_time": "2026-11-28T16:26:37Z", "version": 5}}, 5),
        ({"metadata": {"version": 5}}, None),
        ({"version": 4711}, None),  # A number of a secret in version 1 stands in the log as it is.
        ({"created_time": HMAC, "version": 4711}, None),
        ({"created_time": 1, "version": 4711}, None),
        ({"version": {"a": "b"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_only_a_version_of_kv_version_2_is_taken_for_one(data, version):
    assert decode(line(**answer(data)), "one").version == version


def test_no_version_is_looked_for_where_there_is_none():
    said = answer({"created_time": "2026-11-28T16:26:37Z", "version": 3})
    assert decode(line(**said, **request(operation="list")), "one").version is None
    assert decode(line(**said, **request(mount_type="system")), "one").version is None
    assert decode(line(**said, **request(mount_type=None)), "one").version == 3


def test_a_request_is_no_access_wherever_its_type_stands():
    assert decode(line(type="request"), "one") is None
    last = {key: value for key, value in READ.items() if key not in {"type", "time"}}
    assert (
        decode(json.dumps({**last, "time": READ["time"], "type": "request"}, separators=(",", ":")).encode(), "")
        is None
    )
    assert decode(json.dumps({"a": 1, "type": "request", **last, "time": READ["time"]}).encode(), "") is None
    assert decode(line(type="config"), "one") is None
    assert decode(json.dumps({"time": READ["time"], "type": "response"}).encode(), "one") is None


def test_an_answer_that_speaks_of_requests_is_an_access():
    data = {"type": "request", "x": '"type":"request"'}
    assert decode(line(**answer(data)), "one") is not None
    assert decode(line(**request(data=data)), "one") is not None


def test_a_device_may_write_a_prefix():
    assert decode(b"@cee: " + line(), "one") == decode(line(), "one")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"rubbish",
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
def test_rubbish_is_no_line_and_is_not_quoted(text):
    with pytest.raises(NotALineError) as caught:
        decode(text, "one")
    assert str(caught.value) == ""
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_stands_there_it_is_an_access_or_nothing_or_no_line(text, position):
    whole = line()
    for mixed in (text, whole[:position] + text + whole[position:]):
        with suppress(NotALineError):
            decode(mixed, "one")


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"]
)
def test_a_line_of_a_time_that_no_library_knows_is_none(time):
    with pytest.raises(NotALineError):
        decode(line(time=time), "one")
