"""Makes the files that a release publishes: `make dist`.

    python .ci/packaging/dist.py --output dist

The same commit makes the same bytes. The package index is asked for what the lock files name, by their hashes.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import chart
import image
import python_package
import sbom
import shared_files
import source
import system_packages
import tree
import zipapp_file

EXTRAS = ("aws", "backup", "dist", "events", "otel", "rotate", "scan", "sops", "spiffe", "terminal", "validate")
"""What packages of a system contain in addition to the base: there is no pip that would install it later."""
SUMS = "SHA256SUMS"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is made: for which machines and versions of Python, and with which extras in the .deb and .rpm."""

    machines: Sequence[str]
    pythons: Sequence[str]
    extras: Sequence[str]
    url: str
    images: Sequence[str]
    """The machines for which an Engine builds the image."""


def main() -> None:
    """Make all files, or those that the arguments select."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=source.ROOT / "dist")
    parser.add_argument("--machine", action="append", choices=sorted(system_packages.ARCHITECTURES))
    parser.add_argument("--python", action="append", choices=tree.PYTHONS)
    parser.add_argument("--extras", default=",".join(EXTRAS), help="of the .deb and .rpm")
    parser.add_argument("--url", default="", help="the address of the repository, for the image's label")
    parser.add_argument("--without-image", action="store_true", help="for a machine without a Docker Engine")
    parser.add_argument("--uncommitted", action="store_true", help="accept changes that no commit has")
    arguments = parser.parse_args()
    if (changed := source.changes()) and not arguments.uncommitted:
        raise SystemExit(f"not committed: {', '.join(changed)}; commit them, or add --uncommitted")
    machines = arguments.machine or sorted(system_packages.ARCHITECTURES)
    images = [] if arguments.without_image else list(_images(machines, is_asked=arguments.machine is not None))
    shutil.rmtree(arguments.output, ignore_errors=True)
    arguments.output.mkdir(parents=True)
    selection = Selection(
        machines=machines,
        images=images,
        pythons=arguments.python or tree.PYTHONS,
        extras=[extra for extra in arguments.extras.split(",") if extra],
        url=arguments.url,
    )
    make(arguments.output.resolve(), selection)
    for file in sorted(arguments.output.iterdir()):
        print(f"{file.stat().st_size:>12,}  {file.name}")


def make(output: Path, selection: Selection) -> None:
    """Make all selected files in `output`."""
    version, epoch = source.version(), source.epoch()
    with tempfile.TemporaryDirectory(prefix="lessee-dist-") as name:
        folder = Path(name)
        exported = source.export(folder / "source")
        sdist, wheel = python_package.build(exported, output, epoch)
        _twine_check(sdist, wheel)
        chart.make(exported, output, version, epoch)
        share = folder / "share"
        # This machine's first, because it runs what was made.
        machines = sorted(selection.machines, key=lambda name: name != os.uname().machine)
        wheels = {}
        for machine in machines:
            base, system = folder / machine / "base", folder / machine / "system"
            wheels[machine] = _tree(base, wheel, (), machine, selection.pythons)
            if not share.exists():
                shared_files.write(base / "lessee", share, selection.pythons)
            zipapp = output / ("lessee.pyz" if machine == "x86_64" else f"lessee-{machine}.pyz")
            zipapp_file.make(base / "lessee", zipapp, version, machine, selection.pythons, epoch)
            _tree(system, wheel, selection.extras, machine, selection.pythons)
            system_packages.make(system / "lessee", output, version, machine, share, epoch)
        base = folder / machines[0] / "base"
        sbom.write(base / "lessee", output, version)
        labels = {"VERSION": version, "REVISION": source.revision(), "SOURCE": selection.url}
        for machine in selection.images:
            offered = folder / machine / "wheels"
            offered.mkdir()
            for file in (wheel, *wheels[machine]):
                shutil.copy(file, offered)
            image.make(exported, offered, output, labels, epoch, system_packages.ARCHITECTURES[machine])
    write_sums(output)


def _images(machines: Sequence[str], *, is_asked: bool) -> Iterator[str]:
    """The machines for which an image can be built. One that was asked for may not be missing."""
    # This machine's last: the Engine keeps its image, and its base image.
    for machine in sorted(machines, key=lambda name: name == os.uname().machine):
        lacks = image.missing(system_packages.ARCHITECTURES[machine])
        if lacks is None:
            yield machine
        elif is_asked or machine == os.uname().machine:
            raise SystemExit(f"the image needs {lacks}; --without-image makes all other files")
        else:
            print(f"no image for {machine}: it needs {lacks}", file=sys.stderr)


def write_sums(output: Path) -> None:
    """Write the file that `sha256sum --check` reads."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in published(output)]
    (output / SUMS).write_text("".join(lines), encoding="utf-8")


def published(output: Path) -> Iterator[Path]:
    """All files of a build but the list of their sums and its signature."""
    return (file for file in sorted(output.iterdir()) if not file.name.startswith(SUMS))


def _tree(folder: Path, wheel: Path, extras: Sequence[str], machine: str, pythons: Sequence[str]) -> list[Path]:
    """Lay out `folder`/lessee, and return the wheels that were downloaded for it."""
    cache = Path(sys.prefix) / "wheels"
    cache.mkdir(exist_ok=True)
    folder.mkdir(parents=True)
    downloaded = tree.download(tree.requirements(extras, folder), cache, machine, pythons)
    tree.lay_out([wheel, *downloaded], folder / "lessee", pythons)
    return downloaded


def _twine_check(*files: Path) -> None:
    subprocess.run([sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files], check=True)


if __name__ == "__main__":
    main()
