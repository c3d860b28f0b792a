"""A response is on disk before it runs, and no kill, full disk or other process lets more than the budget run."""

import errno
import os
import threading

import pytest

from lessee.core.errors import LesseeError, WriteError
from lessee.ops.monitor.policy.response_log import HOUR, MAX_RECORDS, Record, encode
from lessee.ops.monitor.responses.journal import FILE, ResponseJournal

NOW = 1_700_049_600.0


def record(event="counted", at=NOW, **fields):
    defaults = {"id": "r1", "response": "one", "action": "command", "rule": "r", "subject": "s", "alert_at": NOW}
    return Record(at=at, event=event, **(defaults | fields))


@pytest.fixture
def journal(tmp_path):
    one = ResponseJournal(tmp_path)
    yield one
    one.close()


def again(journal):
    other = ResponseJournal(journal.path.parent)
    other.close()
    return other.records


def test_what_was_counted_is_there_after_a_restart(journal):
    assert journal.count(record(), 1)
    assert again(journal) == [record()]
    assert not journal.count(record(id="r2"), 1)
    assert journal.count(record(id="r2", at=NOW + HOUR), 1)


def test_two_processes_share_one_budget(journal):
    results = []

    def count():
        other = ResponseJournal(journal.path.parent)
        results.extend(other.count(record(id=f"{threading.get_ident()}-{number}"), 5) for number in range(20))
        other.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 5
    journal.refresh()
    assert len(journal.records) == 5


@pytest.mark.parametrize("cut", range(1, len(encode(record()))))
def test_a_record_that_a_kill_tore_apart_did_not_happen(tmp_path, cut):
    whole = encode(record())
    (tmp_path / FILE).write_bytes(whole + whole[:cut])
    journal = ResponseJournal(tmp_path)
    journal.add(record("done"))
    assert again(journal) == [record(), record("done")]
    journal.close()


def test_without_space_nothing_is_counted_and_the_file_stays_whole(journal, monkeypatch):
    journal.add(record("done"))
    write = os.write

    def half(fd, content):
        if fd != journal._fd:
            return write(fd, content)
        write(fd, content[:10])
        return 10

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(WriteError, match="cannot record the response: no space is left"):
        journal.count(record(), 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        journal.count(record(), 1)
    monkeypatch.undo()
    assert again(journal) == journal.records == [record("done")]
    assert journal.count(record(), 1)


@pytest.mark.parametrize("content", [b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_log_that_is_not_whole_lets_nothing_run(tmp_path, content):
    (tmp_path / FILE).write_bytes(encode(record()) + content)
    with pytest.raises(LesseeError, match=r"responses.jsonl:2: this is no record of a response; no response runs"):
        ResponseJournal(tmp_path)


def test_a_log_that_became_shorter_lets_nothing_run(journal):
    assert journal.count(record(), 1)
    os.truncate(journal.path, 0)
    with pytest.raises(LesseeError, match="another program changed it"):
        journal.refresh()
    with pytest.raises(LesseeError, match="another program changed it"):
        journal.count(record(id="r2"), 1)


def test_undo_follows_no_link_and_opens_no_pipe_that_the_monitors_user_made(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("")
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / FILE
    path.symlink_to(victim)
    with pytest.raises(LesseeError, match="not readable"):
        ResponseJournal(folder, create=False)
    path.unlink()
    path.hardlink_to(victim)
    with pytest.raises(LesseeError, match="it is not a regular file of its own"):
        ResponseJournal(folder, create=False)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LesseeError, match="it is not a regular file of its own"):
        ResponseJournal(folder, create=False)
    path.unlink()
    with pytest.raises(LesseeError, match="there is no log of responses"):
        ResponseJournal(folder, create=False)
    assert victim.read_text() == ""


def test_an_old_log_is_shortened_without_what_uses_the_budget(tmp_path):
    old = [record("done", NOW - 2 * HOUR, id=f"{number}") for number in range(MAX_RECORDS)]
    (tmp_path / FILE).write_bytes(b"".join(map(encode, [record(), *old, record("done")])))
    journal = ResponseJournal(tmp_path)
    journal.shorten(NOW)
    assert journal.records == again(journal) == [record(), *old[1:], record("done")]
    assert not journal.count(record(id="r2"), 1)
    journal.shorten(NOW)
    journal.close()


def test_what_another_process_left_in_the_middle_of_a_line_spoils_no_later_record(tmp_path):
    journal, other = ResponseJournal(tmp_path), ResponseJournal(tmp_path, create=False)
    journal.add(record(id="r1"))
    other.refresh()
    with journal.path.open("ab") as file:
        file.write(b'{"at": 1.0, "id": "r')
    journal.refresh()
    journal.add(record(id="r2"))
    other.refresh()
    for one in (journal, other, ResponseJournal(tmp_path)):
        assert [found.id for found in one.records] == ["r1", "r2"]
        one.close()
