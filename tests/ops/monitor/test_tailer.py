"""A real server's log, rotated in each way while it is read: every access is read once, in order."""

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
from lessee.ops.monitor.tailer import Tailer
from support.programs.monitor import Audited


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The lines of a real log: requests and their responses."""
    folder = tmp_path_factory.mktemp("openbao")
    with Audited(folder) as bao:
        bao.put("production/followed", password="canary-followed")
        bao.ask("GET", "secret/data/production/followed")
        bao.ask("GET", "secret/metadata/production/?list=true")
    entries = [
        line for line in map(json.loads, bao.audit.read_text().splitlines()) if "remote_address" in line["request"]
    ]
    assert {line["type"] for line in entries} == {"request", "response"}
    return entries


@pytest.fixture
def log(tmp_path, lines):
    with ExitStack() as stack:
        yield Log(tmp_path / "audit.log", lines, stack)


class Log:
    """A log file. Like a server, it appends to the file that it has opened."""

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

    # The ways of logrotate.

    def rename(self, name=None, *, create=False):
        """`create`: the new file exists before the server reopens its log."""
        self.path.rename(self.path.with_name(name) if name else self.shifted())
        if create:
            self.path.touch()

    def shifted(self):
        """Shift the numbered files, and return the free name `audit.log.1`."""
        for number in range(50, 0, -1):
            for end in ("", ".gz"):
                old = self.path.with_name(f"audit.log.{number}{end}")
                if old.exists():
                    old.rename(self.path.with_name(f"audit.log.{number + 1}{end}"))
        return self.path.with_name("audit.log.1")

    def copy_and_truncate(self, name=None):
        shutil.copyfile(self.path, self.path.with_name(name) if name else self.shifted())
        self.file.truncate(0)

    def compress(self, name="audit.log.1"):
        path = self.path.with_name(name)
        with gzip.open(f"{path}.gz", "wb") as compressed:
            compressed.write(path.read_bytes())
        path.unlink()


class Reader:
    def __init__(self, log, position=None, **settings):
        self.tailer, self.position = Tailer("it", log.path, position, **settings), position
        log.stack.callback(self.tailer.close)
        self.ids, self.gaps, self.invalid_lines = [], 0, 0

    def read(self):
        while (batch := self.tailer.read()) is not None:
            self.ids += [access.id for access in batch.accesses]
            self.position, self.gaps, self.invalid_lines = (
                batch.position,
                self.gaps + batch.gaps,
                self.invalid_lines + batch.invalid_lines,
            )
        return self.ids

    def restarted(self, log):
        """Another process continues at this position."""
        other = Reader(log, self.position)
        other.ids, other.gaps, other.invalid_lines = self.ids, self.gaps, self.invalid_lines
        self.tailer.close()
        return other


def test_a_line_is_read_when_it_is_complete(log):
    reader = Reader(log)
    log.write(6)
    line = log.line()
    while b'"type":"response"' not in line:
        log.file.write(line)
        line = log.line()
    log.file.write(line[:100])
    assert reader.read() == log.written[:-1]
    reader = reader.restarted(log)
    log.file.write(line[100:])
    assert reader.read() == log.written


def test_lines_written_to_a_renamed_file_are_read_before_the_new_file(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.rename(create=True)
    log.write()  # Before the server reopens its log.
    assert reader.read() == log.written
    log.write()
    log.reopen()
    log.write()
    assert reader.read() == log.written
    assert not reader.gaps


@pytest.mark.parametrize("name", [None, "audit.log-20261128", "audit-20261128.log", "audit.log.old"])
def test_a_file_that_was_renamed_during_downtime_is_read_to_its_end(log, name):
    reader = Reader(log)
    log.write()
    reader.read()
    log.write()
    log.rename(name)
    log.reopen()
    log.write()
    reader = reader.restarted(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_several_rotations_during_downtime_lose_nothing_even_with_compression(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.write()
    for number in range(5):
        log.rename()
        log.reopen()
        log.write(4 + number)
        if number < 4:
            log.compress()
    reader = reader.restarted(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_files_rotated_before_the_first_start_are_not_read(log):
    log.write()
    log.rename()
    log.reopen()
    before = len(log.written)
    log.write()
    assert Reader(log).read() == log.written[before:]


def test_a_first_start_can_begin_at_the_end(log):
    log.write()
    reader = Reader(log, from_end=True)
    assert reader.read() == []
    before = len(log.written)
    log.write()
    assert reader.read() == log.written[before:]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("regrown", [2, 40])
def test_copying_and_truncating_loses_nothing(log, restarted, regrown):
    reader = Reader(log)
    log.write(12)
    reader.read()
    log.write()
    log.copy_and_truncate()
    log.write(regrown)
    if restarted:
        reader = reader.restarted(log)
    assert reader.read() == log.written
    assert not reader.gaps


def test_new_content_of_the_same_size_is_recognized(log):
    reader = Reader(log)
    log.write(20)
    reader.read()
    size = log.path.stat().st_size
    log.copy_and_truncate()
    log.write(10)
    log.file.write(b" " * (size - log.path.stat().st_size - 1) + b"\n")
    assert log.path.stat().st_size == size
    assert reader.read() == log.written
    assert (reader.gaps, reader.invalid_lines) == (0, 1)


def test_truncated_unread_entries_are_one_gap(log):
    reader = Reader(log)
    log.write()
    reader.read()
    log.file.truncate(0)
    for _ in range(3):
        reader.read()
        reader = reader.restarted(log)
    log.write()
    assert reader.read() == log.written
    assert reader.gaps == 1


def test_a_removed_unread_file_is_a_gap_and_the_rest_is_read(log):
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
    reader = reader.restarted(log)
    assert reader.read() == kept + log.written[before:]
    assert reader.gaps == 1


def test_a_clock_set_back_neither_loses_nor_duplicates_entries(log):
    reader = Reader(log)
    log.write()
    reader.read()
    for hours in (1, 2, -5, 1):
        log.at -= timedelta(hours=hours)
        log.rename()
        log.reopen()
        log.write()
        assert reader.read() == log.written
        reader = reader.restarted(log)
        log.write()
        assert reader.read() == log.written
    assert not reader.gaps


def test_a_damaged_compressed_file_is_a_gap_and_the_rest_is_read(log):
    reader = Reader(log)
    log.write()
    reader.read()
    kept = list(log.written)
    log.write(400)
    log.rename()
    log.reopen()
    before = len(log.written)
    log.write()
    log.compress()
    compressed = log.path.with_name("audit.log.1.gz")
    compressed.write_bytes(compressed.read_bytes()[:-100])
    reader = reader.restarted(log)
    found = reader.read()
    assert found[: len(kept)] == kept
    assert found[-len(log.written[before:]) :] == log.written[before:]
    assert len(found) == len(set(found))
    assert reader.gaps == 1


def test_an_edited_file_is_a_gap_and_reading_continues_at_its_end(log):
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


def test_invalid_lines_are_counted_and_stop_nothing(log):
    invalid = [b"\n", b"{}\n", b"null\n", b"\x00\xff\n", b'{"time":1,"type":"response"}\n', b"[" * 5000 + b"\n"]
    log.file.write(b"rubbish before the first line\n")
    for line in invalid:
        log.file.write(line)
        log.write(2)
    reader = Reader(log)
    assert reader.read() == log.written
    assert reader.invalid_lines == len(invalid)  # An empty line is not counted, the first text is.


def test_a_fifo_or_directory_next_to_the_log_does_not_block(log):
    for name in ("audit.log.1", "audit.log.2.gz"):
        os.mkfifo(log.path.with_name(name))
    log.path.with_name("audit.log.3").mkdir()
    log.path.with_name("audit.log.4.gz").symlink_to("/dev/zero")
    log.write()
    assert Reader(log).read() == log.written


def test_a_line_of_twenty_megabytes_is_read(log):
    log.write(3)
    line = log.line()
    while b'"type":"response"' not in line:
        log.file.write(line)
        line = log.line()
    log.file.write(line[:-2] + b',"more":"' + b"x" * 20_000_000 + b'"}\n')
    log.write(3)
    reader = Reader(log)
    assert reader.read() == log.written
    assert not reader.invalid_lines


def test_a_line_beyond_the_limit_is_skipped_and_the_next_ones_are_read(log):
    log.write(3)
    log.file.write(b"x" * 40_000_000)
    reader = Reader(log)
    reader.read()
    log.file.write(b"x\n")
    log.write(3)
    assert reader.read() == log.written
    assert reader.invalid_lines == 1


def test_a_file_that_is_not_an_audit_log_is_an_error_with_a_remedy(log):
    log.file.write(b"<jsonx>\n</jsonx>\n")
    with pytest.raises(LesseeError, match="not an audit log in JSON; enable the audit device with `format=json`"):
        Reader(log).read()


def test_a_missing_file_is_an_error_until_it_exists(tmp_path, log):
    log.path.rename(tmp_path / "elsewhere")
    reader = Reader(log)
    with pytest.raises(LesseeError, match="No such file"):
        reader.read()
    log.reopen()
    log.write()
    assert reader.read() == log.written


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_rotations_and_restarts_reads_each_access_once(log, seed):
    draw = random.Random(seed)  # noqa: S311  # It generates no secret.
    reader = Reader(log)
    reader.read()  # Files rotated before are not read.
    rotations = 0
    for _ in range(250):
        match draw.choice(("write", "write", "read", "read", "kill", "rotate")):
            case "write":
                log.write(draw.randrange(1, 12))
            case "read" if (batch := reader.tailer.read()) is not None:
                reader.ids += [access.id for access in batch.accesses]
                reader.position, reader.gaps = batch.position, reader.gaps + batch.gaps
            case "kill":
                reader = reader.restarted(log)
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
                    log.compress()
    assert reader.read() == log.written
    assert not reader.gaps
    assert rotations > 10
