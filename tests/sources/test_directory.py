"""A directory of files as a source: what is read, and what an attacker who may write there does not reach."""

import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest

from lessee.core.failures import Kind
from lessee.sources.directory import MAX_FILES, DirectoryReader
from lessee.sources.files import MAX_FILE_SIZE, SETTLING_TIME
from lessee.sources.reader import ReadError


@pytest.fixture
def folder(tmp_path):
    directory = tmp_path / "source"
    (directory / "db").mkdir(parents=True)
    return directory


@pytest.fixture
def reader(folder):
    return DirectoryReader(str(folder))


def write(path, content):
    """Write a file that has not changed for a while."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    time.sleep(SETTLING_TIME)


def failure(reader, path="db"):
    with pytest.raises(ReadError) as caught:
        reader.read(path)
    return caught.value.failure


def test_a_file_has_one_key_and_a_directory_one_for_each_file(folder, reader):
    (folder / "db/.hidden").write_text("no")
    (folder / "db/below").mkdir()
    (folder / "db/password").write_text("p w\n")
    (folder / "db/key.pem").write_text("a\nb\n")
    write(folder / "token", "x")
    assert reader.read("token") == {"value": "x"}
    assert reader.read("db") == {"password": "p w", "key.pem": "a\nb\n"}
    assert reader.names("") == ["db", "token"]
    assert reader.names("db/") == ["below", "key.pem", "password"]
    assert reader.names("none/") == reader.names("token/") == []


def test_a_secret_of_kubernetes_is_read_as_one_generation(folder, reader):
    for number in "12":
        (folder / f"db/..{number}").mkdir()
        for name in ("user", "password"):
            (folder / f"db/..{number}/{name}").write_text(number)
    (folder / "db/..data").symlink_to("..1")
    for name in ("user", "password"):
        (folder / f"db/{name}").symlink_to(f"..data/{name}")
    time.sleep(SETTLING_TIME)
    seen, ends = set(), threading.Event()

    def swap():
        number = 0
        while not ends.is_set():
            (folder / "db/..tmp").symlink_to(f"..{number % 2 + 1}")
            (folder / "db/..tmp").rename(folder / "db/..data")
            number += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        reads, ends_at = 0, time.monotonic() + 60
        while (reads < 100 or len(seen) < 2) and time.monotonic() < ends_at:
            seen.add(tuple(sorted(reader.read("db").items())))
            reads += 1
    finally:
        ends.set()
        swapper.join()
    assert seen <= {(("password", number), ("user", number)) for number in "12"}
    assert len(seen) == 2


@pytest.mark.parametrize("link", ["/etc/passwd", "../../outside", "../../source-2/password", "/proc/self/environ"])
def test_no_link_leads_out_of_the_directory(folder, reader, tmp_path, link):
    (tmp_path / "outside").write_text("canary")
    (tmp_path / "source-2").mkdir()
    (tmp_path / "source-2/password").write_text("canary")
    (folder / "db/password").symlink_to(link)
    assert failure(reader).text == "db/password is a link that leads out of the directory"
    (folder / "outside").symlink_to("..")
    assert failure(reader, "outside/outside").kind is Kind.INVALID
    (folder / "data").mkdir()
    (folder / "data/..data").symlink_to(tmp_path)
    assert reader.read("data") == {}


def test_dots_in_a_path_lead_nowhere(reader, tmp_path):
    (tmp_path / "outside").write_text("canary")
    for path in ("../outside", "db/../../outside", "/etc/passwd"):
        assert failure(reader, path).kind in {Kind.INVALID, Kind.NOT_FOUND}


def test_special_files_neither_block_nor_count_as_text(folder, reader):
    os.mkfifo(folder / "db/pipe")
    assert failure(reader).text == "db/pipe is a FIFO, and no regular file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "door"))
    assert failure(reader, "door").text == "door is a socket or a device, and no regular file"


def test_what_is_too_large_or_no_text_is_refused(folder, reader):
    write(folder / "large", b"x" * (MAX_FILE_SIZE + 1))
    assert failure(reader, "large").text == "large is larger than 1 MiB"
    write(folder / "binary", b"\xff\xfe")
    assert failure(reader, "binary").text == "binary is not UTF-8 text; store it as base64"
    for number in range(MAX_FILES + 1):
        (folder / f"db/{number}").touch()
    assert failure(reader).text == f"the directory has more than {MAX_FILES:,} files; distribute them"


def test_files_that_are_too_large_together_are_not_all_read(folder, reader):
    for number in range(100):
        with (folder / f"db/{number:03}").open("wb") as file:
            file.truncate(MAX_FILE_SIZE)
    time.sleep(SETTLING_TIME)
    tracemalloc.start()
    try:
        assert failure(reader).text == "the secret is too large: it has more than 8 MiB; split it into several"
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_names_that_are_no_text_are_refused(folder, reader):
    (folder / "db/a\nb").touch()
    assert failure(reader).text == "the name of a file is not printable text; rename it"


@pytest.mark.parametrize("name", ["", "db", "db/inner", "db/inner/password"])
def test_what_every_user_may_write_is_refused(folder, reader, name):
    (folder / "db/inner").mkdir()
    write(folder / "db/inner/password", "p")
    (folder / name).chmod(0o777)
    assert failure(reader, "db/inner").text.startswith("every user of this machine may write to ")


def test_a_file_in_a_directory_that_every_user_may_write_is_refused(folder, reader):
    write(folder / "db/password", "p")
    (folder / "db").chmod(0o777)
    assert failure(reader, "db/password").text == "every user of this machine may write to db; run chmod o-w"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_the_directory_of_a_secret_may_be_writable_on_a_file_system_that_is_not(folder):
    # As kubelet mounts it: mode 1777, and read-only in the container.
    read = "import sys; from lessee.sources.directory import DirectoryReader as R; print(R(sys.argv[1]).read('key'))"
    mount = 'mount -t tmpfs -o mode=1777 none "$1" && echo s3 > "$1/key" && sleep 0.1 && mount -o remount,ro "$1"'
    shell = ["sh", "-c", f'{mount} && exec "$2" -c "$3" "$1"', "sh", folder, sys.executable, read]
    done = subprocess.run(["unshare", "--mount", *shell], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("needs CAP_SYS_ADMIN")
    assert done.stdout == "{'value': 's3'}\n", done.stderr


def test_a_file_that_is_being_written_is_read_again(folder, reader, monkeypatch):
    write(folder / "db/password", "first")
    with monkeypatch.context() as patch:
        patch.setattr("lessee.sources.files.SETTLING_TIME", 1e9)
        patch.setattr("lessee.sources.directory.SETTLING_TIME", 0.0)
        found = failure(reader)
    text = "its files change while they are read; write each, then rename it"
    assert (found.kind, found.text) == (Kind.PATH_ERROR, text)
    assert reader.read("db") == {"password": "first"}


def test_a_directory_that_is_away_is_an_outage_and_a_missing_file_is_not(folder, reader):
    assert failure(reader, "none").kind is Kind.NOT_FOUND
    folder.rename(folder.with_name("elsewhere"))
    assert failure(reader).kind is Kind.UNAVAILABLE
    with pytest.raises(ReadError):
        reader.check()
