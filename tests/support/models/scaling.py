"""What many agents ask of one server, by formulas over constants that `tests/bench/scale.py` has measured."""

from dataclasses import dataclass

LOOK, READ, RENEWAL, LOGIN = 1.4e-3, 1.4e-3, 1.8e-3, 1.5e-3
"""Seconds of one processor that OpenBao spends on a request, with an audit log."""
LOGINS = 290
"""A second that two processors do: each is written down before it is answered."""
TOKEN, CONNECTION = 25, 35
"""KiB of the server's memory."""
START = 2
"""Requests of an agent's start, in addition to a read of each secret: a login, and the KV version of its mount."""
ROUND = 0.95
"""Of `refresh`, the mean: from 0.9 to 1 by chance."""
RENEWED = 0.6
"""Of a ttl, the mean: from 0.5 to 0.7 by chance."""


@dataclass(frozen=True)
class Fleet:
    """Agents that all are alike. Times in seconds."""

    agents: int
    refresh: float
    folders: int = 2
    """Of KV that each of them reads, with any number of secrets: one look a round."""
    token_ttl: float = 3600
    leases: int = 0
    """That each of them holds."""
    lease_ttl: float = 3600

    @property
    def looks(self):
        """A second, while nothing changes."""
        return self.agents * self.folders / (ROUND * self.refresh)

    @property
    def renewals(self):
        """A second, of tokens and leases."""
        return self.agents * (1 / self.token_ttl + self.leases / self.lease_ttl) / RENEWED

    @property
    def processors(self):
        """Of the server, while nothing changes."""
        return self.looks * LOOK + self.renewals * RENEWAL

    @property
    def reads(self):
        """A second, in the round after a secret of all has changed."""
        return self.agents / self.refresh

    @property
    def storm(self):
        """Seconds that the logins of all of them take two processors, when every token has ended."""
        return self.agents / LOGINS

    @property
    def memory(self):
        """MiB of the server, for a token and a connection each."""
        return self.agents * (TOKEN + CONNECTION) / 1024


ROWS = (
    Fleet(200, 1),
    Fleet(200, 5),
    Fleet(1000, 1),
    Fleet(1000, 5),
    Fleet(1000, 5, leases=1),
    Fleet(10_000, 1),
    Fleet(10_000, 5),
    Fleet(10_000, 30),
    Fleet(10_000, 30, leases=1),
    Fleet(10_000, 300),
    Fleet(1000, 5, folders=20),
)


def table(fleets=ROWS):
    """The table of docs/explanation/scale.md; its last row is 10,000 apps, ten for each agent."""
    head = (
        "agents",
        "refresh interval",
        "folders, leases",
        "polls per second",
        "renewals per second",
        "CPUs while idle",
        "reads per second after a change",
        "logins of all agents",
        "memory",
    )
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines.extend(f"| {' | '.join(_cells(fleet))} |" for fleet in fleets)
    return "\n".join(lines) + "\n"


def _cells(fleet):
    return (
        f"{fleet.agents:,}",
        f"{fleet.refresh:.0f} s",
        f"{fleet.folders}, {fleet.leases}",
        f"{fleet.looks:,.0f}",
        f"{fleet.renewals:,.1f}",
        f"{fleet.processors:.2f}",
        f"{fleet.reads:,.0f}",
        f"{fleet.storm:,.0f} s",
        f"{fleet.memory:,.0f} MiB",
    )


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201  # It is what one asks it for.
