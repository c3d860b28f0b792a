"""A journal that the rotator of 0.1.0 wrote is read; the code of 0.1.0 writes it here."""

import json

import pytest

from lessee.ops.rotate.policy.journal import HistoryEntry, Journal, NewerFormatError, Step, parse, serialize
from support.released import run

WRITES = """
import json
from lessee.core.rotation.journal import Journal, Past, Step, written
for step in Step:
    journal = Journal(step=step, id="r1", fence=4, holder="rotator-1", held_until=20.0, started_at=10.0,
                      announced=False, current={"password": "old"}, pending={"password": "new"},
                      handle="h1", pending_handle="h2",
                      before=("k1", "k2"), published_version=7, published_at=11.0, confirmed_at=12.0, keep_until=30.0,
                      count=3, rotated_at=11.0, failures=2, error="why", failed_at=9.0, missing=("web/1",),
                      propagations=(1.5, 2.5), history=(Past("r0", 5.0, 6),))
    print(json.dumps(written(journal)))
"""
READS = """
import json, sys
from lessee.core.rotation.journal import read
try:
    read(json.loads(sys.argv[1]))
except ValueError as exc:
    print(exc)
"""


def journal(step):
    return Journal(
        step=step,
        id="r1",
        fence=4,
        lock_owner="rotator-1",
        locked_until=20.0,
        started_at=10.0,
        consumers_known=False,
        current={"password": "old"},
        pending={"password": "new"},
        handle="h1",
        pending_handle="h2",
        existing=("k1", "k2"),
        published_version=7,
        published_at=11.0,
        confirmed_at=12.0,
        delete_at=30.0,
        count=3,
        rotated_at=11.0,
        failures=2,
        error="why",
        failed_at=9.0,
        missing=("web/1",),
        propagation_times=(1.5, 2.5),
        history=(HistoryEntry("r0", 5.0, 6),),
    )


def test_a_journal_of_0_1_0_is_read_at_each_step():
    written = [json.loads(line) for line in run("0.1.0", WRITES).splitlines()]
    assert [parse(fields) for fields in written] == [journal(step) for step in Step]


def test_0_1_0_refuses_a_journal_of_this_version():
    said = run("0.1.0", READS, json.dumps(serialize(journal(Step.PUBLISHED))))
    assert said == "it is no journal of lessee's\n"


@pytest.mark.parametrize("number", [3, 3.0])
def test_a_journal_of_a_newer_format_is_named_as_such(number):
    fields = serialize(journal(Step.IDLE)) | {"format": number}
    with pytest.raises(NewerFormatError, match="in format 3; this one reads 2"):
        parse(fields)


@pytest.mark.parametrize("number", [0, "2", None, 1.5])
def test_a_journal_of_no_format_is_none(number):
    with pytest.raises(ValueError, match="not a rotation journal"):
        parse(serialize(journal(Step.IDLE)) | {"format": number})
