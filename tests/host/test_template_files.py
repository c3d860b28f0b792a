"""A template is a regular file beneath its folder, with openat2(2) and without it."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.host import template_files
from lessee.host.template_files import MAX_SIZE, NoTemplateError, OutsideError, content_of, open_beneath


@pytest.fixture(params=["openat2", "elements"])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setattr(template_files, "has_openat2", lambda: request.param == "openat2")
    inside = tmp_path / "inside"
    (inside / "sub/deep").mkdir(parents=True)
    (inside / "real").write_text("inside")
    (inside / "sub/deep/real").write_text("deep")
    (tmp_path / "secret").write_text("outside")
    return inside


def read(folder, name):
    file = open_beneath(str(folder), name)
    try:
        return content_of(file).decode()
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a", "real"),
        ("a", "./real"),
        ("a", "sub/../real"),
        ("a", "sub//deep/../../real"),
        ("sub/a", "../real"),
        ("sub/deep/a", "../../real"),
        ("a", "b"),
    ],
)
def test_a_link_that_stays_inside_is_followed(folder, link, target):
    (folder / "b").symlink_to("sub/deep/c")
    (folder / "sub/deep/c").symlink_to("../../real")
    (folder / link).symlink_to(target)
    assert read(folder, link) == "inside"


def test_the_links_of_a_config_map_are_followed(folder):
    (folder / "..2026_1").mkdir()
    (folder / "..2026_1/app.j2").write_text("first")
    (folder / "..data").symlink_to("..2026_1")
    (folder / "app.j2").symlink_to("..data/app.j2")
    assert read(folder, "app.j2") == "first"
    assert read(folder, "..data/app.j2") == "first"


@pytest.mark.parametrize(
    ("link", "target", "name"),
    [
        ("a", "../secret", "a"),
        ("a", "sub/../../secret", "a"),
        ("a", "{folder}/../secret", "a"),
        ("a", "{folder}/real", "a"),
        ("a", "..", "a/secret"),
        ("a", "/proc/self/root", "a/etc/passwd"),
        ("a", "/proc/self/environ", "a"),
        ("sub/a", "../../secret", "sub/a"),
        ("sub/a", "../..", "sub/a/inside/real"),
        ("a", "sub/b", "a"),
    ],
)
def test_nothing_outside_is_opened(folder, link, target, name):
    (folder / "sub/b").symlink_to("../../secret")
    (folder / link).symlink_to(target.format(folder=folder))
    with pytest.raises(OutsideError):
        read(folder, name)


@pytest.mark.parametrize("name", ["../secret", "sub/../../secret"])
def test_the_name_itself_leads_nowhere_else(folder, name):
    with pytest.raises(OutsideError):
        read(folder, name)


def test_a_loop_of_links_is_an_error(folder):
    (folder / "loop").symlink_to("sub/loop")
    (folder / "sub/loop").symlink_to("../loop")
    with pytest.raises(OSError, match="Too many levels"):
        read(folder, "loop")


@pytest.mark.parametrize("name", ["missing", "sub/missing", "real/missing", "sub/deep/real/x"])
def test_what_is_missing_is_an_error_of_the_usual_kind(folder, name):
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        read(folder, name)


@pytest.mark.parametrize("name", ["sub", "sub/deep", "link", "up"])
def test_a_folder_is_no_template(folder, name):
    (folder / "link").symlink_to("sub")
    (folder / "up").symlink_to("sub/deep/..")
    with pytest.raises(IsADirectoryError):
        read(folder, name)


@pytest.mark.parametrize("name", ["odd", "sub/link"])
def test_only_a_regular_file_is_opened_and_nothing_waits(folder, name):
    (folder / "sub/link").symlink_to("../odd")
    os.mkfifo(folder / "odd")
    with pytest.raises(NoTemplateError, match="a FIFO, and no regular file"):
        read(folder, name)
    (folder / "odd").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "odd"))
        with pytest.raises(NoTemplateError, match="a socket or a device, and no regular file"):
            read(folder, name)


def test_a_huge_file_is_read_no_further_than_the_limit(folder):
    (folder / "huge").touch()
    os.truncate(folder / "huge", MAX_SIZE)
    assert len(read(folder, "huge")) == MAX_SIZE
    os.truncate(folder / "huge", 1 << 40)
    with pytest.raises(NoTemplateError, match="larger than 4 MiB"):
        read(folder, "huge")


def test_no_descriptor_stays_open(folder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    (folder / "out").symlink_to("../secret")
    for name in ("real", "sub/deep/real", "out", "sub/missing", "sub"):
        with suppress(OSError):
            read(folder, name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_kernel_without_openat2_is_asked_once(folder, monkeypatch):
    monkeypatch.setattr(template_files, "_SYS_OPENAT2", 100_000)
    monkeypatch.setattr(template_files, "has_openat2", lambda: not template_files._refused)
    monkeypatch.setattr(template_files, "_refused", set())
    assert read(folder, "sub/deep/real") == "deep"
    assert template_files._refused
    assert read(folder, "sub/deep/real") == "deep"
