"""An operator who types the commands of a page."""

import re
import subprocess

_ENDS = re.compile(r"# ends with (\d+)")


class Operator:
    """A shell for the page's commands; exported variables stay."""

    def __init__(self, folder, environ):
        self.folder, self._environ = folder, environ
        self._exported = folder / "exported"
        self.said = ""

    def type(self, text):
        """Run the commands of a block. Each must exit with the documented code."""
        for line in text.splitlines():
            if line.startswith("$ "):
                self._type(line.removeprefix("$ "))

    def _type(self, command):
        ends = _ENDS.search(command)
        keep = f"code=$?; export -p > {self._exported}; exit $code"
        restore = f". {self._exported}" if self._exported.exists() else ":"
        with (self.folder / "said").open("w+") as out:  # Not a pipe, which a background agent would keep open.
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", f"{restore}\n{command}\n{keep}"],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=90,
                check=False,
            )
            out.seek(0)
            said = out.read()
        self.said += said
        assert done.returncode == (int(ends[1]) if ends else 0), f"$ {command}\n{done.returncode}\n{said}"
