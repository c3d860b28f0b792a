"""Looks up the locked packages in a list of advisories, without a network.

    python .ci/advisories.py                    # against advisories.json; `make check` does it
    python .ci/advisories.py --update all.zip   # from osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip

`advisories.json` has records of OSV (https://ossf.github.io/osv-schema/) for packages of the lock files, shortened to
what the comparison needs. The exit code is 1 if a locked version is affected.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lock import DEVELOPMENT, RUNTIME, pins
from packaging.version import InvalidVersion, Version

LIST = Path(__file__).with_name("advisories.json")


def affected(packages: dict[str, str], records: Iterable[dict]) -> Iterator[str]:
    """A line for each advisory that applies to a locked version."""
    for record in records:
        for one in record["affected"]:
            name = one["package"]["name"].lower().replace("_", "-")
            if name in packages and _applies(packages[name], one):
                what = f"{name} {packages[name]}: {record['id']}: {record.get('summary', '')}"
                yield f"{what}; update it with `make lock UPGRADE=yes`"


def _applies(locked: str, one: dict) -> bool:
    if locked in one.get("versions", ()):
        return True
    version = Version(locked)
    return any(_within(version, part["events"]) for part in one.get("ranges", ()) if part["type"] != "GIT")


def _within(version: Version, events: Iterable[dict]) -> bool:
    """Whether the version is in one of the ranges of a list of events, which OSV sorts by version."""
    inside = False
    for event in events:
        (kind, text), *_ = event.items()
        try:
            reached = text == "0" or version >= Version(text)
        except InvalidVersion:
            continue
        if kind == "introduced" and reached:
            inside = True
        elif (kind == "fixed" and reached) or (kind == "last_affected" and reached and version != Version(text)):
            inside = False
    return inside


def shortened(records: Iterable[dict], names: Iterable[str]) -> list[dict]:
    """The records for these packages, with what `affected` reads."""
    wanted, found = set(names), []
    for record in records:
        own = [
            {"package": {"name": one["package"]["name"]}, "ranges": one.get("ranges", [])}
            for one in record.get("affected", ())
            if one["package"]["name"].lower().replace("_", "-") in wanted
        ]
        if own and "withdrawn" not in record:
            found.append({"id": record["id"], "summary": record.get("summary", "")[:160], "affected": own})
    return sorted(found, key=lambda record: record["id"])


def locked() -> dict[str, str]:
    """The versions of all locked packages."""
    return {name: at for lock in (DEVELOPMENT, *RUNTIME.glob("*.txt")) for name, at in pins(lock.read_text()).items()}


def main() -> int:
    """1 if a locked version is affected."""
    options = argparse.ArgumentParser()
    options.add_argument("--update", metavar="ZIP", help="OSV's archive of the records for PyPI")
    chosen = options.parse_args()
    packages = locked()
    if chosen.update:
        with zipfile.ZipFile(chosen.update) as archive:
            records = shortened((json.loads(archive.read(name)) for name in archive.namelist()), packages)
        LIST.write_text(json.dumps(records, indent=1) + "\n")
    found = list(affected(packages, json.loads(LIST.read_text())))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
