"""Opening and creating directories by path."""

import gc
import os
import stat
from pathlib import Path

import pytest

from lessee.core.errors import WriteError
from lessee.host.directories import open_directory
from support.needs import need


def opened(path, make=None):
    """The real path that a descriptor of `path` leads to."""
    fd = open_directory(path, make=make)
    try:
        os.scandir(fd).close()
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)


def status(path):
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


@pytest.fixture
def real(tmp_path):
    path = tmp_path / "real" / "app"
    path.mkdir(parents=True)
    return path


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open():
    gc.collect()  # An earlier test of this worker may have left one to be closed.
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_directory_is_opened_by_its_path(real):
    assert opened(real) == str(real)
    assert opened(Path("/")) == "/"


def test_a_relative_path_is_relative_to_the_working_directory(real, monkeypatch):
    monkeypatch.chdir(real.parent)
    assert opened(Path("app")) == str(real)
    assert opened(Path("app/../app")) == str(real)


@pytest.mark.parametrize("target", ["real", "./real/../real", "{absolute}"])
def test_own_links_in_the_path_are_followed(real, tmp_path, target):
    (tmp_path / "link").symlink_to(target.format(absolute=real.parent))
    assert opened(tmp_path / "link" / "app") == str(real)


def test_var_run_may_be_a_link():
    need(Path("/var/run").is_symlink(), "needs /var/run to be a link, as on Debian")
    assert opened(Path("/var/run")) == "/run"


@pytest.mark.parametrize("last", [True, False], ids=["last", "on the way"])
def test_a_link_that_another_user_made_is_refused_and_named(real, tmp_path, last):
    need(os.geteuid() == 0, "needs root, to change owners")
    link = tmp_path / "link"
    link.symlink_to(real if last else real.parent)
    os.lchown(link, 12345, 12345)
    with pytest.raises(WriteError, match=rf"{link}, a part of this path, is a symbolic link that uid 12345 made"):
        opened(link if last else link / "app")


def test_nothing_is_created_behind_a_link_of_another_user(tmp_path):
    need(os.geteuid() == 0, "needs root, to change owners")
    (tmp_path / "link").symlink_to(tmp_path / "planted")
    os.lchown(tmp_path / "link", 12345, 12345)
    with pytest.raises(WriteError):
        opened(tmp_path / "link", make=(0o700, None, None))
    assert not (tmp_path / "planted").exists()


def test_a_ring_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match="more than 16 symbolic links"):
        opened(tmp_path / "a")


def test_sixteen_links_are_followed_and_one_more_is_not(real, tmp_path):
    (tmp_path / "0").symlink_to(real)
    for number in range(1, 17):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    assert opened(tmp_path / "15") == str(real)
    with pytest.raises(WriteError, match="more than 16 symbolic links"):
        opened(tmp_path / "16")


@pytest.mark.parametrize("plant", [os.mkfifo, Path.touch], ids=["FIFO", "file"])
def test_an_entry_that_is_not_a_directory_is_refused_and_named(tmp_path, plant):
    plant(tmp_path / "thing")
    with pytest.raises(WriteError, match=rf"{tmp_path}/thing is not a directory"):
        opened(tmp_path / "thing" / "app", make=(0o700, None, None))


def test_a_missing_directory_is_an_error_unless_it_is_to_be_created(tmp_path):
    with pytest.raises(WriteError, match=r"No such file or directory \(a\)"):
        opened(tmp_path / "a" / "app")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_created_directory_has_its_mode_with_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        assert opened(tmp_path / "a" / "b" / "app", make=(0o750, None, None)) == str(tmp_path / "a/b/app")
    finally:
        os.umask(before)
    us = (os.geteuid(), os.getegid())
    assert status(tmp_path / "a") == status(tmp_path / "a" / "b") == (0o755, *us)
    assert status(tmp_path / "a" / "b" / "app") == (0o750, *us)


def test_a_created_directory_has_its_owner_and_its_parents_the_agents(tmp_path):
    need(os.geteuid() == 0, "needs root")
    opened(tmp_path / "a" / "app", make=(0o700, 1000, 1001))
    assert status(tmp_path / "a" / "app") == (0o700, 1000, 1001)
    assert status(tmp_path / "a") == (0o755, 0, 0)


def test_an_existing_directory_keeps_mode_and_owner(real):
    real.chmod(0o711)
    opened(real, make=(0o700, None, None))
    assert status(real)[0] == 0o711


def test_what_another_user_put_in_the_place_of_a_created_directory_is_not_given_away(tmp_path, monkeypatch):
    need(os.geteuid() == 0, "needs root, to change owners")
    parent = tmp_path / "theirs"
    parent.mkdir()
    mkdir = os.mkdir

    def mkdir_and_lose(name, mode, *, dir_fd):
        """The other user is faster than the next system call."""
        mkdir(name, mode, dir_fd=dir_fd)
        (parent / "new").rename(parent / "away")
        mkdir(parent / "new")
        os.chown(parent / "new", 12345, 12345)

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    with pytest.raises(WriteError, match="another user has replaced this directory"):
        open_directory(parent / "new", make=(0o750, 12345, None))
    (parent / "away").rmdir()


def test_a_link_of_root_that_another_user_gave_a_second_name_is_not_followed(real, tmp_path):
    need(os.geteuid() == 0, "needs root, to change owners")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "link").symlink_to(real)
    # As the user could without fs.protected_hardlinks.
    os.link(tmp_path / "link", theirs / "link", follow_symlinks=False)
    assert opened(theirs / "link")
    os.chown(theirs, 12345, 12345)
    with pytest.raises(WriteError, match="a symbolic link with several names, in a directory of uid 12345"):
        open_directory(theirs / "link", make=None)
