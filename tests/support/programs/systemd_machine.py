"""Runs systemd as PID 1 of a machine in its own namespaces, on an overlay over this machine's files."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SYSTEMD = Path("/usr/lib/systemd/systemd")
_PATIENCE = 60
_PREFIX = "lessee-machine-"
# In addition to Docker's default capabilities: for a container's loopback interface, its namespaces, and mounts.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}
# The machine gets its own cgroup, which systemd sees as the root. The waiting parent process stays outside: below a
# cgroup with a process the kernel enables no controller, and crun would retry a thousand times.
_ENTER = """
mount -t cgroup2 cgroup2 "$1"
mkdir "$1/$2"
exec unshare --pid --fork --kill-child sh -euc '
    echo 0 >"$1/$2/cgroup.procs"
    umount "$1"
    exec unshare --cgroup sh -euc "$3" sh "$1"
' sh "$1" "$2" "$3"
"""
_LEAVE = """
mount -t cgroup2 cgroup2 "$1"
# Processes of the machine may still be exiting.
for _ in $(seq 100); do
    if find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null; then exit; fi
    sleep 0.1
done
exit 1
"""
_MOUNT = """
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp dev var/lib/containers; do mkdir -p $folder; mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 tmp
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
touch dev/console
mount --bind "$1/../log" dev/console
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
# Without the units and mounts of this machine's own boot.
rm -rf etc/systemd/system/*.wants etc/machine-id etc/fstab
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mkdir -p before
pivot_root . before
umount --lazy /before
# As systemd does outside a container: the mounts of credentials propagate to services.
mount --make-rshared /
"""
_BOOT = f"""{_MOUNT}
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /usr/lib/systemd/systemd --unit=basic.target --log-target=console --show-status=no
"""


class Machine:
    """A booted machine, which shares this machine's network."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            # The machine ends with its parent process, even after SIGKILL.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", *_enter(self._folder, _BOOT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        while "running" not in self.run("systemctl", "is-system-running", check=False):
            if time.monotonic() > deadline or self._process.poll() is not None:
                failed = self.run("systemctl", "--failed", "--no-pager", check=False)
                log_text = self._log.read_text(errors="replace")
                with suppress(subprocess.CalledProcessError):  # The machine may not have got its cgroup.
                    self.__exit__()
                raise RuntimeError(f"systemd did not start: {failed}{log_text}")
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        try:
            _leave(self._folder)
        finally:
            shutil.rmtree(self._folder)

    def run(self, *command, text=None, check=True, **environ):
        """Run a command on the machine, and return its output with stderr; with `check` it must exit with 0."""
        enter = ["nsenter", "--target", str(self._pid), "--all", "--"] if self._pid else ["false"]
        done = subprocess.run(
            [*enter, *command],
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"} | environ,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def put(self, path, content, mode=0o644):
        """Write a file on the machine and create its folder. `content` is a text, or the path of a file to copy."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_text(content)
        target.chmod(mode)

    def path(self, path):
        """The path of a file of the machine, as seen from outside."""
        return Path(f"/proc/{self._pid}/root{path}")

    @property
    def _pid(self):
        """The pid of the machine's systemd; None before it runs."""
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # proc_pid_stat(5): pid (comm) state ppid …
                parent = int(file.read_text().rpartition(") ")[2].split()[1])
                if parent == self._process.pid and (file.parent / "comm").read_text() == "systemd\n":
                    return int(file.parent.name)
        return None


def missing_requirement():
    """What this machine lacks for a machine with systemd; None if nothing."""
    if os.geteuid() != 0:
        return "root"
    if not SYSTEMD.exists():
        return "systemd (Debian: systemd)"
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    if lacking := [name for name, number in _CAPABILITIES.items() if not effective >> number & 1]:
        return f"{' and '.join(lacking)}, as a privileged container has"
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        (Path(folder) / "log").touch()
        done = subprocess.run(_enter(Path(folder), _MOUNT), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"permission for all mounts, as in a privileged container: {done.stderr.strip()}"
        _leave(Path(folder))
    return None


def _enter(folder, script):
    """The command that runs a script as PID 1 in new namespaces and in a new cgroup with the folder's name."""
    mounts = folder / "root"
    mounts.mkdir()
    return ["unshare", "--mount", "--uts", "--ipc", "sh", "-euc", _ENTER, "sh", str(mounts), folder.name, script]


def _leave(folder):
    """Remove the machine's cgroup."""
    names = (str(folder / "root"), folder.name)
    subprocess.run(["unshare", "--mount", "sh", "-euc", _LEAVE, "sh", *names], check=True)
