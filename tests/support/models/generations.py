"""Generations to publish, what readers find of them, and what remains when the publisher is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from json import loads

from msgspec.structs import replace

from lessee.config.parsing import parse
from lessee.core.generation import File, Generation
from support.paths import TESTS
from support.thorough import sampled

CANARY = "CANARY-5f1e"
OLD = ("app.env", "key.pem", "gone.txt")
NEW = ("app.env", "key.pem", "new.txt")
IN_FOLDERS = ("a.txt", "tls/server.pem", "tls/private/key.pem")


def generation(tag, names=OLD, mode=0o440, **settings):
    files = tuple(File(name, f"{CANARY} {tag}\n".encode() * 512, mode) for name in names)
    return Generation("simba", files, **settings)


def contents(wanted):
    return {file.name: file.content for file in wanted.files}


def app_at(directory, **settings):
    """The app of these generations, of a lessee.yaml with these settings."""
    return replace(_app(), directory=str(directory), **settings)


@cache
def _app():
    files = ", ".join(f"{{template: a.j2, name: {name}}}" for name in sorted({*OLD, *NEW, *IN_FOLDERS}))
    text = f"environment: testing\napps: {{simba: {{directory: /run/secrets/simba, files: [{files}]}}}}"
    return parse(text, source="lessee.yaml", environ={}).apps["simba"]


def shown(directory):
    """The files that a reader finds: by path, and through a descriptor of ..data."""
    links = {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.startswith("..")}
    data = directory / "..data"
    held = {path.name: path.read_bytes() for path in data.iterdir()} if data.exists() else {}
    return links, held


def shown_after_a_kill(directory):
    """The same, although a link may have no target."""
    paths = [path for path in directory.iterdir() if path.exists() and not path.name.startswith("..")]
    data = directory / "..data"
    held = {path.name: path.read_bytes() for path in data.iterdir()} if data.exists() else {}
    return {path.name: path.read_bytes() for path in paths}, held


def assert_tidy(directory, names, *, kept=()):
    """The directory holds only the live generation, its links, and the generations with these numbers."""
    live = str((directory / "..data").readlink())
    ours = {path.name for path in directory.iterdir()}
    others = {name for name in ours - {live} if name.startswith("..lessee-")}
    assert ours - others == {"..data", live, *names}
    assert sorted(int(name.split("-")[1]) for name in others) == sorted(kept)
    assert all(str((directory / name).readlink()) == f"..data/{name}" for name in names)


# -- readers, meanwhile --------------------------------------------------------------------------------------

_READER = """
import json, os, select, sys, time
how, directory, size, *names = sys.argv[1:]
tags, bad = set(), {"mixed": 0, "missing": 0, "partial": 0}

def look():
    seen = set()
    held = os.open(directory + "/..data", os.O_RDONLY | os.O_DIRECTORY) if how == "descriptor" else None
    for name in names:
        try:
            fd = os.open(name if held else directory + "/" + name, os.O_RDONLY, dir_fd=held)
        except FileNotFoundError:
            bad["missing"] += 1
            continue
        data = os.read(fd, 1 << 20)
        os.close(fd)
        lines = set(data.splitlines())
        bad["partial"] += len(data) != int(size) or len(lines) != 1
        seen |= lines
    bad["mixed"] += len(seen) > 1
    tags.update(seen)
    if held:
        os.close(held)

while not select.select([sys.stdin], [], [], 0)[0]:
    began = time.monotonic()
    for _ in range(20):
        look()
    print(began, flush=True)
print(json.dumps({"tags": len(tags), **bad}))
"""


@contextmanager
def readers(directory, size, names):
    """Two readers, by path and by descriptor; `wait` until each has read the live files, `end` returns the results."""
    started = {
        how: subprocess.Popen(
            [sys.executable, "-c", _READER, how, directory, str(size), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for how in ("path", "descriptor")
    }

    class Readers:
        def wait(self):
            now = time.monotonic()
            for reader in started.values():
                while float(reader.stdout.readline()) < now:
                    pass

        def end(self):
            return {how: loads(reader.communicate("stop")[0].splitlines()[-1]) for how, reader in started.items()}

    try:
        yield Readers()
    finally:
        for reader in started.values():
            with reader:
                reader.kill()


# -- killed at any point -------------------------------------------------------------------------------------

_KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from lessee.publishing import publication

# Each run takes the same steps: neither the time that they take nor a random name changes them.
publication._QUICK_SWEEP = float("inf")
numbers = itertools.count(1)
os.urandom = lambda size: next(numbers).to_bytes(size, "big")

def is_importing():
    # The first of two runs would write bytecode, which the other one finds.
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False

def at_each_step(do):
    busy = False
    def once():
        nonlocal busy
        if not busy:
            busy = True
            do()
            busy = False
    def audit(event, _):
        if (event == "open" or event.startswith("os.") and event != "os.kill") and not is_importing():
            once()
    def trace(frame, event, _):
        if not any(part in frame.f_code.co_filename for part in ("/lessee/host/", "/lessee/publishing/")):
            return None
        if event == "line":
            once()
        return trace
    sys.addaudithook(audit)
    sys.settrace(trace)

def kill_at(step):
    left = step
    def count():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    at_each_step(count)

def on_disk(folder):
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        info = entry.stat(follow_symlinks=False)
        content = os.readlink(entry.path) if entry.is_symlink() else None
        if entry.is_file(follow_symlinks=False):
            fd = os.open(entry.path, os.O_RDONLY)
            content = os.read(fd, info.st_size)
            os.close(fd)
        found.append((entry.path, info.st_ino, info.st_mode, info.st_uid, info.st_gid, content))
        if entry.is_dir(follow_symlinks=False):
            found += on_disk(entry.path)
    return found

def compare(folder, act):
    # The steps before which something has changed, and the number of all steps.
    steps, number, last = [], 0, None
    def look():
        nonlocal number, last
        number += 1
        now = on_disk(folder)
        if now != last:
            steps.append(number)
        last = now
    at_each_step(look)
    act()
    sys.settrace(None)
    os.write(1, f"{steps + [number]}\\n".encode())

for line in sys.stdin:
    step, directory = line.rstrip("\\n").split(" ", 1)
    pid = os.fork()
    if pid == 0:
        what = begin(Path(directory))
        if step == "all":
            compare(directory, lambda: act(what))
        else:
            kill_at(int(step))
            act(what)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def killed_at_every_step(script, memory, prepare, *, at_least=1, of=1, key=""):
    """Run the script's `act` with the result of its `begin`, and kill it at every step of `act`.

    A step is a line or a system call, and each run takes the same ones. Of successive steps with the same files on the
    disk, it is killed at the first; with `of`, at a part of these, see `sampled`, but always at the first and the last.
    Each run has a folder of its own, which `prepare` fills. Yields the exit code and the folder; the last run ends by
    itself. `at_least`: the number of steps.
    """
    command = [sys.executable, "-c", script + _KILLED]
    environ = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as killed:

        def run(step):
            folder = memory / str(step)
            prepare(folder)
            killed.stdin.write(f"{step} {folder}\n")
            killed.stdin.flush()
            return folder, killed.stdout.readline()

        folder, steps = run("all")
        assert killed.stdout.readline() == "0\n"
        shutil.rmtree(folder)
        *steps, number = loads(steps)
        assert number >= at_least
        steps = [steps[0], *sampled(steps[1:-1], of=of, key=key), steps[-1]]
        # The last step too: a run with other steps than the first would end before it.
        for step in sorted({*steps, number, number + 1}):
            folder, code = run(step)
            assert int(code) == (0 if step > number else -signal.SIGKILL), f"step {step} of {number}: {code}"
            yield int(code), folder
            shutil.rmtree(folder)
        killed.stdin.close()


def assert_one_change(done):
    """An early kill leaves it undone and a late one done, with a single change in between."""
    assert done == sorted(done)
    assert (done[0], done[-2]) == (False, True)
