"""The list of packages (CycloneDX) of a folder that `tree.lay_out` made, with licenses and dependencies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import tree


def write(folder: Path, output: Path, version: str) -> Path:
    """Write the list of what is in `folder`/lib. The folder gets a Python, which this one asks for its packages."""
    running = "{}.{}".format(*sys.version_info)
    site = folder / f"lib/python{running}/site-packages"
    if not site.exists():
        site.mkdir(parents=True)
        places = sorted(place.name for place in (folder / "lib").iterdir() if not place.name.startswith("python"))
        (site / "lessee.pth").write_text("".join(f"../../{place}\n" for place in places), encoding="utf-8")
    tree.link_python(folder, str(folder), os.path.realpath(sys.executable), tree.ENTRY)
    program = Path(sys.executable).with_name("cyclonedx-py")
    command = [program, "environment", "--output-reproducible", "--of=JSON", "--sv=1.6", folder / "bin/python"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cyclonedx-py: {done.stderr}")
    document = json.loads(done.stdout)
    own = [each for each in document["components"] if each["name"] == "lessee"]
    document["components"] = [each for each in document["components"] if each["name"] != "lessee"]
    document["metadata"]["component"] = own[0] | {"type": "application"}
    file = output / f"lessee-{version}.cdx.json"
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return file
