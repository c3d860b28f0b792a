"""The status is served over TCP without a token only if the file allows it explicitly."""

import pytest

from lessee.config import Listen
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def listen(status):
    text = f"environment: testing\nstatus: {{{status}}}\n"
    return parse(text, source="lessee.yaml", environ={}).status.listen


def test_without_listen_there_is_no_tcp_listener():
    assert listen("socket: /run/s") is None


def test_a_listener_has_a_token_file_and_allowed_hosts():
    listener = listen('listen: "0.0.0.0:9105", token_file: /run/token, allowed_hosts: [Agent, agent.local]')
    assert listener == Listen(address="0.0.0.0:9105", token_file="/run/token", allowed_hosts=("agent", "agent.local"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]"])
def test_a_loopback_address_may_be_unauthenticated(host):
    assert listen(f'listen: "{host}:9105", allow_unauthenticated: true') == Listen(
        address=f"{host}:9105", token_file=None, allowed_hosts=()
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ('listen: "127.0.0.1:9105"', "status.listen: every client that reaches the port could read the status; "),
        (
            'listen: "127.0.0.1:9105"',
            "add `token_file: PATH`, or `allow_unauthenticated: true` if every user of this machine may",
        ),
        ('listen: "0.0.0.0:9105"', "could read the status; add `token_file: PATH`$"),
        (
            'listen: "0.0.0.0:9105", allow_unauthenticated: true',
            "status.allow_unauthenticated: every .* from other machines; write `token_file",
        ),
        ('listen: "[::]:9105", allow_unauthenticated: true', "even from other machines"),
        ('listen: "127.0.0.1.example:9105", allow_unauthenticated: true', "even from other machines"),
        (
            'listen: "127.0.0.1:9105", allow_unauthenticated: true, token_file: F',
            "status.allow_unauthenticated: it contradicts `token_file`; remove one",
        ),
        ("token_file: F", "status.token_file: it applies only to `listen`, which is missing; write `listen:`"),
        ("allow_unauthenticated: true", "status.allow_unauthenticated: it applies only to `listen`"),
        ("allowed_hosts: [a]", "status.allowed_hosts: it applies only to `listen`"),
        (
            'listen: "127.0.0.1:9105", allow_unauthenticated: true, allowed_hosts: ["a:1"]',
            "expected a host name, without a port",
        ),
    ],
)
def test_an_accidentally_open_listener_is_rejected_with_advice(status, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        listen(status)
    assert len(caught.value.problems) == 1
