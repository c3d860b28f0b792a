"""Measures a drill of all four scenes, and what it finds."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure
from rig import MEMORY, rig

from support.environments.drills import Drills, fill

_LONGEST = 180.0


def measure() -> Iterator[Figure]:
    with rig() as bench, TemporaryDirectory(dir=MEMORY) as memory:
        (folder := bench.folder / "drills").mkdir()
        role_id = fill(bench.bao)
        drills = Drills(bench.bao.address, folder, Path(memory))
        (folder / "role_id").write_text(role_id)
        del drills.config["drill"]["outage"]
        drills.save()
        bench.bao.stop()
        began = time.monotonic()
        drills.drill()
        took = time.monotonic() - began
        report = drills.report()
        scenes = len(report["scenes"])
        played = scenes == 4 and report["complete"]  # All of them.
        yield Figure(
            f"a drill of {scenes} scenes with 3 apps, of which 10 s are the outage",
            "",
            f"{took:.0f} s",
            f"≤ {_LONGEST:.0f} s",
            played and took <= _LONGEST,
        )
        for scene in report["scenes"]:
            for one in scene["objectives"]:
                name = f"… {scene['scene']}: {one['name']}"
                yield Figure(name, "", f"{one['seconds']:.1f} s", f"≤ {one['objective']:.0f} s", one["met"])
        apps = [app for scene in report["scenes"] for app in scene["apps"]]
        uses = sum(app["uses"] for app in apps)
        missing = sum(app["missing"] for app in apps)
        yield Figure(f"… files that could not be read, in {uses:,} uses", "", f"{missing}", "0", not missing)
