"""A server with a backup, and a configuration whose three apps a drill plays."""

import json
import subprocess
import sys

from lessee.host.openbao import ROOT_TOKEN
from support.environments.backups import make_key
from support.programs.sidecar import Sidecar

CANARY = "canary-52d7"
POLICY = 'path "secret/data/production/*" { capabilities = ["read"] }'


def fill(server):
    """What the apps of `Drills` read, and an engine of each kind that an archive cannot restore.

    Returns the role_id of the dashboard's agent.
    """
    server.put(
        "production/database/postgres", host="db", port="5432", username="simba", password=f"{CANARY}-postgres-password"
    )
    server.put("production/api-keys/openrouter", api_key=f"{CANARY}-sk-or-v1-0123456789")
    server.ask("POST", "secret/metadata/production/api-keys/openrouter", {"cas_required": True})
    server.put("production/frontend/app", VITE_API_URL="https://api.simba.local", session_secret=f"{CANARY}-session")
    # A real agent that has confirmed a version, and is not in a drill.
    reported = {"custom_metadata": {"database/postgres": "1", "api-keys/openrouter": "1", "lessee/generation": "1"}}
    for app in ("simba", "assistant"):
        server.ask("POST", f"secret/metadata/production/lessee/consumers/{app}/host-1", reported)
    server.put("testing/database/postgres", password=f"{CANARY}-testing")
    ask = server.ask
    ask("POST", "sys/mounts/production/pki", {"type": "pki", "config": {"max_lease_ttl": "240h"}})
    ask("POST", "production/pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h", "key_type": "ec"})
    ask("POST", "production/pki/roles/web", {"allow_any_name": True, "ttl": "1h", "key_type": "ec"})
    ask("POST", "sys/mounts/production/database", {"type": "database"})
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:9/postgres",
        "username": "root",
        "password": f"{CANARY}-connection",
        "verify_connection": False,
        "allowed_roles": ["*"],
    }
    ask("POST", "production/database/config/main", connection)
    creation = {"db_name": "main", "creation_statements": ["CREATE ROLE"], "default_ttl": "1h", "max_ttl": "24h"}
    ask("POST", "production/database/roles/simba", creation)
    role_id, _ = server.approle("production-dashboard", POLICY)
    return role_id


class Drills(Sidecar):
    """`lessee drill` with a configuration like that of a real environment; its real systems are at `address`."""

    def __init__(self, address, disk, memory):
        super().__init__(address, disk, memory, environment="production")
        self.key, self.reports, self.metrics, self.touched = (
            disk / name for name in ("key.txt", "reports", "metrics", "touched")
        )
        make_key(self.key)
        for folder in (self.reports, self.metrics):
            folder.mkdir()
        self.environ["LESSEE_BACKUP_KEY_FILE"] = str(self.key)
        touch = ["touch", str(self.touched)]
        self.config = {
            "vault": {"address": address},
            "state_dir": str(self.state),
            "setup": {"environments": ["testing", "production"]},
            "apps": {
                "simba": {
                    "directory": str(memory / "simba"),
                    "refresh_interval": "200ms",
                    "files": [{"template": "simba.env.j2"}, {"template": "tls/server.pem.j2"}],
                    "check": [*touch],
                    "notify": {"command": touch},
                    "ready": {"command": touch},
                    "on_expiry": {"command": touch},
                },
                "assistant": {
                    "directory": str(memory / "assistant"),
                    "refresh_interval": "200ms",
                    "files": [{"template": "assistant.json.j2"}],
                },
                "dashboard": {
                    "directory": str(memory / "dashboard"),
                    "refresh_interval": "200ms",
                    "env_template": "dashboard.env.j2",
                    "vault": {"auth": {"method": "approle", "role_id_file": str(disk / "role_id")}},
                    "public_variables": ["VITE_API_URL"],
                },
            },
            "rotation": {
                "postgres": {
                    "kind": "postgres",
                    "secret": "database/postgres",
                    "admin_secret": "database/admin",
                    "roles": ["simba_a", "simba_b"],
                },
                "openrouter": {"kind": "manual", "secret": "api-keys/openrouter", "keys": ["api_key"]},
            },
            "backup": {"directory": str(disk / "archives"), "metrics_directory": str(self.metrics)},
            "drill": {"directory": str(self.reports), "outage": "2s"},
        }
        (disk / "tls").mkdir()
        self.write_template(
            "simba.env.j2",
            'POSTGRES_PASSWORD={{ secret("database/postgres").password }}\n'
            'POSTGRES_PORT={{ secret("database/postgres").port | int }}\n'
            'LEASED={{ dynamic("production/database/creds/simba").password }}\n',
        )
        self.write_template("tls/server.pem.j2", CERTIFICATE)
        self.write_template("assistant.json.j2", '{"key": {{ secret("api-keys/openrouter").api_key | tojson }}}\n')
        self.write_template(
            "dashboard.env.j2",
            'VITE_API_URL={{ secret("frontend/app").VITE_API_URL }}\n'
            'SESSION={{ secret("frontend/app").session_secret }}\n',
        )

    def write_template(self, name, text):
        """Write a template next to the configuration."""
        (self.disk / name).write_text(text)

    def save(self):
        """Save a backup of the real server."""
        self.write_config()
        said = self.command("backup", "save")
        assert said.returncode == 0, said.stderr

    def drill(self, *arguments, code=0, text="", **settings):
        """Run `lessee drill`, without a token, and return its output. Checks that no value is printed or written."""
        self.write_config()
        said = self.command("drill", *arguments, env={"VAULT_TOKEN": "", **settings})
        assert said.returncode == code, (said.returncode, said.stdout, said.stderr)
        assert "Traceback" not in said.stderr
        assert text in said.stdout + said.stderr
        written = "".join(file.read_text() for file in self.reports.iterdir())
        assert CANARY not in said.stdout + said.stderr + written
        assert ROOT_TOKEN not in said.stdout + said.stderr + written
        return said.stdout

    def begin(self, *arguments):
        """Start `lessee drill`, and return its process."""
        self.write_config()
        return subprocess.Popen(
            [sys.executable, "-m", "lessee", "drill", *arguments],
            cwd=self.disk,
            env={**self.environ, "VAULT_TOKEN": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def report(self):
        """The newest report."""
        *_, newest = sorted(self.reports.glob("lessee-drill-*.json"))
        return json.loads(newest.read_text())


CERTIFICATE = """\
{% set tls = certificate("production/pki/issue/web", common_name="simba.local", ttl="1h") %}
{{ tls.certificate }}
{{ tls.private_key }}
"""
