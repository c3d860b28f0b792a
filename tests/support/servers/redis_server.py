"""A real Redis in memory."""

import os
import shutil
import subprocess

import redis

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually


class Redis:
    """A server on loopback whose default user has a password. It saves no data."""

    def __init__(self, folder, pair=None, acl=None):
        """`pair`: a file with a key and its certificate; then it also listens with TLS, on `tls_port`.

        `acl`: lines of an aclfile, which also gets the default user.
        """
        program = shutil.which("redis-server")
        need(program, "needs Redis: apt install redis-server")
        self.port, self.password = free_port(), os.urandom(16).hex()
        config = folder / "redis.conf"
        config.write_text(f'port {self.port}\nbind 127.0.0.1\nrequirepass "{self.password}"\nsave ""\nappendonly no\n')
        self.tls_port = free_port() if pair else None
        if pair:
            tls = {"tls-port": self.tls_port, "tls-cert-file": pair, "tls-key-file": pair, "tls-auth-clients": "no"}
            with config.open("a") as file:
                file.writelines(f"{name} {value}\n" for name, value in tls.items())
                file.write(f"tls-ca-cert-file {pair}\n")
        self.log, self.aclfile = folder / "redis.log", folder / "users.acl"
        if acl is not None:
            self.aclfile.write_text("\n".join([f"user default on >{self.password} ~* &* +@all", *acl, ""]))
            with config.open("a") as file:
                file.write(f"aclfile {self.aclfile}\n")
        self.command, self._folder = [program, config], folder
        self.log_in(self.password)
        self.start()

    def log_in(self, password):
        """Use this password of the default user in `ask`."""
        self._client = redis.Redis(port=self.port, password=password)

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self._folder)
        eventually(self._answers, "Redis")

    def stop(self):
        """Kill it, as a power failure does."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.close()
        self.stop()

    def ask(self, *words):
        """Run a command as the default user."""
        return self._client.execute_command(*words)

    def _answers(self):
        try:
            return self._client.ping()
        except redis.exceptions.ConnectionError:
            return False
