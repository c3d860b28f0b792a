"""What a new Unix socket may replace."""

import os
import socket
import stat
from contextlib import closing

import pytest

from lessee.core.errors import WriteError
from lessee.host.unix_listener import inherited_socket, opening_socket


def bind(path, kind=socket.SOCK_STREAM):
    with opening_socket(path, 0o666, name="the read socket", key="apps.web.socket"):
        server = socket.socket(socket.AF_UNIX, kind)
        server.bind(str(path))
    return closing(server)


def refuse(path, reason):
    with pytest.raises(WriteError) as refused, bind(path):
        pass
    assert reason in str(refused.value)
    assert "`apps.web.socket`" in str(refused.value)


def test_the_socket_of_an_earlier_process_is_replaced(tmp_path):
    path = tmp_path / "web.sock"
    for _ in range(2):
        with bind(path):
            assert path.is_socket()


def test_what_is_no_socket_is_not_removed(tmp_path):
    file, link, folder = (tmp_path / name for name in ("file", "link", "folder"))
    file.write_text("precious")
    link.symlink_to(file)
    (folder / "inner").mkdir(parents=True)
    for path in (file, link, folder):
        refuse(path, "something else has this path")
    assert (link.readlink(), file.read_text(), (folder / "inner").is_dir()) == (file, "precious", True)


@pytest.mark.parametrize("clients", [0, 3], ids=["idle", "with_a_full_queue"])
def test_the_socket_of_a_running_process_is_not_replaced(tmp_path, clients):
    path = tmp_path / "web.sock"
    with bind(path) as server:
        server.listen(1)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(clients)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(str(path))
        refuse(path, "another process serves this path")
        for client in waiting:
            client.close()
        assert path.is_socket()


def test_the_socket_of_a_running_log_daemon_is_not_replaced(tmp_path):
    with bind(tmp_path / "log", socket.SOCK_DGRAM):
        refuse(tmp_path / "log", "another process serves this path")


def test_a_socket_that_systemd_made_for_this_process_is_found_by_its_path(tmp_path, monkeypatch):
    path = tmp_path / "web.sock"
    with socket.socket() as other, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        first = min(other.fileno(), listener.fileno())
        monkeypatch.setattr("lessee.host.unix_listener._FIRST_INHERITED", first)
        monkeypatch.setenv("LISTEN_FDS", str(max(other.fileno(), listener.fileno()) - first + 1))
        assert inherited_socket(path) is None
        for pid in os.getpid(), os.getppid():
            monkeypatch.setenv("LISTEN_PID", str(pid))
            assert inherited_socket(tmp_path / "other.sock") is None
            with inherited_socket(path) as found:
                assert found.getsockname() == str(path)
                assert not os.get_inheritable(found.fileno())
        for nothing in "0", "", "-1", "rubbish":
            monkeypatch.setenv("LISTEN_FDS", nothing)
            assert inherited_socket(path) is None
        monkeypatch.setenv("LISTEN_PID", "1234567")
        assert inherited_socket(path) is None


def test_a_missing_directory_gets_its_mode_under_any_umask(tmp_path):
    path = tmp_path / "run" / "sockets" / "web.sock"
    before = os.umask(0o077)
    try:
        with opening_socket(path, 0o666, name="the read socket", key="apps.web.socket", directory_mode=0o711):
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)] == [0o711, 0o711]
