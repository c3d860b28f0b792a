"""A real OpenLDAP on loopback with accounts of services, whose passwords one of them may change."""

import subprocess

from lessee.host.openbao import free_port
from support.needs import need
from support.servers.ldap_server import find_program, until_open

BASE = "dc=example,dc=com"
SERVICES = f"ou=services,{BASE}"
ROTATOR, ROTATOR_PASSWORD = f"cn=rotator,{BASE}", "first-of-an-admin"
_ROOT, _ROOT_PASSWORD = f"cn=root,{BASE}", "root-of-a-directory-of-a-test"
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
{modules}
loglevel stats
{tls}
database mdb
suffix "{base}"
rootdn "{root}"
rootpw {password}
directory "{home}"
dbnosync
{overlays}
access to attrs=userPassword by dn.exact="{rotator}" {right} by anonymous auth by * none
access to * by users read by anonymous auth
"""
_ENTRIES = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: {services}
objectClass: organizationalUnit
ou: services

dn: {rotator}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: rotator
userPassword: {password}

"""
_INVALID = 49


class LdapDirectory:
    """A slapd. `tls`: the paths of a certificate and its key."""

    def __init__(self, folder, *, tls=None, right="write", modules="", overlays=""):
        program = find_program("slapd")
        need(program and find_program("ldapmodify"), "needs OpenLDAP: apt install slapd ldap-utils")
        self._program, self.log, self._config = program, folder / "slapd.log", folder / "slapd.conf"
        data, self.port = folder / "data", free_port()
        data.mkdir()
        self.plain_url = f"ldap://127.0.0.1:{self.port}"
        self.url = f"ldaps://127.0.0.1:{free_port()}" if tls else self.plain_url
        lines = f'TLSCertificateFile "{tls[0]}"\nTLSCertificateKeyFile "{tls[1]}"' if tls else ""
        self._config.write_text(
            _CONFIG.format(
                base=BASE,
                root=_ROOT,
                password=_ROOT_PASSWORD,
                home=data,
                rotator=ROTATOR,
                right=right,
                modules=modules,
                overlays=overlays,
                tls=lines,
            )
        )
        entries = _ENTRIES.format(base=BASE, services=SERVICES, rotator=ROTATOR, password=ROTATOR_PASSWORD)
        subprocess.run(
            [program, "-T", "add", "-f", self._config], input=entries, text=True, check=True, capture_output=True
        )
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            command = [self._program, "-f", self._config, "-h", " ".join({self.plain_url, self.url}), "-d", "stats"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until_open(self.port, self.process, self.log)

    def stop(self):
        """Kill it, as a power failure does."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def add(self, entry):
        """Add an entry as root, by its LDIF."""
        self._run("ldapadd", entry)

    def add_service(self, dn, password):
        """Add an account. Its name is the first part of the DN."""
        name = dn.partition(",")[0].removeprefix("cn=")
        kind = "objectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        self._run("ldapadd", f"dn: {dn}\n{kind}cn: {name}\nuserPassword: {password}\n")

    def change(self, dn, text):
        """Change an entry as root, by lines of LDIF."""
        self._run("ldapmodify", f"dn: {dn}\nchangetype: modify\n{text}\n")

    def values(self, dn):
        """The values of userPassword, in LDIF's Base64."""
        found = self._run("ldapsearch", "", "-LLL", "-o", "ldif-wrap=no", "-b", dn, "-s", "base", "userPassword")
        return {line.partition(": ")[2] for line in found.splitlines() if line.startswith("userPassword:")}

    def can_log_in(self, dn, password):
        command = ["ldapwhoami", "-x", "-H", self.plain_url, "-D", dn, "-w", password]
        answer = subprocess.run(command, capture_output=True, check=False)
        assert answer.returncode in {0, _INVALID}, answer.stderr
        return answer.returncode == 0

    def _run(self, program, text, *arguments):
        command = [program, "-x", "-H", self.plain_url, "-D", _ROOT, "-w", _ROOT_PASSWORD, *arguments]
        return subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout
