"""Looks up the locked packages in a list of advisories, without a network.

    python .ci/advisories.py                    # against advisories.json; `make check` does it
    python .ci/advisories.py --update all.zip   # from osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip
    python .ci/advisories.py --update DIR       # from a clone of github.com/pypa/advisory-database

`advisories.json` has records of OSV (https://ossf.github.io/osv-schema/) for packages of the lock files, shortened to
what the comparison needs, and the day of the newest change of any record. The exit code is 1 if a locked version is
affected.
"""

import argparse
import datetime as dt
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
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
    return any(_within(version, part["events"]) for part in one.get("ranges", ()))


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
            {"package": {"name": one["package"]["name"]}} | _versions(one)
            for one in record.get("affected", ())
            if one["package"]["name"].lower().replace("_", "-") in wanted
        ]
        if own and "withdrawn" not in record:
            summary = " ".join((record.get("summary") or record.get("details", "")).split())[:160]
            found.append({"id": record["id"], "summary": summary, "affected": own})
    return sorted(found, key=lambda record: record["id"])


def _versions(one: dict) -> dict:
    """The ranges of versions; the versions themselves where a record has no range of them."""
    ranges = [part for part in one.get("ranges", ()) if part["type"] != "GIT"]
    return {"ranges": ranges} if ranges else {"versions": one.get("versions", [])}


def records_of(source: Path) -> Iterator[dict]:
    """The records in an archive of JSON files, or in a folder of YAML files."""
    if source.is_dir():
        for path in sorted(source.glob("vulns/**/*.yaml")):
            yield yaml.load(path.read_bytes(), yaml.CSafeLoader)
        return
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            yield json.loads(archive.read(name))


def locked() -> dict[str, str]:
    """The versions of all locked packages."""
    return {name: at for lock in (DEVELOPMENT, *RUNTIME.glob("*.txt")) for name, at in pins(lock.read_text()).items()}


def age(newest_change: str, today: dt.date) -> str:
    """The day of the newest change of a record, and how long ago it was."""
    days = (today - dt.date.fromisoformat(newest_change)).days
    return f"as of {newest_change}, {days:,} {'day' if days == 1 else 'days'} ago"


def main() -> int:
    """1 if a locked version is affected."""
    options = argparse.ArgumentParser()
    options.add_argument(
        "--update", metavar="ZIP|DIR", type=Path, help="the records for PyPI: OSV's archive or PyPA's folder"
    )
    chosen = options.parse_args()
    packages = locked()
    if chosen.update:
        records = list(records_of(chosen.update))
        newest = max(str(record["modified"])[:10] for record in records)
        lines = ",\n".join(f" {json.dumps(record)}" for record in shortened(records, packages))
        LIST.write_text(f'{{"newest_change": "{newest}", "records": [\n{lines}\n]}}\n')
    listed = json.loads(LIST.read_text())
    found = list(affected(packages, listed["records"]))
    today = dt.datetime.now(dt.UTC).date()
    print(f"{len(listed['records'])} advisories for {len(packages)} packages, {age(listed['newest_change'], today)}")
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
