"""Kills rotations at random moments while clients log in: `make kills`, of all kinds that have a client or of some."""

import sys
from argparse import ArgumentParser
from contextlib import suppress

import admin_rotations
import killed_rotations
import verified_clients

KINDS = {
    **dict.fromkeys(
        ("mysql", "mysql, one user", "rabbitmq", "rabbitmq, one user", "ldap", "ldap, two entries"), killed_rotations
    ),
    **dict.fromkeys(verified_clients.KINDS, verified_clients),
    **dict.fromkeys(admin_rotations.KINDS, admin_rotations),
}
"""The benchmark that has the client of each kind. One user of RabbitMQ has none: its logins fail during a rotation."""


def main(arguments: list[str]) -> int:
    """Print a row for each kind. Returns 1 if one has missed its target, else 0."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {'; '.join(KINDS)}; default: all")
    parser.add_argument("--kills", type=int, default=killed_rotations.KILLS, help="of each kind")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.kinds) - KINDS.keys()):
        parser.error(f"unknown kind: {'; '.join(unknown)}; choose from: {'; '.join(KINDS)}")
    sys.stdout.write("| kills | result | target | met |\n|---|---|---|---|\n")
    missed = False
    for kind in options.kinds or KINDS:
        for figure in KINDS[kind].measure(options.kills, [kind]):
            met = figure.met is not False
            sys.stdout.write(f"| {figure.name} | {figure.lessee} | {figure.target} | {'yes' if met else '**no**'} |\n")
            sys.stdout.flush()
            missed |= not met
    return int(missed)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
