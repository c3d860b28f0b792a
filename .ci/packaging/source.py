"""The sources of a build: the files that git knows, each with the time of the last commit."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version(root: Path = ROOT) -> str:
    """The version, which is written in one place."""
    for line in (root / "agent/lessee/__init__.py").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(" = ")
        if name == "__version__":
            return str(ast.literal_eval(value))
    raise SystemExit("agent/lessee/__init__.py: no line `__version__ = …`")


def revision(root: Path = ROOT) -> str:
    """The last commit."""
    return git(root, "rev-parse", "HEAD").strip()


def epoch(root: Path = ROOT) -> int:
    """The time of the last commit (https://reproducible-builds.org/specs/source-date-epoch/)."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git(root, "log", "-1", "--format=%ct"))


def changes(root: Path = ROOT) -> list[str]:
    """The files that differ from the last commit."""
    return [line[3:] for line in git(root, "status", "--porcelain").splitlines()]


def export(folder: Path, root: Path = ROOT) -> Path:
    """Copy the files that git knows, and new ones that it does not ignore, with times and modes of no machine.

    A link within the repository becomes a file.
    """
    time = epoch(root)
    for name in git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        file = root / name
        if not name or not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        os.utime(target, (time, time))
    return folder


def git(root: Path, *arguments: str) -> str:
    """The output of a git command."""
    return subprocess.run(["git", "-C", root, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S607  # git is found on PATH.
