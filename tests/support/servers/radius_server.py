"""A real FreeRADIUS on loopback, with users, and OpenBao's settings for it."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from lessee.host.openbao import free_port
from support.needs import need
from support.servers.ldap_server import find_program

_SHARED_SECRET = "shared-with-a-server-in-memory"
_PATIENCE = 30.0
_CONFIG = """
logdir = {home}
libdir = /usr/lib/freeradius
pidfile = {home}/pid
security {{
  allow_vulnerable_openssl = yes
}}
client openbao {{
  ipaddr = 127.0.0.1
  secret = {secret}
  require_message_authenticator = no
}}
modules {{
  files {{
    usersfile = {home}/users
  }}
  pap {{
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    files
    pap
  }}
  authenticate {{
    pap
  }}
}}
"""


class RadiusServer:
    """A freeradius whose users are given as names and passwords."""

    def __init__(self, **users):
        program = find_program("freeradius")
        need(program, "freeradius is not installed: apt-get install freeradius")
        self._program, self._home = program, Path(tempfile.mkdtemp(prefix="lessee-radius-", dir="/dev/shm"))
        self.port = free_port()
        settings = {"home": self._home, "secret": _SHARED_SECRET, "port": self.port}
        (self._home / "radiusd.conf").write_text(_CONFIG.format(**settings))
        self.process = None
        self.start(**users)

    def start(self, **users):
        """Start it, or start it again with other users."""
        self.stop()
        lines = [f'{name} Cleartext-Password := "{password}"\n' for name, password in users.items()]
        (self._home / "users").write_text("".join(lines))
        log = self._home / "log"
        with log.open("wb") as output:
            command = [self._program, "-f", "-X", "-d", self._home]
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + _PATIENCE
        while "Ready to process requests" not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def mount(self, bao, path):
        """Configure OpenBao's RADIUS method at this path."""
        settings = {"host": "127.0.0.1", "port": self.port, "secret": _SHARED_SECRET}
        bao.ask("POST", f"auth/{path}/config", settings)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._home)
