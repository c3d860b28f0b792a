"""Runs the pure packages' tests against a fixed sample of mutants: `python tests/support/mutants.py TESTS …`.

mutmut changes one expression of a function for each mutant, and runs it in a fork. This program adds what the
repository needs: a sample that stays nearly the same while the code changes, a copy of the tree in a temporary
directory, and one collection of the tests for all mutants. A mutant runs with the tests that call its function, until
one fails.

A mutant has a stable name: module, function, and the changed code. The sample is the mutants with the smallest hashes
of their names. `tests/mutants.toml` lists each mutant that survives, with the reason; where another one survives, the
exit code is 1.
"""

import argparse
import functools
import hashlib
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from time import perf_counter, process_time

import libcst
import pytest
from mutmut.configuration import config
from mutmut.mutation.file_mutation import combine_mutations_to_source, create_mutations
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.mutation.trampoline_templates import mangle_function_name
from mutmut.runners.harness import TestRunner
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.workers.isolation import ForkRunner, run_in_fork_with_result

ROOT = Path(__file__).resolve().parents[2]
REVIEWED = ROOT / "tests/mutants.toml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTROL = "__mutmut_0"
NEVER = 1e6
"""Seconds, for mutmut's limit on a busy machine's clock: only the processor time of a mutant is bounded."""
OUTPUT = os.fdopen(os.dup(1), "w", buffering=1)
CONTEXT = 24
"""Characters of equal code before and after a change, in a mutant's name."""
FRESH = 600
"""Seconds of processor time of a mutant that has a process of its own."""
MEMORY = 4 << 30
"""Bytes of address space of a mutant's process: a mutant that never ends must not take the machine's memory."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function."""

    file: str
    """Relative to the repository."""
    function: str
    """With its class, if it has one."""
    change: str
    """The changed code, before and after."""
    count: int
    """How many equal changes of the function precede this one."""
    order: int
    """Its place among all mutations of its file."""

    @property
    def module(self) -> str:
        return self.file.removeprefix("agent/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    @property
    def name(self) -> str:
        return f"{self.module}:{self.function}: {self.change}" + (f" #{self.count + 1}" if self.count else "")

    @property
    def rank(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


def say(*lines: str) -> None:
    print(*lines, sep="\n  ", file=OUTPUT)


# Generation


def pure_files() -> list[str]:
    """The files of the pure packages, relative to the repository."""
    found = set()
    for package in PROJECT["tool"]["coverage"]["run"]["source_pkgs"]:
        place = ROOT / "agent" / package.replace(".", "/")
        found |= set(place.rglob("*.py")) if place.is_dir() else {place.with_suffix(".py")}
    return sorted(str(path.relative_to(ROOT)) for path in found)


def mutants_of(file: str) -> list[Mutant]:
    """All mutants of a file, in mutmut's order."""
    module, mutations, _, _ = create_mutations(file, (ROOT / file).read_text())
    functions = {}
    for statement in module.body:
        for node in statement.body.body if isinstance(statement, libcst.ClassDef) else [statement]:
            if isinstance(node, libcst.FunctionDef):
                owner = f"{statement.name.value}." if isinstance(statement, libcst.ClassDef) else ""
                functions[node] = owner + node.name.value
    seen = Counter()
    found = []
    codes = {}
    for order, mutation in enumerate(mutations):
        function = functions.get(mutation.contained_by_top_level_function)
        if function is None:
            continue
        if mutation.original_node not in codes:  # A call has a mutant for each argument.
            codes = {mutation.original_node: _code(module, mutation.original_node)}
        change = _change(codes[mutation.original_node], _code(module, mutation.mutated_node))
        found.append(Mutant(file, function, change, seen[function, change], order))
        seen[function, change] += 1
    return found


def _code(module: libcst.Module, node: libcst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())


def _change(before: str, after: str) -> str:
    """What differs, with a few words around it."""
    start = max(0, _common(before, after) - CONTEXT)
    end = max(0, _common(before[:start:-1], after[:start:-1]) - CONTEXT)
    parts = (code[start : len(code) - end] for code in (before, after))
    return " → ".join(("…" if start else "") + part + ("…" if end else "") for part in parts)


def _common(before: str, after: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(before), len(after)))


def sample(size: int) -> list[Mutant]:
    """The mutants with the smallest hashes: a change of one function changes few others of the sample."""
    with multiprocessing.Pool() as pool:
        mutants = [mutant for found in pool.imap_unordered(mutants_of, pure_files()) for mutant in found]
    say(f"{len(mutants):,} mutants of {len({mutant.file for mutant in mutants})} files")
    return sorted(mutants, key=lambda mutant: mutant.rank)[:size]


def copy_tree(place: Path) -> None:
    """The files of the repository as they are now, with what git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for file in filter(None, listed.split("\0")):
        if (ROOT / file).is_file():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, place / file)


def write_mutants(place: Path, chosen: list[Mutant]) -> dict[str, Mutant]:
    """Puts the mutants into the files of a copy, switched off; they are named as mutmut names them."""
    by_file = defaultdict(list)
    for mutant in chosen:
        by_file[mutant.file].append(mutant)
    names = {}
    for file, mutants in sorted(by_file.items()):
        module, mutations, classes, functions = create_mutations(file, (ROOT / file).read_text())
        in_order = sorted(mutants, key=lambda mutant: mutant.order)
        (place / file).write_text(
            combine_mutations_to_source(
                module, [mutations[mutant.order] for mutant in in_order], classes, functions
            ).code
        )
        numbers = Counter()
        for mutant in in_order:
            owner, _, name = mutant.function.rpartition(".")
            numbers[mutant.function] += 1
            mangled = mangle_function_name(name=name, class_name=owner or None)
            names[f"{mutant.module}.{mangled}__mutmut_{numbers[mutant.function]}"] = mutant
    return names


# Execution


class Session(TestRunner):
    """One collection of the tests: measures which test calls which function, then runs mutants in forks."""

    def __init__(self, mutants: dict[str, Mutant], jobs: int) -> None:
        self.mutants = mutants
        self.jobs = jobs
        self.codes: dict[str, int] = {}
        self.failed: list[str] = []
        self.items: dict[str, pytest.Item] = {}
        self.of_fixture: dict[int, set[str]] = defaultdict(set)
        self.at_import: set[str] = set()

    # Hooks of pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        """What a shared fixture calls counts for each test that uses it, not for the first one alone."""
        calls = state()._stats
        before = set(calls)
        calls.clear()
        try:
            return (yield)
        finally:
            self.of_fixture[id(fixturedef)] |= calls
            calls |= before

    def pytest_collectreport(self, report):
        self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        if self.failed:
            _abort("a file of tests cannot be collected", *self.failed)
        self.at_import = set(state()._stats)
        self.items = {item.nodeid: item for item in session.items}
        self.caches = [
            value
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in {"lessee", "support"}
            for value in vars(module).values()
            if isinstance(value, functools._lru_cache_wrapper)
        ]
        self.measure()
        self.decide()
        return True

    # Steps

    def measure(self):
        started = perf_counter()
        tests, durations, failed = run_in_fork_with_result(self._measure)
        if failed:
            _abort("without a mutant, a test fails", *failed)
        state().tests_by_mangled_function_name.update(tests)
        state().duration_by_test.update(durations)
        say(f"{len(self.items):,} tests in {perf_counter() - started:.0f} s")

    def _measure(self):
        set_mutant_under_test("stats")
        tests, durations = defaultdict(set), {}
        for item, following in _pairs(list(self.items.values())):
            for cache in self.caches:
                cache.cache_clear()  # Each test that needs a cached result counts, not the first one alone.
            state()._stats.clear()
            started = process_time()
            self._run(item, following)
            durations[item.nodeid] = process_time() - started
            fixtures = [fixture for found in item._fixtureinfo.name2fixturedefs.values() for fixture in found]
            for function in state()._stats.union(*(self.of_fixture[id(fixture)] for fixture in fixtures)):
                tests[function].add(item.nodeid)
        return dict(tests), durations, self.failed

    def decide(self):
        """Runs each mutant; before them, one without a change, which must survive, and one that must not."""
        tests = state().tests_by_mangled_function_name
        durations = state().duration_by_test
        controls = {f"unchanged{CONTROL}": list(self.items), f"failing{CONTROL}": list(self.items)}
        cases = {name: list(tests[name.partition("__mutmut_")[0]]) for name in self.mutants}
        estimates = {name: sum(durations[test] for test in found) for name, found in cases.items()}
        runner = ForkRunner(self.jobs, self, debug=True)  # Otherwise it leaves files open, which fails our tests.
        runner.startup()
        for name in [*controls, *sorted(cases, key=estimates.__getitem__)]:
            while not runner.has_capacity():
                self._collect(runner)
            seconds = (estimates.get(name, 1e5) + config().timeout_constant) * config().timeout_multiplier
            runner.submit(name, controls.get(name) or cases[name], int(seconds) + 1, NEVER)
        while runner.pending_count():
            self._collect(runner)
        runner.shutdown()

    def _collect(self, runner):
        result = runner.wait_for_result()
        if CONTROL in result.mutant_name:
            if (result.exit_code == 0) is not result.mutant_name.startswith("unchanged"):
                _abort(f"{result.mutant_name}: the tests exit with {result.exit_code}")
            return
        self.codes[result.mutant_name] = result.exit_code
        if status_by_exit_code[result.exit_code] != "killed":
            mutant = self.mutants[result.mutant_name].name
            say(f"{status_by_exit_code[result.exit_code]}: {mutant} ({result.duration:.1f} s)")

    def run_tests(self, *, mutant_name, tests):
        """Runs tests, in this process, until one fails; its result is an exit code of pytest."""
        if mutant_name.startswith("failing"):
            set_mutant_under_test("fail")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        self.failed.clear()
        for item, following in _pairs([self.items[test] for test in tests]):
            self._run(item, following)
            if self.failed:
                return 1
        return 0

    def _run(self, item, following):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _abort(*lines):
    say(*lines)
    pytest.exit(lines[0], returncode=3)


def _pairs(items):
    return zip(items, [*items[1:], None], strict=True)


def run_fresh(place: Path, name: str, mutant: Mutant) -> int:
    """Runs a mutant with the tests of its folder in a new process: a fork is too late for what an import calls."""
    tests = Path("tests") / Path(mutant.file).relative_to("agent/lessee").parent
    command = ["prlimit", f"--cpu={FRESH}", sys.executable, "-m", "pytest", "-q", "-x", "-m", "not long", "--timeout=0"]
    environment = {**os.environ, "MUTANT_UNDER_TEST": name, "PYTHONPATH": str(place / "agent")}
    code = subprocess.run(
        [*command, str(tests)], cwd=place, env=environment, capture_output=True, check=False
    ).returncode
    return code if code in {0, 5, -signal.SIGXCPU} else 1  # An import that fails has other codes.


# Report


def report(outcomes: dict[str, str], *, complete: bool) -> int:
    """Prints the score; returns the exit code."""
    reviewed = {entry["mutant"]: entry["reason"] for entry in tomllib.loads(REVIEWED.read_text()).get("survivor", [])}
    survivors = sorted(name for name, outcome in outcomes.items() if outcome in {"survived", "no tests"})
    for name in survivors:
        say(f"{'reviewed' if name in reviewed else 'NOT REVIEWED'}: {name}")
    say(", ".join(f"{count:,} {outcome}" for outcome, count in Counter(outcomes.values()).most_common()))
    say(f"{len(survivors):,} of {len(outcomes):,} mutants survive: {100 * len(survivors) / len(outcomes):.1f} %")
    stale = sorted(set(reviewed) - set(survivors))
    if complete and stale:
        say("tests/mutants.toml lists mutants that do not survive or are not in this sample:", *stale)
    return int(any(name not in reviewed for name in survivors))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("tests", nargs="+", metavar="TESTS", help="files or folders of tests")
    parser.add_argument("--sample", type=int, default=1000, metavar="N", help="how many mutants (1000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many at a time")
    parser.add_argument(
        "--only", default=".*", metavar="REGEX", help="of the sample, those whose names match from the start"
    )
    parser.add_argument("--directory", type=Path, help="where to copy the tree; removed at the end unless named")
    options = parser.parse_args()
    os.chdir(ROOT)  # mutmut reads its configuration here.
    place = options.directory or Path(tempfile.mkdtemp(prefix="lessee-mutants-"))
    try:
        return run(place.resolve(), options)
    finally:
        if not options.directory:
            shutil.rmtree(place)


def run(place: Path, options: argparse.Namespace) -> int:
    started = perf_counter()
    chosen = sample(options.sample)
    chosen = [mutant for mutant in chosen if re.match(options.only, mutant.name)]
    shutil.rmtree(place, ignore_errors=True)
    copy_tree(place)
    mutants = write_mutants(place, chosen)
    say(f"{len(mutants):,} of them in the sample, after {perf_counter() - started:.0f} s")
    os.chdir(place)
    sys.path[0] = str(place / "agent")
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    session = Session(mutants, options.jobs)
    set_mutant_under_test("stats")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # pytest would report each run of each mutant.
    code = pytest.main(["-m", "not long", "-p", "no:cacheprovider", "--timeout=0", *options.tests], plugins=[session])
    if code:
        return int(code)
    again = [
        name
        for name, code in session.codes.items()
        if status_by_exit_code[code] in {"survived", "no tests"} and name.partition("__mutmut_")[0] in session.at_import
    ]
    say(f"{len(again)} of the survivors are in functions that an import calls: each gets a new process")
    with ThreadPool(options.jobs) as pool:
        session.codes.update(pool.map(lambda name: (name, run_fresh(place, name, mutants[name])), again))
    say(f"decided after {perf_counter() - started:.0f} s")
    outcomes = {mutants[name].name: status_by_exit_code[code] for name, code in session.codes.items()}
    return report(outcomes, complete=options.only == ".*")


if __name__ == "__main__":
    sys.exit(main())
