"""A real Kerberos realm: MIT's KDC on loopback, and OpenBao's settings for it."""

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lessee.host.openbao import free_port
from support.needs import need
from support.servers.ldap_server import find_program, until_open

REALM = "EXAMPLE.COM"
SERVICE = "HTTP/vault.example.com"
_CLIENT = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  rdns = false
  dns_canonicalize_hostname = false
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
"""
_KDC = """
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {home}/principal
    key_stash_file = {home}/stash
    acl_file = {home}/acl
  }}
"""


class KerberosRealm:
    """A KDC with these principals, whose keys are in `keytab(NAME)`; `config` is for $KRB5_CONFIG."""

    def __init__(self, *principals):
        programs = {name: find_program(name) for name in ("krb5kdc", "kdb5_util", "kadmin.local")}
        need(all(programs.values()), "a KDC is not installed: apt-get install krb5-kdc krb5-admin-server")
        self._programs, self._home = programs, Path(tempfile.mkdtemp(prefix="lessee-kdc-", dir="/dev/shm"))
        self._port = free_port()
        self.config = self._home / "krb5.conf"
        self.config.write_text(_CLIENT.format(realm=REALM, port=self._port))
        (self._home / "kdc.conf").write_text(_KDC.format(realm=REALM, port=self._port, home=self._home))
        self._environ = os.environ | {
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(self._home / "kdc.conf"),
        }
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "of-a-realm-in-memory")
        for name in (SERVICE, *principals):
            self._run("kadmin.local", "-q", f"addprinc -randkey {name}")
            self.renew(name)
        self.start()

    def start(self):
        log = self._home / "log"
        with log.open("ab") as output:
            command = [self._programs["krb5kdc"], "-n", "-r", REALM]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self._environ)
        until_open(self._port, self.process, log)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def keytab(self, name):
        """The path of the keytab of a principal."""
        return self._home / f"{name.replace('/', '_')}.keytab"

    def renew(self, name):
        """Give a principal new keys, and write them into its keytab; those before are not valid any more."""
        self.keytab(name).unlink(missing_ok=True)
        self._run("kadmin.local", "-q", f"ktadd -k {self.keytab(name)} {name}")

    def mount(self, bao, path, directory):
        """Configure OpenBao's Kerberos method at this path, with groups of an LDAP directory.

        MIT's tickets have a PAC that is not Active Directory's.
        """
        keytab = base64.b64encode(self.keytab(SERVICE).read_bytes()).decode()
        bao.ask("POST", f"auth/{path}/config", {"keytab": keytab, "service_account": SERVICE, "decode_pac": False})
        bao.ask("POST", f"auth/{path}/config/ldap", directory.settings)

    def _run(self, program, *arguments):
        subprocess.run(
            [self._programs[program], *arguments],
            env=self._environ,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._home)
