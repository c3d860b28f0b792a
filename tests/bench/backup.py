"""Measures a backup of 1,000 secrets, verifies its restore, and restores damaged and forged archives."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figure
from rig import MEMORY, Rig, environ, pids, report, rig

from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.ops.backup.secret_reader import secrets
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.environments.backups import make_key
from support.inputs.forged_archives import Forger, cut_or_altered, forged

SECRETS, VERSIONS = 1000, 3
CANARY = "canary-4b1d"
REPETITIONS = 3


@dataclass
class Run:
    """One run of the program, its output, and the canary values that it revealed."""

    seconds: float
    code: int
    output: bytes
    peak: float
    """MiB."""
    leaks: list[str] = field(default_factory=list)


def measure() -> Iterator[Figure]:
    with rig() as bench:
        report(f"writing {SECRETS} secrets")
        _fill(bench.bao)
        make_key(bench.folder / "key")
        configure(bench, bench.bao.address)
        saves = [run(bench, "save") for _ in range(REPETITIONS)]
        yield from _timed("save", saves, 10.0)
        verifies = [run(bench, "verify", "latest") for _ in range(REPETITIONS)]
        yield from _timed("verify", verifies, 20.0)
        (target := bench.folder / "target").mkdir()
        with OpenBao(target) as empty:
            configure(bench, empty.address)
            restore = run(bench, "restore", "latest", "--yes", "--force")
            again = run(bench, "restore", "latest", "--yes", "--force")
            same = _contents(bench.bao) == _contents(empty)
        yield from _timed("restore", [restore], None)
        writes = re.findall(rb"with (\d+) writes", restore.output + again.output)
        yield Figure(
            "… into an empty server: all versions equal; writes, and of a second run",
            "",
            f"{'yes' if same else 'no'}; {b' / '.join(writes).decode()}",
            "yes; any / 0",
            same and writes[-1] == b"0",
        )
        yield from _corruptions(bench)
        runs = [*saves, *verifies, restore, again]
        hits = [hit for run in runs for hit in run.leaks]
        hits += [str(path) for path in _archives(bench) if CANARY.encode() in path.read_bytes()]
        yield Figure("… canary values in output, archives, open and scratch files", "", f"{len(hits)}", "0", not hits)


def _timed(name: str, runs: list[Run], target: float | None) -> Iterator[Figure]:
    longest = max(run.seconds for run in runs)
    done = all(run.code == 0 for run in runs)
    what = f"backup of {SECRETS:,} secrets in {VERSIONS} versions each: {name}, longest of {len(runs)}"
    reach = "" if target is None else f"≤ {target:.0f} s"
    yield Figure(what, "", f"{longest:.1f} s", reach, done and (target is None or longest <= target))
    yield Figure(f"… {name}: peak memory", "", f"{max(run.peak for run in runs):.0f} MiB")


def _fill(bao: OpenBao) -> None:
    def write(number: int) -> None:
        for version in range(VERSIONS):
            bao.put(f"backup/{number % 20}/{number}", user=f"user-{number}", value=f"{CANARY}-{number}-{version}" * 4)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(SECRETS)))


def configure(bench: Rig, address: str) -> None:
    text = f"vault: {{address: '{address}'}}\nbackup: {{directory: '{bench.folder}/archives'}}\n"
    (bench.folder / "lessee.yaml").write_text(text)


def run(bench: Rig, *arguments: str, search: bool = True) -> Run:
    """Run `lessee backup`. `search`: look for canary values in its open files meanwhile, which takes time."""
    settings = environ(bench.folder) | {"VAULT_TOKEN": ROOT_TOKEN, "LESSEE_BACKUP_KEY_FILE": str(bench.folder / "key")}
    output, peak, leaks = bench.folder / "output", 0.0, []
    started = time.monotonic()
    with output.open("wb") as out:
        command = [sys.executable, "-m", "lessee", "backup", *arguments]
        process = subprocess.Popen(command, cwd=bench.folder, env=settings, stdout=out, stderr=out)
    while process.poll() is None:
        for pid in pids(process.pid):
            peak = max(peak, _peak(pid))
            leaks += _find_canaries(pid) if search else []
        time.sleep(0.1)
    ended = time.monotonic() - started
    leaks += [f"{arguments}: output"] if CANARY.encode() in output.read_bytes() else []
    return Run(ended, process.returncode, output.read_bytes(), peak, leaks)


def _peak(pid: int) -> float:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return 0.0


def _find_canaries(pid: int) -> list[str]:
    """The open files of the process, also unlinked ones, and its scratch files, if they contain a canary."""
    found = []
    folders = [path for folder in MEMORY.glob("lessee-verify-*") for path in folder.rglob("*")]
    with suppress(OSError):
        folders += Path(f"/proc/{pid}/fd").iterdir()
    for path in folders:
        with suppress(OSError):
            if path.is_file() and CANARY.encode() in path.read_bytes():
                found.append(str(path))
    return found


def _contents(bao: OpenBao) -> list[object]:
    with closing(Transport(Address(bao.address))) as transport:
        found = secrets(AdminClient(transport, ROOT_TOKEN), {"secret/": 2}, bytes(32))
        return [(one.where, one.current, [(v.number, v.fingerprint) for v in one.versions]) for one in found]


def _corruptions(bench: Rig) -> Iterator[Figure]:
    configure(bench, bench.bao.address)
    forger = Forger(bench.folder / "key", max(_archives(bench)))
    cases = [content for content, _ in cut_or_altered(forger).values()]
    cases += [content for content, _, _ in forged(forger).values()]
    rejected = 0
    for content in cases:
        (bench.folder / "forged.age").write_bytes(content)
        attempt = run(bench, "restore", "forged.age", "--yes")
        rejected += attempt.code in {65, 77} and b"lessee: " in attempt.output and b"Traceback" not in attempt.output
    name = "… archives that are cut, altered or forged: rejected"
    yield Figure(name, "", f"{rejected} of {len(cases)}", "all, ≥ 20", rejected == len(cases))


def _archives(bench: Rig) -> list[Path]:
    return list((bench.folder / "archives").glob("*.age"))
