"""Measures how soon new credentials work after an operator has revoked the agent's token."""

import time
from collections.abc import Callable, Iterator
from random import SystemRandom

from database import credentials, database, format_seconds, is_fresh, peer_template, seconds_until, template
from figures import Figure
from rig import Program, Rig, peer_templates, report, templates

from support.servers.postgres import Postgres

TIMES = 5
CAP = 60.0
"""Seconds after which the benchmark stops waiting."""
PAUSE = (11.0, 13.0)
"""Seconds from new credentials to the next revocation. The agent looks up its token at most every 10 s."""
CASES = (
    ("with a KV secret, `refresh_interval: 1s`", {"one.env": "revocation/one"}, 3.0),
    ("alone", {}, 10.0),
)
"""The app's files in addition to its lease, and the target in seconds."""
_RANDOM = SystemRandom()


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.attach(bench.bao)
        bench.write("revocation/one", "x")
        for name, files, longest in CASES:
            peer = bench.peer_for({"db.txt": peer_template("simba"), **peer_templates(files)})
            lessee = bench.lessee_for({"files": ({"db.txt": template("simba"), **templates(files)}, None)})
            theirs = _revoke_repeatedly(bench, postgres, peer, lambda: True)
            ours = _revoke_repeatedly(bench, postgres, lessee, lambda program=lessee: is_fresh(program))
            yield Figure(
                f"token revoked → new credentials work, {name}, longest of {TIMES}",
                format_seconds(theirs, CAP),
                format_seconds(ours, CAP),
                f"≤ {longest:.0f} s",
                ours is not None and ours <= longest,
            )


def _revoke_repeatedly(bench: Rig, postgres: Postgres, program: Program, fresh: Callable[[], bool]) -> float | None:
    """The longest time; None if new credentials once did not work within CAP."""
    took = []
    with program:
        program.wait_for_files()
        for _ in range(TIMES):
            time.sleep(_RANDOM.uniform(*PAUSE))
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

    def do_new_ones_work() -> bool:
        now = credentials(file)
        return bool(now) and now != before and postgres.can_log_in(*now) and fresh()

    return seconds_until(do_new_ones_work, revoked_at, CAP)


def _revoke_tokens(bench: Rig) -> None:
    """Revoke all tokens except the operator's own."""
    own = bench.bao.ask("GET", "auth/token/lookup-self")["data"]["accessor"]
    for accessor in bench.bao.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        if accessor != own:
            bench.bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
