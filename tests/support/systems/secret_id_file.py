"""The secret_id of an operator's AppRole, in a file of this machine."""

import secrets
from contextlib import contextmanager

from support.systems.approle import SecretIds

MODE = 0o640


class LocalSecretId(SecretIds):
    """A file with a mode of its own, and another machine's secret_id of the same role."""

    calls = ("os:fsync", "pathlib:Path.replace", "pathlib:Path.unlink")
    min_calls = 16

    def __init__(self, folder):
        self.role = f"operator-{secrets.token_hex(4)}"
        self.file = folder / f"{secrets.token_hex(4)}/secret_id"
        self.target = {
            "kind": "secret-id",
            "secret": "admin/operator",
            "approle": self.role,
            "secret_id_file": str(self.file),
        }

    @classmethod
    @contextmanager
    def started(cls, folder):
        yield lambda: cls(folder)

    def attach(self, bao):
        super().attach(bao)
        self.first = self._first
        self.elsewhere = self.new_secret_id()
        self.file.parent.mkdir()
        self.write(self.first)

    def secrets(self):
        return {"admin/operator": {"host": "machine-1"}}

    def new_secret_id(self):
        return self._bao.ask("POST", f"auth/approle/role/{self.role}/secret-id", {})["data"]["secret_id"]

    def write(self, secret_id):
        """Write the file, as a person does."""
        self.file.write_text(f"{secret_id}\n")
        self.file.chmod(MODE)

    def logs_in(self, secret_id):
        return super().accepts({"role_id": self._role_id, "secret_id": secret_id})

    def log_in(self):
        """Log in as an operator does, with what is in the file."""
        return self.logs_in(self.file.read_text().strip())

    def accepts(self, fields):
        """Whether the file's secret_id logs in, and is the one that the secret names."""
        now = self.file.read_text().strip()
        named = fields.get("secret_id_accessor")
        whole = self.file.stat().st_mode & 0o777 == MODE
        return whole and self.logs_in(now) and named in {None, self.accessor_of({"secret_id": now})}

    def orphans(self, fields):
        del fields
        kept = {self.accessor_of({"secret_id": text}) for text in (self.file.read_text().strip(), self.elsewhere)}
        staged = {path.name for path in self.file.parent.iterdir() if path != self.file}
        return self.accessors() ^ kept | staged

    def old_is_revoked(self, fields):
        old = fields.get("secret_id_accessor")
        return not self.logs_in(self.first) and old not in self.accessors()
