"""Debian for another processor: its packages are unpacked, and qemu runs them."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from support.needs import need

_RULES = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_KERNEL = Path("/proc/sys/fs/binfmt_misc")


def run_aarch64():
    """Let the kernel run programs of arm64, as systemd does at boot where qemu-user-static is installed."""
    need(_RULES.exists(), "needs an emulator of arm64 (Debian: qemu-user-static)")
    if not (_KERNEL / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _KERNEL], check=True)
    if not (_KERNEL / "qemu-aarch64").exists():
        # F: the kernel opens the emulator now, so that it works in containers.
        (_KERNEL / "register").write_text(f"{_RULES.read_text().strip()}F".replace("FF", "F"))


@contextmanager
def foreign_debian(architecture, *packages):
    """A tar archive of these packages and of their dependencies, as far as unpacking alone installs them."""
    with tempfile.TemporaryDirectory(prefix="lessee-foreign-") as name:
        folder = Path(name)
        for each in ("state/lists/partial", "cache/archives/partial", "root/etc/ssl/certs"):
            (folder / each).mkdir(parents=True)
        (folder / "status").touch()
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "APT::Sandbox::User": "root",
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
        }
        apt = ("apt-get", "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}")))
        subprocess.run([*apt, "update"], check=True)
        options = ("install", "--yes", "--download-only", "--no-install-recommends")
        subprocess.run([*apt, *options, *packages], stdout=subprocess.DEVNULL, check=True)
        root = folder / "root"
        for link in ("bin", "sbin", "lib"):
            (root / "usr" / link).mkdir(parents=True)
            (root / link).symlink_to(f"usr/{link}")
        for package in (folder / "cache/archives").glob("*.deb"):
            unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
            subprocess.run(["sh", "-euc", unpack, "sh", package, root], check=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs")  # As its installation makes it.
        archive = folder / "root.tar"
        subprocess.run(["tar", "--create", f"--file={archive}", f"--directory={root}", "."], check=True)
        yield archive
