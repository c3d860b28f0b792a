"""What a hostile or broken server answers: each kind of attack on its client, at a raw socket in front of a real Vault.

An attack begins after the client has read its first secrets, and concerns all paths or, by the text in it, one.
"""

import itertools
import json
from collections.abc import Mapping

from support.servers.fault_proxy import Attack, Edit, Fault, Status

MIB = 1 << 20
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_SLOWLY = 2.0
"""Seconds between two bytes: less than any timeout of a single read."""


def _endless_chunks():
    yield _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"100000\r\n" + b" " * MIB + b"\r\n")


def _tiny_chunks():
    yield _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"1\r\n \r\n" * 10_000)


def _until_closed():
    yield _HEAD + b"Connection: close\r\n\r\n"
    yield from itertools.repeat(b" " * MIB)


def _endless_headers():
    yield _HEAD
    yield from itertools.repeat(b"X-More: and more\r\n" * 1000)


def _interim():
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _slow_head():
    for byte in itertools.cycle(b"X-More: and more\r\n"):
        yield from (_HEAD, _SLOWLY) if byte == ord("X") else (bytes([byte]), _SLOWLY)


def _slow_body():
    yield _HEAD + b"Content-Length: 1000\r\n\r\n"
    while True:
        yield b" "
        yield _SLOWLY


def _slow_interim():
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        yield _SLOWLY


def _whole(body, status=b"200 OK"):
    yield b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    for at in range(0, len(body), MIB):
        yield body[at : at + MIB]


def _filled(part, size, *, key=b"value"):
    """An answer to a read of KV v2 with a list of so many parts that it has `size` bytes."""
    count = size // (len(part) + 1)
    listed = b",".join(itertools.repeat(part, count))
    return (
        b'{"request_id":"1","data":{"keys":["db"],"data":{"' + key + b'":[' + listed + b"]},"
        b'"metadata":{"version":9,"created_time":"2026-01-01T00:00:00Z"}}}'
    )


def _huge(part, size):
    """The body is made when it is asked for: all attacks together would not fit."""
    return Attack(lambda: _whole(_filled(part, size)))


def _ttl(value, *, key="lease_duration"):
    """Change the ttl of each token."""

    def change(answer):
        if answer.get("auth"):
            answer["auth"][key] = value
        elif "ttl" in (answer.get("data") or {}):
            answer["data"]["ttl"] = value

    return Edit(change)


def _lease(value, *, renewable=True):
    """Change the ttl of each lease."""

    def change(answer):
        if answer.get("lease_id"):
            answer |= {"lease_duration": value, "renewable": renewable}

    return Edit(change)


def _data(value):
    def change(answer):
        if "data" in (answer.get("data") or {}):
            answer["data"]["data"] = value

    return Edit(change)


def _version(value):
    """Change the number of each version of a secret."""

    def change(answer):
        data = answer.get("data") or {}
        for metadata in (data, data.get("metadata") or {}, *(data.get("key_info") or {}).values()):
            metadata |= {key: value for key in ("version", "current_version") if key in metadata}

    return Edit(change)


_REDIRECT = {"Location": "/v1/sys/health"}

_VERSIONS = {"10^300": 10**300, "-1": -1, "a list": [1], "1e300": 1e300}

ATTACKS: Mapping[str, tuple[str, object]] = {
    "endless chunks": ("", Attack(_endless_chunks)),
    "endless chunks of one byte": ("", Attack(_tiny_chunks)),
    "an endless body until the connection closes": ("", Attack(_until_closed)),
    "an announced size of 100 PB": ("", Attack(lambda: [_HEAD + b"Content-Length: 100000000000000000\r\n\r\n", 600.0])),
    "a list of 31 MiB of lists": ("secret/data", _huge(b"[[[[[[[[]]]]]]]]", 31 * MIB)),
    "a list of 31 MiB of tiny objects": ("", _huge(b'{"":1}', 31 * MIB)),
    "a list of 7 MiB of tiny objects": ("secret/", _huge(b'{"":1}', 7 * MIB)),
    "a nesting of a million lists": ("", Attack(lambda: _whole(b'{"data":' + b"[" * MIB))),
    "an error of 31 MiB": ("", Attack(lambda: _whole(_filled(b'"ab"', 31 * MIB), b"500 X"))),
    "endless headers": ("", Attack(_endless_headers)),
    "endless answers of 1xx": ("", Attack(_interim)),
    "an answer of 1xx every two seconds": ("", Attack(_slow_interim)),
    "a byte of the head every two seconds": ("", Attack(_slow_head)),
    "a byte of the body every two seconds": ("", Attack(_slow_body)),
    "no answer": ("", Fault.HANG),
    "redirects": ("", Status(307, _REDIRECT)),
    "Retry-After of a trillion seconds": ("", Status(429, {"Retry-After": "1000000000000"})),
    "a node that is always behind": ("", Status(412)),
    "a deleted secret without a number": (
        "secret/data",
        Status(404, body=b'{"errors":[],"data":{"metadata":{"version":"x","deletion_time":[1]}}}'),
    ),
    "denials of all requests": ("", Status(403, body=b'{"errors":["permission denied"]}')),
    "denials of all but the login": ("secret/", Status(403, body=b'{"errors":["permission denied"]}')),
    "a secret that is a list": ("secret/data", _data([1, [2]])),
    "a secret that is a number": ("secret/data", _data(1)),
    **{f"a version of {name}": ("secret/", _version(value)) for name, value in _VERSIONS.items()},
    **{f"a ttl of tokens of {json.dumps(value)}": ("auth/", _ttl(value)) for value in (-1, 0.001, 1, "1h", [], 1e12)},
    **{f"a ttl of leases of {json.dumps(value)}": ("pki/", _lease(value)) for value in (-1, 0, 0.001, 1, "1h", 1e12)},
}
"""By name: the text in the paths, empty for all, and what happens there."""
