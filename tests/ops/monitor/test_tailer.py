"""The log of a real server, rotated in each way while it is read: every access once, and in its order."""

import gzip
import json
import os
import random
import shutil
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from lessee.core.errors import LesseeError
from lessee.ops.monitor.tailer import Follower
from support.programs.monitor import Audited


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Of a real log, a request and its answer each."""
    folder = tmp_path_factory.mktemp("openbao")
    with Audited(folder) as bao:
        bao.put("production/followed", password="canary-followed")
        bao.ask("GET", "secret/data/production/followed")
        bao.ask("GET", "secret/metadata/production/?list=true")
    found = [
        line for line in map(json.loads, bao.audit.read_text().splitlines()) if "remote_address" in line["request"]
    ]
    assert {line["type"] for line in found} == {"request", "response"}
    return found


@pytest.fixture
def log(tmp_path, lines):
    with ExitStack() as stack:
        yield Log(tmp_path / "audit.log", lines, stack)


class Log:
    """A file that a server writes, as it does: appending, to what it once opened."""

    def __init__(self, path, lines, stack):
        self.path, self.numbers, self.written, self.stack = path, count(), [], stack
        self._lines = lines
        self.at = datetime(2026, 11, 28, tzinfo=UTC)
        self.reopen()

    def reopen(self):
        self.file = self.stack.enter_context(self.path.open("ab", buffering=0))

    def line(self):
        number = next(self.numbers)
        self.at += timedelta(milliseconds=1)
        line = {**self._lines[number % len(self._lines)], "time": self.at.isoformat().replace("+00:00", "123Z")}
        line["request"] = {**line["request"], "id": str(number)}
        if line["type"] == "response":
            self.written.append(str(number))
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def write(self, lines=10):
        for _ in range(lines):
            self.file.write(self.line())

    # As logrotate has it.

    def rename(self, name=None, *, create=False):
        """`create`: the new file is there before the server is told."""
        self.path.rename(self.path.with_name(name) if name else self.shifted())
        if create:
            self.path.touch()

    def shifted(self):
        """Room for the file as `audit.log.1`."""
        for number in range(50, 0, -1):
            for end in ("", ".gz"):
                old = self.path.with_name(f"audit.log.{number}{end}")
                if old.exists():
                    old.rename(self.path.with_name(f"audit.log.{number + 1}{end}"))
        return self.path.with_name("audit.log.1")

    def copy_and_truncate(self, name=None):
        shutil.copyfile(self.path, self.path.with_name(name) if name else self.shifted())
        self.file.truncate(0)

    def pack(self, name="audit.log.1"):
        path = self.path.with_name(name)
        with gzip.open(f"{path}.gz", "wb") as packed:
            packed.write(path.read_bytes())
        path.unlink()


class Reader:
    def __init__(self, log, place=None, **settings):
        self.follower, self.place = Follower("it", log.path, place, **settings), place
        log.stack.callback(self.follower.close)
        self.ids, self.gaps, self.rubbish = [], 0, 0

    def read(self):
        while (piece := self.follower.read()) is not None:
            self.ids += [access.id for access in piece.accesses]
            self.place, self.gaps, self.rubbish = piece.place, self.gaps + piece.gaps, self.rubbish + piece.rubbish
        return self.ids

    def again(self, log):
        """Another process goes on where this one was; what was read stays known."""
        other = Reader(log, self.place)
        other.ids, other.gaps, other.rubbish = self.ids, self.gaps, self.rubbish
        self.follower.close()
        return other


def test_a_line_is_read_once_it_is_whole(log):
    reader = Reader(log)
    log.write(6)
    line = log.line()
    while b'"type":"response"' not in line:
        log.file.write(line)
        line = log.line()
    log.file.write(line[:100])
    assert reader.read() == log.written[:-1]
    reader = reader.again(log)
    log.file.write(line[100:])
    assert reader.read() == log.written


def test_what_is_written_to_a_renamed_file_is_read_before_the_new_one(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.rename(create=True)
    log.write()  # It has not heard of it yet.
    assert reader.read() == log.written
    log.write()
    log.reopen()
    log.write()
    assert reader.read() == log.written
    assert not reader.gaps


@pytest.mark.parametrize("name", [None, "audit.log-20261128", "audit-20261128.log", "audit.log.old"])
def test_a_file_that_was_renamed_while_nobody_read_is_read_to_its_end(log, name):
    reader = Reader(log)
    log.write()
    reader.read()
    log.write()
    log.rename(name)
    log.reopen()
    log.write()
    reader = reader.again(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_several_rotations_while_nobody_reads_lose_nothing_even_where_they_pack(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.write()
    for number in range(5):
        log.rename()
        log.reopen()
        log.write(4 + number)
        if number < 4:
            log.pack()
    reader = reader.again(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_files_that_were_rotated_away_before_the_first_start_are_no_concern(log):
    log.write()
    log.rename()
    log.reopen()
    before = len(log.written)
    log.write()
    assert Reader(log).read() == log.written[before:]


def test_a_first_start_may_begin_at_the_end(log):
    log.write()
    reader = Reader(log, from_end=True)
    assert reader.read() == []
    before = len(log.written)
    log.write()
    assert reader.read() == log.written[before:]


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("regrown", [2, 40])
def test_a_copied_and_truncated_file_loses_nothing(log, away, regrown):
    reader = Reader(log)
    log.write(12)
    reader.read()
    log.write()
    log.copy_and_truncate()
    log.write(regrown)
    if away:
        reader = reader.again(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_other_content_of_the_same_size_is_other_content(log):
    reader = Reader(log)
    log.write(20)
    reader.read()
    size = log.path.stat().st_size
    log.copy_and_truncate()
    log.write(10)
    log.file.write(b" " * (size - log.path.stat().st_size - 1) + b"\n")
    assert log.path.stat().st_size == size
    assert reader.read() == log.written
    assert (reader.gaps, reader.rubbish) == (0, 1)


def test_what_was_truncated_before_it_was_read_is_told_once(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.file.truncate(0)
    for _ in range(3):
        reader.read()
        reader = reader.again(log)
    log.write()
    assert reader.read() == log.written
    assert reader.gaps == 1


def test_what_was_rotated_away_and_removed_is_told_and_the_rest_is_read(log):
    reader = Reader(log)
    log.write()
    reader.read()
    kept = list(log.written)
    log.write()
    log.rename()
    log.reopen()
    log.path.with_name("audit.log.1").unlink()
    before = len(log.written)
    log.write()
    reader = reader.again(log)
    assert reader.read() == kept + log.written[before:]
    assert reader.gaps == 1


def test_a_clock_that_is_put_back_neither_loses_nor_doubles(log):
    reader = Reader(log)
    log.write()
    reader.read()
    for hours in (1, 2, -5, 1):
        log.at -= timedelta(hours=hours)
        log.rename()
        log.reopen()
        log.write()
        assert reader.read() == log.written
        reader = reader.again(log)
        log.write()
        assert reader.read() == log.written
    assert not reader.gaps


def test_a_packed_file_that_is_damaged_is_told_and_the_rest_is_read(log):
    reader = Reader(log)
    log.write()
    reader.read()
    kept = list(log.written)
    log.write(400)
    log.rename()
    log.reopen()
    before = len(log.written)
    log.write()
    log.pack()
    packed = log.path.with_name("audit.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-100])
    reader = reader.again(log)
    found = reader.read()
    assert found[: len(kept)] == kept
    assert found[-len(log.written[before:]) :] == log.written[before:]
    assert len(found) == len(set(found))
    assert reader.gaps == 1


def test_an_edited_file_is_told_and_read_on_at_its_end(log):
    reader = Reader(log)
    log.write(20)
    reader.read()
    kept = list(log.written)
    text = log.path.read_bytes().splitlines(keepends=True)
    log.path.with_name("new").write_bytes(b"".join(text[:5] + text[8:]))
    log.path.with_name("new").rename(log.path)
    log.reopen()
    reader.read()
    before = len(log.written)
    log.write()
    assert reader.read() == kept + log.written[before:]
    assert reader.gaps == 1


def test_rubbish_is_counted_and_stops_nothing(log):
    rubbish = [b"\n", b"{}\n", b"null\n", b"\x00\xff\n", b'{"time":1,"type":"response"}\n', b"[" * 5000 + b"\n"]
    log.file.write(b"rubbish before the first line\n")
    for line in rubbish:
        log.file.write(line)
        log.write(2)
    reader = Reader(log)
    assert reader.read() == log.written
    assert reader.rubbish == len(rubbish)  # An empty line is none.


def test_what_is_no_file_beside_the_log_holds_nobody_up(log):
    for name in ("audit.log.1", "audit.log.2.gz"):
        os.mkfifo(log.path.with_name(name))
    log.path.with_name("audit.log.3").mkdir()
    log.path.with_name("audit.log.4.gz").symlink_to("/dev/zero")
    log.write()
    assert Reader(log).read() == log.written


def test_a_line_of_twenty_megabytes_is_one(log):
    log.write(3)
    line = log.line()
    while b'"type":"response"' not in line:
        log.file.write(line)
        line = log.line()
    log.file.write(line[:-2] + b',"more":"' + b"x" * 20_000_000 + b'"}\n')
    log.write(3)
    reader = Reader(log)
    assert reader.read() == log.written
    assert not reader.rubbish


def test_a_line_without_an_end_is_left_out_and_what_follows_is_read(log):
    log.write(3)
    log.file.write(b"x" * 40_000_000)
    reader = Reader(log)
    reader.read()
    log.file.write(b"x\n")
    log.write(3)
    assert reader.read() == log.written
    assert reader.rubbish == 1


def test_a_file_that_is_no_audit_log_is_refused_with_a_way_out(log):
    log.file.write(b"<jsonx>\n</jsonx>\n")
    with pytest.raises(LesseeError, match="no audit log in JSON; let the device write `format=json`"):
        Reader(log).read()


def test_a_file_that_is_not_there_is_waited_for(tmp_path, log):
    log.path.rename(tmp_path / "elsewhere")
    reader = Reader(log)
    with pytest.raises(LesseeError, match="No such file"):
        reader.read()
    log.reopen()
    log.write()
    assert reader.read() == log.written


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_in_whatever_order_each_access_is_read_once(log, seed):
    draw = random.Random(seed)  # noqa: S311  # No secret comes of it.
    reader = Reader(log)
    reader.read()  # What is rotated away before is no concern.
    rotations = 0
    for _ in range(250):
        match draw.choice(("write", "write", "read", "read", "kill", "rotate")):
            case "write":
                log.write(draw.randrange(1, 12))
            case "read" if (piece := reader.follower.read()) is not None:
                reader.ids += [access.id for access in piece.accesses]
                reader.place, reader.gaps = piece.place, reader.gaps + piece.gaps
            case "kill":
                reader = reader.again(log)
            case "rotate" if log.path.stat().st_size:
                rotations += 1
                if draw.random() < 0.5:
                    log.rename(create=draw.random() < 0.5)
                    log.write(draw.randrange(3))
                    if draw.random() < 0.5:
                        reader.read()
                    log.reopen()
                else:
                    log.copy_and_truncate()
                if draw.random() < 0.5:
                    log.pack()
    assert reader.read() == log.written
    assert not reader.gaps
    assert rotations > 10
