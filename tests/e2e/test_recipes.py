"""Runs the recipes of docs/how-to/reading-files.md as they are written there."""

import re
import shutil
import subprocess
import sys

import pytest

from support.needs import need
from support.paths import ROOT
from support.programs.restless_publisher import LINES, restless

PAGE = ROOT / "docs/how-to/reading-files.md"
SECTION = "Reading several files"
DIRECTORY = "/run/secrets/app"

# Each program runs the recipe a number of times, and prints all numbers of both files on one line.
_PYTHON = """
import sys
for _ in range(int(sys.argv[2])):
    names = {}
    exec(compile(sys.argv[1], "reading-files.md", "exec"), names)
    print(*names["cert"].split(), *names["key"].split())
"""
_NODE = """
const read = new Function("require", process.argv[1] + "\\nreturn cert + key;");
for (let left = Number(process.argv[2]); left > 0; left--) console.log(read(require).trim().replaceAll("\\n", " "));
"""
_SH = """
left=$2
while [ "$left" -gt 0 ]; do echo $(eval "$1"); left=$((left - 1)); done
"""
RUNNERS = {
    "python": ([sys.executable, "-c", _PYTHON], 3_000),
    "js": (["node", "-e", _NODE], 3_000),
    "sh": (["sh", "-c", _SH, "sh"], 300),  # Each read is a process.
}


def recipes():
    section = PAGE.read_text().partition(f"\n## {SECTION}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.mark.thorough
@pytest.mark.parametrize("language", RUNNERS)
def test_a_recipe_reads_both_files_of_one_generation(language, memory):
    command, reads = RUNNERS[language]
    need(shutil.which(command[0]), f"needs {command[0]}: apt install nodejs")
    recipe = recipes()[language]
    assert DIRECTORY in recipe
    with restless(memory / "app", ("cert.pem", "key.pem"), keeps=True):
        done = subprocess.run(
            [*command, recipe.replace(DIRECTORY, str(memory / "app")), str(reads)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert not done.stderr
    seen = [line.split() for line in done.stdout.splitlines()]
    assert [len(numbers) for numbers in seen] == [2 * LINES] * reads
    assert all(len(set(numbers)) == 1 for numbers in seen)
    assert len({numbers[0] for numbers in seen}) > 10  # the files changed
