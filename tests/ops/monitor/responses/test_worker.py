"""The responses of a configuration and of its successor share one log, and so one budget."""

import json

import pytest

from lessee.host.clock import boot_time
from lessee.ops.monitor.policy.response_log import MAX_RECORDS, Record, encode
from lessee.ops.monitor.responses.journal import FILE, ResponseJournal
from lessee.ops.monitor.responses.worker import ResponseWorker
from lessee.ops.monitor.wiring import load
from lessee.vault.service_logins import ServiceLogins

OLD = Record(1.0, "r1", "counted", "one", "command", "r", "s", 1.0)


@pytest.fixture
def worker(tmp_path):
    def make():
        file = tmp_path / "lessee.yaml"
        action = {"rule": "policy-changed", "action": "command", "command": ["true"]}
        block = {"audit": {"file": str(tmp_path / "audit.log")}, "responses": {"protected": [], "actions": [action]}}
        file.write_text(json.dumps({"monitor": block | {"state_dir": str(tmp_path)}}))
        active = load(file, {})
        made.append(ResponseWorker(active, active.monitor.responses, {}, ServiceLogins(boot_time)))
        return made[-1]

    (tmp_path / "audit.log").touch()
    made = []
    yield make
    for one in made:
        one.close(60.0)


def test_a_successor_leaves_the_log_in_its_place_while_its_predecessor_may_still_act(worker, tmp_path):
    """Otherwise what the predecessor still counts would be in a file that no process reads, and be done once more."""
    file = tmp_path / FILE
    file.write_bytes(encode(OLD) * (MAX_RECORDS + 1))
    first = worker()
    assert file.read_bytes().count(b"\n") == MAX_RECORDS
    journal = ResponseJournal(tmp_path)
    journal.add(OLD)
    before = file.stat().st_ino
    second = worker()
    assert file.stat().st_ino == before
    for one in (first, second):
        one.close(60.0)
    worker()
    assert file.stat().st_ino != before
    journal.close()
