"""The read socket of an app: who may read, and what contradicts itself."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

WHERE = "/run/lessee/web.sock"


def sockets(*blocks, **app):
    apps = {
        f"app{number}": {"directory": f"/run/files/{number}", "files": [{"template": "a.txt"}], "socket": block, **app}
        for number, block in enumerate(blocks)
    }
    config = parse(
        json.dumps({"environment": "testing", "state_dir": "/run/state", "apps": apps}),
        source="lessee.yaml",
        environ={},
    )
    return [app.socket for app in config.apps.values()]


def test_by_default_the_owner_of_the_files_reads_and_without_one_the_agents_own_user():
    [found] = sockets(WHERE)
    assert (found.path, found.uids, found.allows_own_user, found.listen) == (WHERE, frozenset(), True, None)
    [found] = sockets(WHERE, owner="1000:1000")
    assert (found.uids, found.allows_own_user) == (frozenset({1000}), False)
    [found] = sockets(WHERE, files=[{"template": "a.txt", "owner": "7"}, {"template": "b.txt"}])
    assert (found.uids, found.allows_own_user) == (frozenset({7}), True)
    [found] = sockets(WHERE, files=None, env_template="a.env")
    assert found.allows_own_user
    assert [socket is None for socket in sockets(None, WHERE)] == [True, False]
    assert sockets(longest := f"/run/{'a' * 102}")[0].path == longest


def test_named_users_replace_the_owner():
    block = {"path": WHERE, "uids": [0, 5], "gids": [30], "listen": "127.0.0.1:8300", "token_file": "/run/token"}
    [found] = sockets(block, owner="1000")
    assert (found.uids, found.gids, found.allows_own_user) == (frozenset({0, 5}), frozenset({30}), False)
    assert (found.listen, found.token_file) == ("127.0.0.1:8300", "/run/token")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (["/run/files/0/a.sock"], "apps.app0.socket: it is in the app's directory"),
        ([{"path": "/run/state/a.sock"}], "apps.app0.socket.path: it is in state_dir"),
        ([f"/run/{'a' * 103}"], "apps.app0.socket: it has 108 bytes, and the path of a Unix socket at most 107"),
        ([{"path": f"/run/{'ü' * 52}"}], "apps.app0.socket.path: it has 109 bytes"),
        (["run/a.sock"], "apps.app0.socket: expected an absolute path"),
        ([{"path": WHERE, "listen": "127.0.0.1:1"}], "apps.app0.socket.token_file: missing; `listen` needs it"),
        ([{"path": WHERE, "token_file": "/t"}], "apps.app0.socket.listen: missing; `token_file` needs it"),
        (
            [{"path": WHERE, "listen": "0.0.0.0:1", "token_file": "/t"}],
            "apps.app0.socket.listen: other machines could reach it",
        ),
        (
            [{"path": WHERE, "containers": [{"service": "web"}]}],
            "apps.app0.socket.containers[0]: `project` is missing, so that containers of others would read too",
        ),
        ([{"path": WHERE, "containers": [{}]}], "apps.app0.socket.containers[0]: it names no container"),
        (
            [{"path": WHERE, "containers": [{"label": "a=b"}], "listen": "127.0.0.1:1", "token_file": "/t"}],
            "apps.app0.socket.listen: a client of `listen` cannot be found in a container",
        ),
        ([WHERE, {"path": WHERE}], "apps.app1.socket.path: apps.app0.socket is the same"),
        (
            [
                {"path": WHERE, "listen": "127.0.0.1:1", "token_file": "/t"},
                {"path": "/run/b.sock", "listen": "127.0.0.1:1", "token_file": "/t"},
            ],
            "apps.app1.socket.listen: apps.app0.socket.listen is the same",
        ),
    ],
)
def test_what_contradicts_itself_is_named_with_its_key(blocks, expected):
    with pytest.raises(ConfigError) as refused:
        sockets(*blocks)
    assert expected in str(refused.value)


def credentials(block, **app):
    app = {"directory": "/run/files", "files": [{"template": "a.txt"}], "credentials": block, **app}
    text = json.dumps({"environment": "testing", "state_dir": "/run/state", "apps": {"web": app}})
    return parse(text, source="lessee.yaml", environ={}).apps["web"].credentials


def test_units_of_systemd_have_a_socket_of_their_own():
    found = credentials({"socket": WHERE, "units": ["web.service", r"a\x2db@1.socket"]}, socket="/run/other.sock")
    assert (found.path, found.units) == (WHERE, {"web.service", r"a\x2db@1.socket"})
    assert credentials(None) is None


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"socket": WHERE}, "apps.web.credentials.units: missing"),
        ({"socket": WHERE, "units": []}, "apps.web.credentials.units: "),
        ({"socket": WHERE, "units": ["web"]}, "apps.web.credentials.units[0]: expected the name of a unit"),
        ({"socket": WHERE, "units": ["a/b.service"]}, "apps.web.credentials.units[0]: expected the name of a unit"),
        ({"units": ["web.service"]}, "apps.web.credentials.socket: missing"),
        ({"socket": "/run/files/a", "units": ["web.service"]}, "apps.web.credentials.socket: it is in the app's"),
        (
            {"socket": "/run/other.sock", "units": ["web.service"]},
            "apps.web.credentials.socket: apps.web.socket is the",
        ),
    ],
)
def test_credentials_that_contradict_themselves_are_named_with_their_key(block, expected):
    with pytest.raises(ConfigError) as refused:
        credentials(block, socket="/run/other.sock")
    assert expected in str(refused.value)
