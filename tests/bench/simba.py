"""Counts failed requests while the credentials of Simba's stack are rotated, under load on a real Engine."""

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from rig import report

from e2e.compose import Images, build_wheels
from e2e.engine import shared_engine
from e2e.simba import Simba, SimbaImages

DATABASE, STORAGE = 100, 20
UP = 30.0
PACE = 0.02
LONGEST = 5.0
"""Seconds: requests wait while gunicorn's new workers import the app."""
TIMEOUT = 120.0


def measure(database: int = DATABASE, storage: int = STORAGE) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-simba-") as name:
        folder = Path(name)
        with shared_engine(folder) as engine:
            images = Images(engine, folder, build_wheels(folder) if "BASE_IMAGE" not in os.environ else None)
            with SimbaImages(images, folder, PACE).up() as simba:
                text = f"{simba.took:.1f} s"
                yield Figure(
                    "Simba's stack, images built: `docker compose up` → all healthy",
                    "",
                    text,
                    f"≤ {UP:.0f} s",
                    simba.took <= UP,
                )
                yield from _rotations(simba, database, storage)


def _rotations(simba: Simba, database: int, storage: int) -> Iterator[Figure]:
    _wait_for_load(simba)
    logins = Counter[str]()
    began = time.monotonic()
    for number in range(database):
        # Some rotations of the database also rotate the storage's keys.
        both = storage and number % max(database // storage, 1) == 0
        simba.rotate("postgres", *(["storage"] if both else []))
        logins[simba.secret("database/postgres", "username")] += 1
        if number % 10 == 9:
            report(f"simba: {number + 1} of {database}, {json.dumps(simba.load())}")
    took = time.monotonic() - began
    load = simba.load()
    for line in simba.lines("load", "failed:")[:20]:
        report(f"simba: {line}")
    report(f"simba: logins {dict(logins)}, {took:.0f} s, longest response {load['longest']} s")
    counts = [simba.rotation(name) for name in ("postgres", "storage")]
    report(f"simba: {[(one['name'], one['rotation_count'], one['unconfirmed_consumers']) for one in counts]}")
    name = f"… {database} rotations of its database and {storage} of its storage's keys under load: failed requests"
    text = f"{load['failed']} of {load['answered'] + load['failed']:,}"
    yield Figure(name, "", text, "0", load["failed"] == 0)
    name, longest = "… the longest request meanwhile", load["longest"]
    yield Figure(name, "", f"{longest:.1f} s", f"≤ {LONGEST:g} s", longest <= LONGEST)


def _wait_for_load(simba: Simba) -> None:
    deadline = time.monotonic() + TIMEOUT
    while simba.load()["answered"] == 0:
        if time.monotonic() > deadline:
            raise TimeoutError("the clients got no response")
        time.sleep(0.5)
