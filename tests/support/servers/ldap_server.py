"""A real OpenLDAP on loopback, with users, and OpenBao's settings for it."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from lessee.host.openbao import free_port
from support.needs import need

BASE = "dc=example,dc=com"
PEOPLE = f"ou=people,{BASE}"
ADMIN = f"cn=admin,{BASE}"
_ADMIN_PASSWORD = "admin-of-a-directory-in-memory"
_PATIENCE = 30.0
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {home}
"""
_ENTRIES = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: {people}
objectClass: organizationalUnit
ou: people

"""
_USER = """
dn: uid={uid},{people}
objectClass: inetOrgPerson
cn: {uid}
sn: {uid}
uid: {uid}
userPassword: {password}

"""


class LdapServer:
    """A slapd whose users are given as names and passwords."""

    def __init__(self, **users):
        program = find_program("slapd")
        need(program, "slapd is not installed: apt-get install slapd")
        self._program, self._home = program, Path(tempfile.mkdtemp(prefix="lessee-ldap-", dir="/dev/shm"))
        self.port = free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self._config = self._home / "slapd.conf"
        self._config.write_text(
            _CONFIG.format(base=BASE, admin=ADMIN, password=_ADMIN_PASSWORD, home=self._home / "data")
        )
        (self._home / "data").mkdir()
        self.process = None
        self.start(**users)

    def start(self, **users):
        """Start it, or start it again with other users."""
        self.stop()
        for file in (self._home / "data").iterdir():
            file.unlink()
        people = "".join(_USER.format(uid=uid, people=PEOPLE, password=value) for uid, value in users.items())
        entries = _ENTRIES.format(base=BASE, people=PEOPLE) + people
        add = [self._program, "-T", "add", "-f", self._config]
        subprocess.run(add, input=entries, text=True, check=True, capture_output=True)
        with (self._home / "log").open("ab") as log:
            command = [self._program, "-f", self._config, "-h", self.url, "-d", "0"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until_open(self.port, self.process, self._home / "log")

    def mount(self, bao, path):
        """Configure OpenBao's LDAP method at this path."""
        bao.ask("POST", f"auth/{path}/config", self.settings)

    @property
    def settings(self):
        """OpenBao's settings for it."""
        bind = {"binddn": ADMIN, "bindpass": _ADMIN_PASSWORD}
        return {"url": self.url, "userdn": PEOPLE, "userattr": "uid", "groupdn": PEOPLE, **bind}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._home)


def find_program(name):
    """A program of the administrator, or None."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def until_open(port, process, log):
    """Wait until a server listens on loopback."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
