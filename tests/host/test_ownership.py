"""Whether another user could have made or replaced a directory or a socket."""

import os
import subprocess
from pathlib import Path

import pytest

from lessee.core.errors import WriteError
from lessee.host.ownership import foreign_writer, refuse_foreign_writers
from support.needs import need

OTHER = 12345


@pytest.fixture
def place(tmp_path):
    need(os.geteuid() == 0, "needs root, to change owners")
    path = tmp_path / "outer" / "inner"
    path.mkdir(parents=True)
    return path


def found(path, *, own, entry=None):
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        result = foreign_writer(fd, own=own, entry=entry and entry.lstat())
    finally:
        os.close(fd)
    return None if result is None else result.what


@pytest.mark.parametrize("own", [True, False])
def test_a_directory_of_its_own_is_its_own(place, own):
    assert found(place, own=own) is None
    assert found(Path("/"), own=own) is None


def test_a_directory_of_another_user_is_not(place):
    os.chown(place, OTHER, OTHER)
    assert found(place, own=True) == f"{place} belongs to uid {OTHER}"
    # Root gave it to that user.
    assert found(place, own=False) is None


@pytest.mark.parametrize("own", [True, False])
def test_a_directory_that_its_owner_made_in_a_shared_one_is_not(place, own):
    place.parent.chmod(0o1777)
    os.chown(place, OTHER, OTHER)
    assert found(place, own=own) == f"{place} belongs to uid {OTHER}"
    os.chown(place, 0, 0)
    assert found(place, own=own) is None


def test_the_parents_of_a_directory_count(place):
    os.chown(place.parent, OTHER, OTHER)
    assert found(place, own=True) == f"{place.parent} belongs to uid {OTHER}"
    os.chown(place.parent, 0, 0)
    place.parent.chmod(0o777)
    assert found(place, own=True) == f"every user may write into {place.parent}"
    place.parent.chmod(0o770)
    os.chown(place.parent, 0, OTHER)
    assert found(place, own=True) == f"group {OTHER} may write into {place.parent}"
    # A user's own group (umask 002).
    os.chown(place.parent, 0, 0)
    assert found(place, own=True) is None


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_may_write_into_is_not_its_own(place, mode):
    place.chmod(mode)
    assert "may write into" in found(place, own=True)


def test_a_mount_decides_who_may_write_into_it(place):
    # As in the root of an emptyDir of Kubernetes.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", place], check=True)
    try:
        (place / "own").mkdir(mode=0o700)
        assert found(place / "own", own=True) is None
        assert found(place, own=True) == f"every user may write into {place}"
        (place / "own").chmod(0o777)
        (place / "own" / "below").mkdir()
        assert found(place / "own" / "below", own=True) == f"every user may write into {place / 'own'}"
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_an_entry_in_a_shared_directory_belongs_to_the_user_that_made_it(place):
    place.chmod(0o1777)
    (place / "s").touch()
    assert found(place, own=False, entry=place / "s") is None
    os.chown(place / "s", OTHER, OTHER)
    assert found(place, own=False, entry=place / "s") == f"it belongs to uid {OTHER}"
    place.chmod(0o755)
    assert found(place, own=False, entry=place / "s") is None


def test_the_error_says_what_to_do_and_never_to_give_the_directory_away(place):
    os.chown(place, OTHER, OTHER)
    fd = os.open(place, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(WriteError) as caught:
        refuse_foreign_writers(fd, place, "state_dir")
    os.close(fd)
    assert "remove it" in str(caught.value)
    assert "chown" not in str(caught.value)
