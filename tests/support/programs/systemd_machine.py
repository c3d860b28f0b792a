"""A machine of its own, with systemd as PID 1, over the files of this one: what is written there is gone with it."""

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
# In addition to those that Docker gives to every container: for the loopback of a container in it, a look into one, and mounts.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}
# A cgroup of its own first, which is then the root that systemd sees. Who waits outside is not in it: below a cgroup
# with a process the kernel enables no controller, and crun tries a thousand times.
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
# Those who were in it may still be ending.
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
# Nothing of what this machine starts and mounts at its boot.
rm -rf etc/systemd/system/*.wants etc/machine-id etc/fstab
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mkdir -p before
pivot_root . before
umount --lazy /before
# As systemd itself would make it, were it in no container: credentials come by propagation.
mount --make-rshared /
"""
_BOOT = f"""{_MOUNT}
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /usr/lib/systemd/systemd --unit=basic.target --log-target=console --show-status=no
"""


class Machine:
    """Up once it is made; it shares this machine's network."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            # It ends with who wanted it, even by a SIGKILL.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", *_enter(self._folder, _BOOT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        while "running" not in self.run("systemctl", "is-system-running", fine=False):
            if time.monotonic() > deadline or self._process.poll() is not None:
                failed = self.run("systemctl", "--failed", "--no-pager", fine=False)
                said = self._log.read_text(errors="replace")
                with suppress(subprocess.CalledProcessError):  # where it could not even be entered
                    self.__exit__()
                raise RuntimeError(f"systemd did not start: {failed}{said}")
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

    def run(self, *command, text=None, fine=True, **environ):
        """What it printed there, stderr too; with `fine` it must have ended well."""
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
        assert not fine or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def put(self, path, content, mode=0o644):
        """Write a file there, a text or a copy of one here, and the folders that it needs."""
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, there)
        else:
            there.write_text(content)
        there.chmod(mode)

    def path(self, path):
        """A path of its own, as seen from here."""
        return Path(f"/proc/{self._pid}/root{path}")

    @property
    def _pid(self):
        """systemd's."""
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # proc_pid_stat(5): pid (comm) state ppid …
                parent = int(file.read_text().rpartition(") ")[2].split()[1])
                if parent == self._process.pid and (file.parent / "comm").read_text() == "systemd\n":
                    return int(file.parent.name)
        return None


def what_is_missing():
    """What such a machine needs and this one lacks; None where nothing is."""
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
        tried = subprocess.run(_enter(Path(folder), _MOUNT), capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            said = tried.stderr.strip()
            return f"mounts that nothing forbids, as in a privileged container: {said}"
        _leave(Path(folder))
    return None


def _enter(folder, script):
    """Run a script as PID 1 of a machine, in the mounts and with the cgroup of this name, which are made."""
    mounts = folder / "root"
    mounts.mkdir()
    return ["unshare", "--mount", "--uts", "--ipc", "sh", "-euc", _ENTER, "sh", str(mounts), folder.name, script]


def _leave(folder):
    """Remove the cgroup."""
    names = (str(folder / "root"), folder.name)
    subprocess.run(["unshare", "--mount", "sh", "-euc", _LEAVE, "sh", *names], check=True)
