"""The steps of a release that a program can check or do.

    python .ci/packaging/release.py check            # make release-check
    python .ci/packaging/release.py sign --key FILE   # make release-sign KEY=~/.ssh/id_ed25519

`check` builds twice, prints a line for each requirement, and exits with 1 if one is not met. `sign` signs
dist/SHA256SUMS with an SSH key. docs/how-to/install.md says how a user verifies that.
"""

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import source
from dist import SUMS

NAMESPACE = "lessee-release"
"""ssh-keygen(1): a signature for one purpose is not valid for another one."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)((?:a|b|rc)\d+)?")
_HEADING = re.compile(r"^## (\S+)(?: [-–] (\d{4}-\d\d-\d\d))?$", re.MULTILINE)  # noqa: RUF001  # An en dash is intended.


def main() -> None:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    check = steps.add_parser("check")
    check.add_argument("--output", type=Path, default=source.ROOT / "dist")
    check.add_argument("--without-build", action="store_true", help="check only what needs no build")
    sign = steps.add_parser("sign")
    sign.add_argument("--output", type=Path, default=source.ROOT / "dist")
    sign.add_argument("--key", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.step == "sign":
        print(f"signed: {sign_sums(arguments.output, arguments.key)}")
        return
    problems = list(unmet(source.ROOT))
    if not arguments.without_build and not source.changes():
        problems += differences(arguments.output)
    for problem in problems:
        print(f"not met: {problem}")
    if problems:
        raise SystemExit(1)
    print(f"{source.version()} can be released: tag v{source.version()}, sign dist/{SUMS}, publish dist/")


def unmet(root: Path) -> Iterator[str]:
    """What the sources lack for a release."""
    version = source.version(root)
    if changed := source.changes(root):
        yield f"not committed: {', '.join(changed)}"
    if not _VERSION.fullmatch(version):
        yield f"agent/lessee/__init__.py: the version {version} is not MAJOR.MINOR.PATCH, with aN, bN or rcN after it"
        return
    tags = source.git(root, "tag", "--list", "v*").split()
    here = source.git(root, "tag", "--points-at", "HEAD").split()
    released = [tag[1:] for tag in tags if _VERSION.fullmatch(tag[1:]) and tag not in here]
    newest = max(released, key=_order, default=None)
    if newest and _order(version) <= _order(newest):
        yield f"agent/lessee/__init__.py: the version {version} does not follow {newest}, which has a tag"
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = {name: text for name, _, text in _sections(changelog)}
    dates = {name: date for name, date, _ in _sections(changelog)}
    if version not in sections:
        yield f"CHANGELOG.md: no heading `## {version} - YYYY-MM-DD`"
    elif not dates[version]:
        yield f"CHANGELOG.md: the heading `## {version}` has no date; write `## {version} - YYYY-MM-DD`"
    if sections.get("Unreleased", "").strip():
        yield f"CHANGELOG.md: Unreleased is not empty; move its lines to {version}"
    if f'"version": "{version}"' not in (root / ".ci/sbom.json").read_text(encoding="utf-8"):
        yield f".ci/sbom.json is not of {version}; run `make lock`"
    if f'newTag: "{version}"' not in (root / "compose/kubernetes/kustomization.yaml").read_text(encoding="utf-8"):
        yield f"compose/kubernetes/kustomization.yaml: the image's newTag is not {version}"
    chart = (root / "compose/kubernetes/chart/Chart.yaml").read_text(encoding="utf-8")
    if f'\nversion: {version}\nappVersion: "{version}"' not in chart:
        yield f"compose/kubernetes/chart/Chart.yaml: version and appVersion are not {version}"


def differences(output: Path) -> Iterator[str]:
    """Build twice, the second time elsewhere, and compare. The first build stays in `output`."""
    program = Path(__file__).with_name("dist.py")
    with tempfile.TemporaryDirectory(prefix="lessee-second-") as folder:
        second = Path(folder) / "dist"
        for target in (output, second):
            if subprocess.run([sys.executable, program, f"--output={target}"], check=False).returncode:
                yield f"{program.name} failed; see above"
                return
        names = sorted({file.name for target in (output, second) for file in target.iterdir()})
        for name in names:
            if not (output / name).exists() or not (second / name).exists():
                yield f"only one of two builds has {name}"
            elif not filecmp.cmp(output / name, second / name, shallow=False):
                yield f"two builds of the same commit have a different {name}"


def sign_sums(output: Path, key: Path) -> Path:
    """Sign the sums with an SSH key, or with the one of an agent whose public part is given."""
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise SystemExit("ssh-keygen not found (Debian: openssh-client)")
    signature = output / f"{SUMS}.sig"
    signature.unlink(missing_ok=True)
    subprocess.run([keygen, "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, output / SUMS], check=True)
    return signature


def _sections(changelog: str) -> Iterator[tuple[str, str | None, str]]:
    """The sections of a changelog: version, date, text."""
    headings = list(_HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        yield heading[1], heading[2], changelog[heading.end() : following.start() if following else None]


def _order(version: str) -> tuple[int, int, int, int, str, int]:
    major, minor, patch, pre = _VERSION.fullmatch(version).groups()
    kind, number = re.fullmatch(r"([a-z]+)(\d+)", pre).groups() if pre else ("", "0")
    return int(major), int(minor), int(patch), 0 if pre else 1, kind, int(number)


if __name__ == "__main__":
    main()
