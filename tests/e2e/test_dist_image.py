"""The image of `make dist`: built (with THOROUGH twice, and for arm64), loaded into an Engine, and run."""

import gzip
import io
import json
import struct
import subprocess
import tarfile

import pytest

from e2e.engine import BASE, WITH_PYTHON
from lessee import __version__
from support.paths import ROOT
from support.programs.distribution import MACHINE, PACKAGING, system_python
from support.programs.foreign_debian import foreign_debian, run_aarch64
from support.thorough import THOROUGH

pytestmark = pytest.mark.docker

TIME = 1_700_000_000
TAG = f"lessee:{__version__}"
BUILDS = "12" if THOROUGH else "1"
"""One takes a minute and more of both processors."""
MAKE = f"""
import shutil, sys
from pathlib import Path
import image, source, tree
folder, dist, machine, architecture, python = sys.argv[1:]
if lacks := image.missing(architecture):
    sys.exit(lacks)
folder, wheels = Path(folder), Path(folder) / "wheels"
wheels.mkdir()
downloaded = tree.download(tree.requirements((), folder), Path(sys.prefix) / "wheels", machine, [python])
for wheel in (*downloaded, *Path(dist).glob("*.whl")):
    shutil.copy(wheel, wheels)
exported = source.export(folder / "source")
labels = {{"VERSION": "{__version__}", "REVISION": "abc", "SOURCE": "https://git.example/lessee"}}
for number in "{BUILDS}":
    (folder / number).mkdir()
    print(image.make(exported, wheels, folder / number, labels, {TIME}, architecture))
"""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@pytest.fixture(scope="module")
def archives(engine, dist, tmp_path_factory):
    """The archives of builds without a cache."""
    engine.make_base(BASE)
    return build(engine, dist, tmp_path_factory.mktemp("image"), MACHINE, BASE_IMAGE=BASE)


def build(engine, dist, folder, machine, **environ):
    (ROOT / ".venv/packaging/wheels").mkdir(exist_ok=True)
    done = subprocess.run(
        [PACKAGING, "-c", MAKE, folder, dist, machine, ARCHITECTURES[machine], system_python()],
        cwd=ROOT / ".ci/packaging",
        env=engine.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    engine.docker("image", "rm", TAG)
    return [file for number in BUILDS for file in (folder / number).glob("*.tar")]


@pytest.mark.thorough
def test_each_build_of_an_image_has_the_same_bytes_and_bytecode_that_is_not_out_of_date(archives):
    one, *others = (archive.read_bytes() for archive in archives)
    assert others == [one] * (len(BUILDS) - 1)
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        [image] = json.load(archive.extractfile("manifest.json"))
        layers = [gzip.decompress(archive.extractfile(path).read()) for path in image["Layers"]]
    times = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as files:
            for member in files:
                if member.name.startswith("opt/lessee/lib"):
                    times[member.name] = member.mtime
                    if member.name.endswith(".pyc"):
                        (named,) = struct.unpack_from("<I", files.extractfile(member).read(), 8)
                        assert named == TIME
    assert set(times.values()) == {TIME}
    assert any("lessee/cli/__pycache__/dispatch." in name for name in times)


def test_a_loaded_image_runs_as_its_own_user_and_says_what_it_is(engine, archives):
    assert TAG in engine.docker("load", "--input", str(archives[0]))
    try:
        config = json.loads(engine.docker("image", "inspect", TAG))[0]["Config"]
        labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
        assert labels["version"] == __version__
        assert (labels["revision"], labels["source"]) == ("abc", "https://git.example/lessee")
        assert config["User"] == "10001:10001"
        # No shell starts anything.
        assert (config["Entrypoint"], config["Healthcheck"]["Test"][0]) == (["/opt/lessee/bin/lessee"], "CMD")
        confined = ("run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL")
        assert engine.docker(*confined, TAG, "--version") == f"lessee {__version__}\n"
        assert engine.docker(*confined, "--entrypoint=lessee", TAG, "--version") == f"lessee {__version__}\n"
    finally:
        engine.docker("image", "rm", "--force", TAG)


# Building with an emulator takes minutes.
if THOROUGH and MACHINE != "aarch64":

    def test_an_image_for_arm64_is_built_with_the_same_bytes_and_runs_in_an_emulator(engine, dist, tmp_path):
        run_aarch64()
        with foreign_debian("arm64", *WITH_PYTHON) as archive:
            engine.docker("import", "--platform=linux/arm64", str(archive), f"{BASE}-arm64")
        one, other = build(engine, dist, tmp_path, "aarch64", BASE_IMAGE_ARM64=f"{BASE}-arm64")
        assert one.name == f"lessee-{__version__}-image-arm64.tar"
        assert one.read_bytes() == other.read_bytes()
        engine.docker("load", "--input", str(one))
        try:
            assert engine.docker("image", "inspect", "--format={{.Architecture}}", TAG) == "arm64\n"
            confined = ("run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--platform=linux/arm64")
            assert engine.docker(*confined, TAG, "--version") == f"lessee {__version__}\n"
            words = ("--entrypoint=/opt/lessee/bin/python", TAG, "-c", "import os; print(os.uname().machine)")
            assert engine.docker(*confined, *words) == "aarch64\n"
        finally:
            engine.docker("image", "rm", "--force", TAG, f"{BASE}-arm64")
