"""A sidecar whose server attacks it: what the attack costs, and what is left of it."""

import time
from pathlib import Path

from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy

POLICY = """
path "secret/*"          { capabilities = ["read", "list"] }
path "pki/*"             { capabilities = ["create", "update"] }
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
TEMPLATES = {
    "db.env.j2": 'PASSWORD={{ secret("db").password }}\n',
    "all.json.j2": '{{ secrets("keys/") | json }}\n',
    "cert.pem.j2": '{{ dynamic("pki/issue/web", common_name="a.test", method="POST").certificate }}\n',
}

A_MINUTE = 60.0
EARLY = ("auth/", "pki/")
"""An attack at these paths begins before the start: tokens and leases are rarely asked for later."""


def prepare(bao):
    """The certificates that all attacked sidecars lease."""
    bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
    bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h"})
    bao.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h", "generate_lease": True})


class Attacked:
    """A sidecar, the proxy on its way to Vault, and an attack there."""

    def __init__(self, bao, disk, memory, path, fault):
        """`path`: the text in the paths at which the attack happens, empty for all."""
        self.proxy = Proxy(bao.port)
        self.path, self.fault = path, fault
        self._bao, self._folder = bao, f"{memory.parent.name}-{memory.name}"
        self.sidecar = Sidecar(self.proxy.address, disk, memory, environment=self._folder)
        self._write()
        bao.put(f"{self._folder}/keys/one", value="1")
        self.sidecar.log_in_by_approle(bao, POLICY)
        self.sidecar.web["refresh_interval"] = "30s"
        self.sidecar.config["leases"] = {"on_stop": "revoke"}
        for name, text in TEMPLATES.items():
            self.sidecar.template(name, text)
        self.began = 0.0

    def start(self):
        """Start the sidecar. What its login and leases suffer, it suffers from the start."""
        if self.path in EARLY:
            self._attack()
        self.sidecar.start()

    def begin(self):
        """Attack at the next request: all secrets are checked now."""
        if self.path not in EARLY:
            self._attack()
        self._write()
        self.sidecar.command("refresh")
        eventually(lambda: self.proxy.count(self.path, since=self.began), "a request")

    def _write(self):
        """A new version of the secret, so that it is read and not only its metadata."""
        self._bao.put(f"{self._folder}/db", password="first")

    def _attack(self):
        self.began = time.monotonic()
        if self.path:
            self.proxy.on_path(self.path, self.fault)
        else:
            self.proxy.fault = self.fault

    def close(self):
        self.sidecar.close()
        self.proxy._shut()

    @property
    def requests(self):
        """The number of requests in the first minute of the attack."""
        return sum(self.began <= request.at < self.began + A_MINUTE for request in list(self.proxy.requests))

    @property
    def peak(self):
        """The most memory that the sidecar has used (RSS), in MiB."""
        return self._field("VmHWM") / 1024

    @property
    def threads(self):
        return self._field("Threads")

    @property
    def descriptors(self):
        """The number of sockets to its server."""
        ours = {str(path.readlink()) for path in Path(f"/proc/{self.sidecar.pid}/fd").iterdir()}
        hexadecimal = f":{self.proxy.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(f"socket:[{row[9]}]" in ours for row in rows if row[2].endswith(hexadecimal))

    def stop(self):
        """SIGTERM; the seconds until its end, and its exit code."""
        began = time.monotonic()
        code = self.sidecar.stop()
        return time.monotonic() - began, code

    def _field(self, name):
        text = Path(f"/proc/{self.sidecar.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))
