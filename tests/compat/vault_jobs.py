"""The jobs of an agent that `make compat` tries on a server, each with a real agent and the files that it renders."""

import json
import os
import shutil
import tempfile
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

from compat.report import NotTriedError
from compat.space import PREFIX, client
from lessee.core.errors import LesseeError
from support.programs.sidecar import App, Sidecar
from support.servers.jwt_signer import Signer

ENVIRONMENT = "compat"
FIRST, SECOND = "first-value", "second-value"
ISSUER = "https://compat.example"
PATIENCE = 30.0
FOLDERS = (tempfile.gettempdir(), "/dev/shm")
"""For an agent's configuration, and for its files and state."""
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
TLS = {
    "ca_file": "VAULT_CACERT",
    "tls_server_name": "VAULT_TLS_SERVER_NAME",
    "client_cert_file": "VAULT_CLIENT_CERT",
    "client_key_file": "VAULT_CLIENT_KEY",
}
_CREATE_USER = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
_DROP_USER = 'DROP ROLE IF EXISTS "{{name}}"'


class Jobs:
    """One space on the server, with what all jobs share: a policy, a KV mount and an AppRole."""

    def __init__(self, space, database=None):
        self.space, self.admin, self._database = space, space.admin, database
        self.policy = space.policy(f'path "{space.name}-*" {{ capabilities = ["read", "list", "create", "update"] }}')
        self.kv = space.mount("kv", "kv2", version="2")
        self.put(FIRST)
        self.approle = space.auth("approle")
        self.credentials = self.role("agent", token_ttl="10m")

    def put(self, value):
        """Write the secret that most jobs read."""
        self.admin.write(f"{self.kv}/data/{ENVIRONMENT}/web", {"data": {"password": value}})

    def role(self, name, admin=None, **settings):
        """An AppRole with the space's policy; its role_id and secret_id."""
        admin, path = admin or self.admin, f"auth/{self.approle}/role/{name}"
        admin.write(path, {"token_policies": [self.policy], **settings})
        secret_id = admin.write(f"{path}/secret-id").data["secret_id"]
        return admin.read(f"{path}/role-id")["role_id"], secret_id

    @contextmanager
    def agent(self, auth=None, credentials=None, namespace=None, token="", mount=None, **config):
        """An agent that is not started. `credentials`: of its AppRole, unless `auth` or a token is given."""
        disk, memory = (Path(tempfile.mkdtemp(prefix=PREFIX, dir=where)) for where in FOLDERS)
        sidecar = Sidecar(os.environ["VAULT_ADDR"], disk, memory, environment=ENVIRONMENT)
        sidecar.environ["VAULT_TOKEN"] = token
        sidecar.environ |= {name: os.environ[name] for name in PROXIES if name in os.environ}
        given = {key: os.environ[name] for key, name in TLS.items() if os.environ.get(name)}
        vault = sidecar.config["vault"] | given | {"insecure_http": True}
        if space := namespace or self.space.namespace:
            vault["namespace"] = space
        if not token:
            vault["auth"] = auth or self.approle_login(disk, credentials or self.credentials)
        sidecar.config |= {"vault": vault, "secrets": {"mount": mount or self.kv}, **config}
        sidecar.template("web.txt.j2", '{{ secret("web").password }}\n')
        try:
            yield sidecar
        finally:
            if sidecar.process is not None and sidecar.process.poll() is None:
                sidecar.stop()
            sidecar.close()
            for folder in (disk, memory):
                shutil.rmtree(folder)

    def approle_login(self, disk, credentials):
        """Write the files of an AppRole login, and return the block `auth`."""
        files = {"role_id_file": disk / "role_id", "secret_id_file": disk / "secret_id"}
        for file, value in zip(files.values(), credentials, strict=True):
            write_private(file, value)
        return {"method": "approle", "mount": self.approle} | {key: str(file) for key, file in files.items()}

    def renders(self, sidecar, value=FIRST):
        """Start the agent, and wait for its file."""
        self.start(sidecar)
        assert (sidecar.directory / "web.txt").read_text() == f"{value}\n"

    def start(self, sidecar):
        """Start the agent, which ends with this program, and wait until it is ready."""
        sidecar.start(wait=False, before=("setpriv", "--pdeathsig=TERM", "--"))
        sidecar.until(lambda status: status["ready"], PATIENCE)

    # Each is a job.

    def log_in_by_token(self):
        role_id, secret_id = self.credentials
        body = {"role_id": role_id, "secret_id": secret_id}
        token = self.admin.unauthenticated.write(f"auth/{self.approle}/login", body).auth["client_token"]
        with self.agent(token=token) as sidecar:
            self.renders(sidecar)

    def log_in_by_approle(self):
        with self.agent() as sidecar:
            self.renders(sidecar)

    def log_in_by_userpass(self):
        mount = self.space.auth("userpass")
        self.admin.write(f"auth/{mount}/users/web", {"password": self.space.name, "token_policies": [self.policy]})
        with self.agent(auth={"method": "userpass", "mount": mount, "username": "web"}) as sidecar:
            file = write_private(sidecar.disk / "password", self.space.name)
            sidecar.config["vault"]["auth"]["password_file"] = str(file)
            self.renders(sidecar)

    def log_in_by_jwt(self):
        mount, signer = self.space.auth("jwt"), Signer()
        self.admin.write(f"auth/{mount}/config", {"jwt_validation_pubkeys": [signer.public_key]})
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": "web"}
        self.admin.write(f"auth/{mount}/role/web", role | {"token_policies": [self.policy]})
        with self.agent(auth={"method": "jwt", "mount": mount, "role": "web"}) as sidecar:
            file = write_private(sidecar.disk / "jwt", signer.sign(iss=ISSUER, sub="web", aud=["vault"]))
            sidecar.config["vault"]["auth"]["jwt_file"] = str(file)
            self.renders(sidecar)

    def unwrap_a_secret_id(self):
        path = f"auth/{self.approle}/role/agent/secret-id"
        wrapped = self.admin.write(path, wrap_ttl=120).wrapping_token
        with self.agent(credentials=(self.credentials[0], wrapped)) as sidecar:
            sidecar.config["vault"]["auth"]["wrapped"] = True
            self.renders(sidecar)

    def read_kv_version_1(self):
        mount = self.space.mount("kv", "kv1", version="1")
        self.admin.write(f"{mount}/{ENVIRONMENT}/web", {"password": FIRST})
        with self.agent(mount=mount) as sidecar:
            self.renders(sidecar)
            self.admin.write(f"{mount}/{ENVIRONMENT}/web", {"password": SECOND})
            sidecar.until_file("web.txt", f"{SECOND}\n")

    def read_kv_version_2_and_notify(self):
        with self.agent() as sidecar:
            sidecar.web["notify"] = {"process": {"name": (name := f"compat{os.getpid()}")}}
            self.renders(sidecar)
            app = App(name, sidecar.directory / "web.txt")
            try:
                assert app.first == FIRST
                self.put(SECOND)
                assert app.hears() == SECOND
                sidecar.until(lambda status: not status["apps"]["web"]["notify"]["pending"], PATIENCE)
            finally:
                app.close()
                self.put(FIRST)

    def renew_the_token(self):
        credentials = self.role("short", token_ttl="12s", token_max_ttl="1h")
        with self.agent(credentials=credentials) as sidecar:
            self.renders(sidecar)
            first = sidecar.status()["token"]
            renewed = sidecar.until(lambda status: status["token"]["expires_at"] > first["expires_at"], PATIENCE)
            assert renewed["token"]["accessor"] == first["accessor"]

    def restart_after_a_kill(self):
        with self.agent() as sidecar:
            self.renders(sidecar)
            first = sidecar.status()["token"]["accessor"]
            sidecar.close()
            self.renders(sidecar)
            assert sidecar.status()["token"]["accessor"] == first

    def issue_a_certificate(self):
        mount = self.space.mount("pki")
        self.admin.write(f"{mount}/root/generate/internal", {"common_name": "compat", "ttl": "1h"})
        self.admin.write(
            f"{mount}/roles/web", {"allow_any_name": True, "max_ttl": "30m", "key_type": "ec", "key_bits": 256}
        )
        with self.agent() as sidecar:
            call = f'certificate("{mount}/issue/web", common_name="web.example", ttl="10m").certificate'
            sidecar.template("cert.pem.j2", f"{{{{ {call} }}}}\n")
            self.renders(sidecar)
            assert "BEGIN CERTIFICATE" in (sidecar.directory / "cert.pem").read_text()

    def issue_and_revoke_a_lease(self):
        mount = self.space.mount("ssh")
        self.admin.write(f"{mount}/roles/web", {"key_type": "otp", "default_user": "web", "cidr_list": "0.0.0.0/0"})
        with self.agent(leases={"on_stop": "revoke"}) as sidecar:
            sidecar.template("otp.txt.j2", f'{{{{ vault("{mount}/creds/web", ip="127.0.0.1").key }}}}\n')
            self.renders(sidecar)
            password = (sidecar.directory / "otp.txt").read_text().strip()
            assert [lease["state"] for lease in sidecar.status()["leases"]]
            sidecar.stop()
        # A one-time password that is revoked is not known any more.
        try:
            self.admin.write(f"{mount}/verify", {"otp": password})
        except LesseeError:
            return
        raise AssertionError("the one-time password is valid after its lease was revoked")

    def renew_and_revoke_a_database_lease(self):
        if not self._database:
            raise NotTriedError("needs COMPAT_DATABASE, the URL of a PostgreSQL that the server reaches")
        url, mount = urllib.parse.urlsplit(self._database), self.space.mount("database")
        host = url.netloc.rpartition("@")[2]
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": f"{url.scheme}://{{{{username}}}}:{{{{password}}}}@{host}{url.path}?{url.query}",
            "username": urllib.parse.unquote(url.username or ""),
            "password": urllib.parse.unquote(url.password or ""),
            "allowed_roles": "web",
        }
        self.admin.write(f"{mount}/config/main", connection)
        role = {"db_name": "main", "creation_statements": [_CREATE_USER], "revocation_statements": [_DROP_USER]}
        self.admin.write(f"{mount}/roles/web", role | {"default_ttl": "12s", "max_ttl": "1h"})
        with self.agent(leases={"on_stop": "revoke"}) as sidecar:
            call = f'dynamic("{mount}/creds/web").username'
            sidecar.template("user.txt.j2", f"{{{{ {call} }}}}\n")
            self.renders(sidecar)
            user = (sidecar.directory / "user.txt").read_text()
            sidecar.until(lambda status: status["totals"]["lease_renewals"] > 0, PATIENCE)
            assert (sidecar.directory / "user.txt").read_text() == user
            sidecar.stop()
            assert "revocation failed" not in sidecar.log.read_text()

    def read_in_a_namespace(self):
        try:
            namespace = self.space.child()
        except LesseeError as exc:
            raise NotTriedError("the server has no namespaces, or the token may not create one") from exc
        with client(namespace) as admin:
            admin.write(f"sys/mounts/{self.kv}", {"type": "kv", "options": {"version": "2"}})
            admin.write(f"{self.kv}/data/{ENVIRONMENT}/web", {"data": {"password": SECOND}})
            text = f'path "{self.kv}/*" {{ capabilities = ["read", "list"] }}'
            admin.write(f"sys/policies/acl/{self.policy}", {"policy": text}, method="PUT")
            admin.write(f"sys/auth/{self.approle}", {"type": "approle"})
            credentials = self.role("agent", admin)
            with self.agent(credentials=credentials, namespace=namespace) as sidecar:
                self.renders(sidecar, SECOND)

    def login_of_yours(self):
        """`COMPAT_LOGIN`: a JSON file with `auth`, as in lessee.yaml, and a `template` that this login may render."""
        if not (file := os.environ.get("COMPAT_LOGIN")):
            raise NotTriedError("needs COMPAT_LOGIN, a file with your `auth` and a `template`")
        given = json.loads(Path(file).read_text())
        with self.agent(auth=given["auth"]) as sidecar:
            sidecar.template("web.txt.j2", given["template"])
            self.start(sidecar)


JOBS = {
    "log in by `token`": Jobs.log_in_by_token,
    "log in by `approle`": Jobs.log_in_by_approle,
    "log in by `userpass`": Jobs.log_in_by_userpass,
    "log in by `jwt`": Jobs.log_in_by_jwt,
    "log in by a method of yours": Jobs.login_of_yours,
    "unwrap a secret_id": Jobs.unwrap_a_secret_id,
    "read KV version 1, and publish a change": Jobs.read_kv_version_1,
    "read KV version 2, publish a change, and notify the app": Jobs.read_kv_version_2_and_notify,
    "renew the token": Jobs.renew_the_token,
    "use token and state again after `kill -9`": Jobs.restart_after_a_kill,
    "issue a certificate": Jobs.issue_a_certificate,
    "issue a lease, and revoke it at the stop": Jobs.issue_and_revoke_a_lease,
    "renew a database's lease, and revoke it at the stop": Jobs.renew_and_revoke_a_database_lease,
    "log in and read in a namespace": Jobs.read_in_a_namespace,
}


def write_private(file, text):
    """Write a credential that only this user can read."""
    file.touch(mode=0o600)
    file.write_text(text)
    return file
