"""`lessee demo`, from start to end."""

import os
import subprocess
import sys
from pathlib import Path


def test_the_demo_runs_the_whole_path_and_leaves_no_file():
    before = demo_directories()
    done = subprocess.run(
        [sys.executable, "-m", "lessee", "demo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the app got SIGHUP and read the new file") == 3
    assert "generation 4, notified, fresh=True, 1 login" in done.stdout
    assert demo_directories() == before


def demo_directories():
    places = (Path("/dev/shm"), Path("/tmp"), Path(os.environ.get("XDG_RUNTIME_DIR", "/run")))
    return sorted(str(path) for place in places if place.is_dir() for path in place.glob("lessee-demo-*"))
