"""How soon new credentials work after an operator has revoked the agent's token."""

import time
from collections.abc import Callable, Iterator
from random import SystemRandom

from database import credentials, database, format_seconds, is_fresh, peer_template, seconds_until, template
from rig import Figure, Program, Rig, peer_templates, report, templates

from support.servers.postgres import Postgres

TIMES = 5
CAP = 60.0
"""Seconds after which nobody waits any longer: then it was in vain, once and for all."""
PAUSE = (11.0, 13.0)
"""Seconds from new credentials to the next revocation. Within 10 s of a look-up of the token there is no other one."""
CASES = (
    ("beside a KV secret, refresh 1 s", {"one.env": "revoked/one"}, 3.0),
    ("of an app that reads nothing else", {}, 10.0),
)
"""What the app reads beside its lease, and seconds to be reached."""
_CHANCE = SystemRandom()


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.attach(bench.bao)
        bench.write("revoked/one", "x")
        for name, files, longest in CASES:
            peer = bench.peer_for({"db.txt": peer_template("simba"), **peer_templates(files)})
            lessee = bench.lessee_for({"files": ({"db.txt": template("simba"), **templates(files)}, None)})
            theirs = _revoke_often(bench, postgres, peer, lambda: True)
            ours = _revoke_often(bench, postgres, lessee, lambda program=lessee: is_fresh(program))
            yield Figure(
                f"token revoked → new credentials work, {name}, longest of {TIMES}",
                format_seconds(theirs, CAP),
                format_seconds(ours, CAP),
                f"≤ {longest:.0f} s",
                ours is not None and ours <= longest,
            )


def _revoke_often(bench: Rig, postgres: Postgres, program: Program, fresh: Callable[[], bool]) -> float | None:
    """The longest time; None where once it did not come."""
    took = []
    with program:
        program.wait_for_files()
        for _ in range(TIMES):
            time.sleep(_CHANCE.uniform(*PAUSE))
            took.append(_revoke(bench, postgres, program, fresh))
            if took[-1] is None:
                break
    report(f"{program.folder.name}: {[format_seconds(seconds, CAP) for seconds in took]}")
    return None if None in took else max(took)


def _revoke(bench: Rig, postgres: Postgres, program: Program, fresh: Callable[[], bool]) -> float | None:
    file = program.directory / "db.txt"
    before = credentials(file)
    _revoke_tokens(bench)
    revoked_at = time.monotonic()

    def new_ones_work() -> bool:
        now = credentials(file)
        return bool(now) and now != before and postgres.can_log_in(*now) and fresh()

    return seconds_until(new_ones_work, revoked_at, CAP)


def _revoke_tokens(bench: Rig) -> None:
    """Revoke all but the operator's own."""
    own = bench.bao.ask("GET", "auth/token/lookup-self")["data"]["accessor"]
    for accessor in bench.bao.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        if accessor != own:
            bench.bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
