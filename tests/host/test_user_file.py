"""Files below a folder are written through no symbolic link, and with the modes that were asked for."""

import os
import stat

import pytest

from lessee.core.errors import WriteError
from lessee.host.user_file import open_beneath, open_user_file, symbolic_links, write_beneath


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folders_and_files_have_their_modes_whatever_the_umask_is(tmp_path):
    before = os.umask(0o077)
    try:
        write_beneath(tmp_path, "a/b/c", b"x", mode=0o644, folder_mode=0o755)
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o644]
    (tmp_path / "a/b/c").chmod(0o640)
    write_beneath(tmp_path, "a/b/c", b"y", mode=0o644)
    assert (mode(tmp_path / "a/b/c"), (tmp_path / "a/b/c").read_bytes()) == (0o640, b"y")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", "a/./x", "", "..", "a/"])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(WriteError, match="leads out of the folder"):
        write_beneath(tmp_path / "..", name, b"x")


@pytest.mark.parametrize("link", ["a", "a/b", "a/b/c"])
def test_a_link_is_not_followed(tmp_path, link):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside)
    with pytest.raises(WriteError, match=f"{folder / link}: (a symbolic link|not a regular file)"):
        write_beneath(folder, "a/b/c", b"x")
    assert list(outside.iterdir()) == []
    assert list(symbolic_links(folder)) == [folder / link]


def test_without_the_folder_there_is_nothing_to_open(tmp_path):
    with open_beneath(tmp_path, "a/b") as found:
        assert found is None
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_copy_is_in_the_folder_for_it(tmp_path, monkeypatch):
    file, staging = tmp_path / ".env", tmp_path / "staging"
    file.write_bytes(b"before")
    staging.mkdir()
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(sorted(str(path) for path in tmp_path.rglob("*"))))
    with open_user_file(file, "lessee") as found:
        found.replace(b"after", staging)
    assert seen[0] == [str(file), str(staging), str(staging / "..env.lessee")]
    assert (file.read_bytes(), list(staging.iterdir())) == (b"after", [])
