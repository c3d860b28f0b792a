"""Compares what `lessee adopt` finds in public Compose projects with what a person calls a secret in them.

    python tests/bench/adopt_projects.py --checkouts DIR [--show] [NAME …]

DIR has a folder OWNER__NAME for each repository of adopt_projects.toml. `--show` lists each difference by its name. It
needs `docker compose`, and no Engine: nothing is pulled, built or started.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from lessee.ops.adopt.images import with_images
from lessee.ops.adopt.policy.app_plans import app_plans, text_of, verified
from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.layout import stored_fields
from lessee.ops.adopt.policy.model import Deployment, Origin, Plan, Project
from lessee.ops.adopt.policy.override_text import override
from lessee.ops.adopt.project import read_project
from lessee.ops.scan.policy.classifier import Verdict

PROJECTS = Path(__file__).with_name("adopt_projects.toml")
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"}


def main() -> int:
    """Measure all projects, or those whose names contain one of NAME."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    counts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for spec in tomllib.loads(PROJECTS.read_text())["projects"]:
        name = f"{spec['repository']}/{spec.get('folder', '')}"
        if options.names and not any(part in name for part in options.names):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            count = measure_project(spec, options.checkouts, Path(scratch), name if options.show else "")
        counts[spec.get("held_back", False)].update(count)
    for title, count in (("all", counts[False] + counts[True]), ("held back", counts[True])):
        sys.stdout.write(
            f"{title}: {count['projects']} projects, {count['planned']} planned without a crash, "
            f"{count['overridden']} overrides valid; "
            f"{count['found']} of {count['secrets']} secrets found ({_percent(count['found'], count['secrets'])}), "
            f"{count['wrong']} of {count['plain']} plain values taken for secrets "
            f"({_percent(count['wrong'], count['plain'])}); {count['misplaced']} values without a place, "
            f"{count['otherwise']} rendered otherwise, {count['steps']} manual steps\n"
        )
    total = counts[False] + counts[True]
    return int(total["planned"] < total["projects"])


def measure_project(spec: dict, checkouts: Path, scratch: Path, show: str = "") -> Counter:
    """The counts of one project, which is copied to `scratch` and set up as its README says."""
    count = Counter(projects=1)
    folder = prepare(spec, checkouts, scratch)
    try:
        project = classified(with_images(read_project(spec["files"], ENVIRON, folder=str(folder)), folder, ENVIRON))
        stored, rendered = stored_fields(project)
        apps, steps = app_plans(project, *verified(project, stored, rendered))
        plan = Plan(project, "development", stored, apps, (), steps)
        text = override(plan, Deployment("https://vault.example:8200"))
    except Exception as exc:  # noqa: BLE001  # A crash is what is measured.
        _say(show, f"{type(exc).__name__}: {exc}")
        return count
    count["planned"] += 1
    secret = re.compile("|".join(re.escape(name).replace(r"\*", ".*?") for name in spec["secrets"]) or "(?!)")
    for use in project.uses:
        if not use.value.strip():
            continue
        where = f"{use.service}.{use.name}"
        expected, found = bool(secret.fullmatch(where)), use.verdict is Verdict.SECRET
        count["secrets" if expected else "plain"] += 1
        count["found" if expected else "wrong"] += found
        if expected != found:
            _say(show, f"{'MISSED' if expected else 'WRONG'} {where} {use.rule}")
    for line in [name for name in spec["secrets"] if not _names_a_use(name, project)]:
        _say(show, f"LABEL WITHOUT A VALUE {line}")
    for where in misplaced(project, folder):
        count["misplaced"] += 1
        _say(show, f"MISPLACED {where}")
    values = {(field.path, field.field): field.value for field in stored}
    by_name = {(use.service, use.name): use for use in project.uses}
    for one in rendered:
        if text_of(one.parts, values) != by_name[one.service, one.name].value:
            count["otherwise"] += 1
            _say(show, f"RENDERED OTHERWISE {one.service}.{one.name}")
    count["steps"] += len(steps)
    (folder / "compose.lessee.yaml").write_text(text)
    is_valid = not apps or config(folder, [*spec["files"], "compose.lessee.yaml"])
    count["overridden"] += is_valid
    if not is_valid:
        _say(show, "OVERRIDE REJECTED")
    return count


def prepare(spec: dict, checkouts: Path, scratch: Path) -> Path:
    """Copy a project, with the files that its README asks for. Returns its folder."""
    root = scratch / "project"
    shutil.copytree(checkouts / spec["repository"].replace("/", "__"), root, symlinks=True)
    folder = root / spec.get("folder", ".")
    for target, source in spec.get("copies", {}).items():
        if not (folder / target).exists():
            shutil.copyfile(folder / source, folder / target)
    for target, lines in spec.get("added", {}).items():
        with (folder / target).open("a") as file:
            file.write("".join(f"\n{line}" for line in lines) + "\n")
    return folder.resolve()


def misplaced(project: Project, folder: Path) -> list[str]:
    """The secrets with a place that is not in the project's files, or without any though a file has the value."""
    found = []
    for use in project.uses:
        if use.verdict is not Verdict.SECRET:
            continue
        texts = []
        for source in use.sources:
            if source.span is None:
                continue
            content = (folder / source.span.file).read_bytes()
            texts.append(content[source.span.start : source.span.end])
            if not texts[-1] or content[: source.span.start].count(b"\n") + 1 != source.span.line:
                found.append(f"{use.service}.{use.name}: {source.span.file}:{source.span.line}")
        if not texts and all(source.origin is not Origin.SHELL for source in use.sources):
            found.append(f"{use.service}.{use.name}: no place")
    return found


def config(folder: Path, files: list[str]) -> bool:
    """Whether `docker compose config` accepts the files."""
    arguments = [word for file in files for word in ("-f", file)]
    command = ["docker", "compose", *arguments, "--profile", "*", "config", "--quiet"]
    return subprocess.run(command, cwd=folder, env=ENVIRON, capture_output=True, check=False).returncode == 0


def _names_a_use(label: str, project: Project) -> bool:
    pattern = re.escape(label).replace(r"\*", ".*?")
    return any(re.fullmatch(pattern, f"{use.service}.{use.name}") and use.value.strip() for use in project.uses)


def _say(show: str, text: str) -> None:
    if show:
        sys.stdout.write(f"{show}: {text}\n")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


if __name__ == "__main__":
    sys.exit(main())
