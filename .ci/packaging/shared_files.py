"""The files of a package below /usr/share: manual pages, and completions of three shells."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PAGES = Path(__file__).parents[1] / "man_pages.py"
_COMPLETIONS = {
    "bash": "bash-completion/completions/lessee",
    "fish": "fish/vendor_completions.d/lessee.fish",
    "zsh": "zsh/site-functions/_lessee",
}


def write(lessee: Path, folder: Path, pythons: Sequence[str]) -> None:
    """Write them to `folder` with the lessee that `tree.lay_out` made."""
    python, version = _python(pythons)
    places = (lessee / "lib/any", lessee / f"lib/cp{version.replace('.', '')}")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, places)), "LANG": "C.UTF-8"}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "HOME": str(folder), "COLUMNS": "80"}

    def output(*arguments: str) -> bytes:
        return subprocess.run([python, *arguments], env=environ, stdout=subprocess.PIPE, check=True).stdout

    pages = folder.with_name("man")
    output(str(_PAGES), str(pages))
    for page in pages.iterdir():
        target = folder / f"man/man{page.suffix[1:]}/{page.name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    for shell, name in _COMPLETIONS.items():
        target = folder / name
        target.parent.mkdir(parents=True)
        target.write_bytes(output("-m", "lessee", "completion", shell))


def _python(versions: Sequence[str]) -> tuple[str, str]:
    """A Python for which the tree has modules, and its version."""
    running = "{}.{}".format(*sys.version_info)
    for version in versions:
        if found := sys.executable if version == running else shutil.which(f"python{version}", path="/usr/bin"):
            return found, version
    raise SystemExit(f"no python of {', '.join(versions)} is installed, to write manual pages and completions")
