"""Simulates a month of fifty leases: counts those that end while a reader uses them, and measures the CPU time."""

import time
from collections.abc import Iterator

from figures import Figure
from rig import report

from lessee.protocol import commands as cmd
from lessee.protocol.app_spec import AppSpec
from support.models.world import World, app_spec, creds

SEED = 1
APPS, LEASES = 5, 10
"""Apps, and the leases of each."""
DAY = 86_400.0
DAYS = 30
REFRESH = DAY
"""Long, so that nearly all work is for leases: at 1 s there would be 340,000 token lookups."""
TTL, MAX_TTL = DAY, 7 * DAY
REACH = 2.0


class Month(World):
    """The model of the tests, which rejects late renewals, and revocations of leases in use; it counts ended leases."""

    ended = 0
    """Leases that ended while a reader used them."""

    def expire_old(self):
        known = [*self.tokens.values(), *self.leases.values()]
        if any(one.ends_at <= self.now for one in known):
            held = {lease for app in self.apps for lease in self.used_by_readers(app)}
            super().expire_old()
            self.ended += len(held - self.leases.keys())


def measure() -> Iterator[Figure]:
    apps = {f"app{i}": _app(i) for i in range(APPS)}
    began = time.process_time()
    month = Month(apps, seed=SEED, ttl=TTL, lease_ttl=TTL, lease_max_ttl=MAX_TTL)
    month.run(DAYS * DAY)
    took = time.process_time() - began
    renewals = sum(isinstance(command, cmd.RenewLease) for _, command in month.requests)
    leases = APPS * LEASES
    report(f"seed {SEED}; {len(month.requests)} requests, {len(month.published)} generations")
    name = f"{DAYS} days of {leases} leases, TTL of a day, max_ttl of a week"
    yield Figure(f"{name}: ended while a reader used it", "", str(month.ended), "0", not month.ended)
    yield Figure(f"{name}: renewals", "", f"{renewals:,}")
    yield Figure(f"{name}: handovers", "", str(len(month.issued) - leases))
    yield Figure(f"{name}: CPU time", "", f"{took:.1f} s", f"≤ {REACH:.0f} s", took <= REACH)


def _app(number: int) -> AppSpec:
    return app_spec(
        *(creds(f"{number}-{lease}") for lease in range(LEASES)), refresh_interval=REFRESH, compiled_app=f"r{number}"
    )
