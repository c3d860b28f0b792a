"""How many users a database gets while the path of another template is forbidden."""

import time
from collections.abc import Iterator

from database import database, made, peer_template, template
from rig import Figure, peer_templates, templates

WINDOW = 120.0
RETRIES = 1
"""Of the peer. Its default of 12 only makes each round longer: after it, all is rendered anew."""
_FORBIDDEN = {"denied.env": "forbidden"}


def measure() -> Iterator[Figure]:
    """Both at the same time, with a role each: the machine's load changes no count."""
    with database() as (bench, postgres):
        for role in ("ours", "theirs"):
            postgres.attach(bench.bao, role=role)
        bench.write("forbidden", "x")
        peer = bench.peer_for({"db.txt": peer_template("theirs"), **peer_templates(_FORBIDDEN)}, retries=RETRIES)
        lessee = bench.lessee_for({"files": ({"db.txt": template("ours"), **templates(_FORBIDDEN)}, None)})
        with peer, lessee:
            time.sleep(WINDOW)
            ours, theirs = made(bench, "ours"), made(bench, "theirs")
    name = f"users made in {WINDOW:.0f} s beside a forbidden path (the peer: num_retries = {RETRIES})"
    yield Figure(name, str(theirs), str(ours), "1", ours == 1)
