"""Counts the database users that are created while the path of another template is denied."""

import time
from collections.abc import Iterator

from database import count_issued_users, database, peer_template, template
from figures import Figure
from rig import peer_templates, templates

WINDOW = 120.0
RETRIES = 1
"""The peer's `num_retries`. Its default of 12 only makes each round longer: then it renders everything again."""
_DENIED = {"denied.env": "denied"}
_NOTE = "With the peer's default of 12 retries each round only takes longer."


def measure() -> Iterator[Figure]:
    """Measure both at the same time, each with its own role; load on the machine does not change the counts."""
    with database() as (bench, postgres):
        for role in ("ours", "theirs"):
            postgres.attach(bench.bao, role=role)
        bench.write("denied", "x")
        peer = bench.peer_for({"db.txt": peer_template("theirs"), **peer_templates(_DENIED)}, retries=RETRIES)
        lessee = bench.lessee_for({"files": ({"db.txt": template("ours"), **templates(_DENIED)}, None)})
        with peer, lessee:
            time.sleep(WINDOW)
            ours, theirs = count_issued_users(bench, "ours"), count_issued_users(bench, "theirs")
    name = f"users created in {WINDOW:.0f} s while another path is denied (the peer: num_retries = {RETRIES})"
    yield Figure(name, str(theirs), str(ours), "1", ours == 1, _NOTE)
