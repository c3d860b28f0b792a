"""Other processes of the agent's uid that try to read its memory, and the means to start an agent next to them."""

import subprocess
import sys

UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
"""Starts a program without capabilities: of two such programs of one uid, the kernel lets one read the other."""

STOP_AT_START = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)\n"
"""A `sitecustomize`, which Python imports before the program: the attacker wins each race."""

_READER = """
import os, sys
pid, canary = int(sys.argv[1]), sys.argv[2].encode()
found = {}
for name in "environ", "maps", "mem":
    try:
        found[name] = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    except OSError as exc:
        print(f"{name}: {exc.strerror}")
print("opened", *found, flush=True)
sys.stdin.readline()

def areas():
    os.lseek(found["maps"], 0, 0)
    text = b""
    while chunk := os.read(found["maps"], 1 << 20):
        text += chunk
    for line in text.decode().splitlines():
        words = line.split()
        if words[1].startswith("r") and "[v" not in line:
            yield [int(word, 16) for word in words[0].split("-")]

def memory():
    for begin, end in areas():
        try:
            yield os.pread(found["mem"], end - begin, begin)
        except OSError:
            continue

def environ():
    os.lseek(found["environ"], 0, 0)
    yield os.read(found["environ"], 1 << 20)

print("read", *(name for name, read in (("environ", environ), ("mem", memory)) if name in found
    if any(canary in part for part in read())), flush=True)
"""


class MemoryReader:
    """Opens the memory of a process, and reads it later."""

    def __init__(self, pid, canary):
        self._process = subprocess.Popen(
            [*UNPRIVILEGED, sys.executable, "-I", "-c", _READER, str(pid), canary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = iter(self._process.stdout.readline, "")
        self.opened = next(line for line in lines if line.startswith("opened")).split()[1:]
        """The files of /proc/PID that it could open."""

    def read(self):
        """The files in which it finds the canary by now."""
        output, _ = self._process.communicate("\n")
        assert output.startswith("read"), output
        return output.split()[1:]

    def close(self):
        self._process.kill()
        self._process.communicate()
