"""An app's service reaches its read socket and may read there, or a finding says why not."""

import pytest

from support.inputs.compose_files import LESSEE, check, found

SOCKET = LESSEE.replace("    notify: {process: {name: app.py}, action: SIGHUP}\n", "    socket: SETTINGS\n")
USUAL = "{path: /run/sockets/web.sock, uids: [1000], gids: [30]}"
AGENT = """
  agent: {image: lessee, user: "0:0", volumes: ["sockets:/run/sockets", "files:/run/secrets/web"]}
"""
MOUNTED = """
web: {user: "USER", volumes: ["VOLUME"]}
holder: {image: lessee, entrypoint: [sleep, infinity], volumes: ["sockets:/hold"]}
"""


def rules(services, settings=USUAL, agent=AGENT):
    return [item[0] for item in found(services, lessee=SOCKET.replace("SETTINGS", settings), but=(), agent=agent)]


@pytest.mark.parametrize(
    ("user", "settings", "expected"),
    [
        ("1000:1000", USUAL, []),
        ("1001:30", USUAL, []),
        ("1001:31", USUAL, ["socket-other-user"]),
        ("1001", USUAL, ["socket-other-user"]),
        ("root", USUAL, ["same-user", "socket-other-user"]),
        ("app", USUAL, []),
        ("", USUAL, []),
        ("1001", "/run/sockets/web.sock", ["socket-other-user"]),
        ("0", "/run/sockets/web.sock", ["same-user"]),
    ],
)
def test_the_user_of_the_service_may_read(user, settings, expected):
    text = MOUNTED.replace("USER", user).replace("VOLUME", "sockets:/run/sockets:ro")
    assert rules(text, settings) == expected


def test_a_user_that_may_not_read_is_named_with_the_setting():
    text = MOUNTED.replace("USER", "1001").replace("VOLUME", "sockets:/run/sockets:ro")
    (item,) = check(text, lessee=SOCKET.replace("SETTINGS", USUAL), but=(), agent=AGENT)
    assert item.message == "service web has uid 1001, which may not read at the socket of app web"
    assert item.help == "write `uids: [1001]` in apps.web.socket"


def test_an_agent_of_an_unknown_user_may_have_any():
    text = MOUNTED.replace("USER", "1001").replace("VOLUME", "sockets:/run/sockets:ro")
    assert rules(text, "/run/sockets/web.sock", AGENT.replace('user: "0:0", ', "")) == []


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ("sockets:/run/sockets:ro", []),
        ("sockets:/run:ro", []),
        ("other:/run/sockets:ro", ["socket-not-mounted"]),
        ("files:/run/secrets/web:ro", ["socket-not-mounted"]),
    ],
)
def test_a_service_mounts_the_directory_of_the_socket(volume, expected):
    assert rules(MOUNTED.replace("USER", "1000").replace("VOLUME", volume)) == expected


def test_an_agent_that_mounts_no_directory_for_the_socket_is_found():
    text = MOUNTED.replace("USER", "1000").replace("VOLUME", "sockets:/run/sockets:ro")
    agent = AGENT.replace('"sockets:/run/sockets", ', "")
    (item,) = check(text, lessee=SOCKET.replace("SETTINGS", USUAL), but=(), agent=agent)
    assert item.rule == "socket-not-mounted"
    assert item.message == "no mount of service agent is /run/sockets, so only the agent reaches the socket of app web"
    assert item.help == "mount one tmpfs volume at /run/sockets in the agent, and read-only in the app"


def test_a_port_needs_no_mount():
    settings = "{path: /run/sockets/web.sock, uids: [1000], listen: '127.0.0.1:8300', token_file: /run/token}"
    assert rules(MOUNTED.replace("USER", "1000").replace("VOLUME", "other:/x"), settings) == []


def test_a_mount_of_the_socket_alone_gets_no_new_one():
    text = MOUNTED.replace("USER", "1000").replace("VOLUME", "/srv/sockets/web.sock:/run/web.sock")
    agent = AGENT.replace("sockets:/run/sockets", "/srv/sockets:/run/sockets")
    assert rules(text, agent=agent) == ["stale-mount"]
