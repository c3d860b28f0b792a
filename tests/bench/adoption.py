"""Times the README's first screen: from a clone of a Compose project with plaintext to an adopted and rotated one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from rig import report

from e2e.adopt_stacks import Shop, make_images
from e2e.compose import build_wheels
from e2e.engine import shared_engine
from e2e.newcomer import BaseImage, Newcomer, first_screen, remember_port

LONGEST, COMMANDS = 300.0, 3


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-adoption-") as name:
        folder = Path(name)
        wheels = Path(build_wheels(folder / "built"))
        with shared_engine(folder) as engine:
            make_images(engine, folder / "images")
            with Shop(engine, "lessee-adoption", "lessee") as shop, BaseImage(engine):
                remember_port(shop.server)
                person = Newcomer(shop, folder, wheels)
                try:
                    yield from _typed(person)
                finally:
                    person.close()


def _typed(person: Newcomer) -> Iterator[Figure]:
    *commands, undo = first_screen()
    took = []
    for command in commands:
        took.append(person.type(command, answer="y" if "adopt" in command else None))
        report(f"adoption: {took[-1]:.1f} s: {command}")
        for seconds, line in person.times:
            report(f"adoption:   {seconds:6.1f} s  {line}")
    steps = " + ".join(f"{one:.0f}" for one in took)
    yield Figure(
        "a Compose project with PostgreSQL and plaintext → adopted and rotated, by the README's commands",
        "",
        f"{sum(took):.0f} s ({steps})",
        f"≤ {LONGEST:.0f} s",
        sum(took) <= LONGEST,
        note="Without a pull of the base image and downloads of pip: packages are on the disk.",
    )
    yield Figure("… commands", "", f"{len(commands)}", f"≤ {COMMANDS}", len(commands) <= COMMANDS)
    back = person.type(undo, answer="y")
    yield Figure("… and back, byte for byte", "", f"{back:.0f} s")
