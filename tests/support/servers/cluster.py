"""A real OpenBao cluster on loopback: nodes with raft storage, of which any may be stopped."""

import json
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lessee.host.openbao import find_bao

PATIENCE = 60.0
_CONFIG = """
ui           = false
api_addr     = "{address}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable     = true
}}
storage "raft" {{
  path                   = "{folder}/data"
  node_id                = "{name}"
  performance_multiplier = 1
}}
"""


@dataclass
class Node:
    address: str
    folder: Path
    process: subprocess.Popen | None = None


class Cluster:
    """`with Cluster(folder) as cluster:` gives it initialised, unsealed and with an active node."""

    def __init__(self, folder, nodes=3, config=""):
        """`config`: HCL for each node, in addition."""
        ports = _ports(2 * nodes)
        self.nodes = [Node(f"http://127.0.0.1:{ports[i]}", folder / f"node{i}") for i in range(nodes)]
        for i, node in enumerate(self.nodes):
            said = _CONFIG.format(
                address=node.address,
                port=ports[i],
                cluster_port=ports[nodes + i],
                folder=node.folder,
                name=node.folder.name,
            )
            (node.folder / "data").mkdir(parents=True)
            (node.folder / "node.hcl").write_text(said + config)

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for i in range(len(self.nodes)):
            self.stop(i)

    def start(self, i, *, unseal=True):
        node = self.nodes[i]
        # Without its autopilot a node votes from the first moment on, not from the tenth second.
        environ = {"HOME": str(node.folder), "BAO_RAFT_AUTOPILOT_DISABLE": "true"}
        with (node.folder / "log").open("ab") as log:
            arguments = [find_bao(), "server", f"-config={node.folder / 'node.hcl'}"]
            node.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        _until(lambda: self.health(i), f"node {i} to answer")
        if unseal:
            self.unseal(i)

    def stop(self, i):
        """Kill a node, without a clean shutdown."""
        node = self.nodes[i]
        if node.process is not None:
            node.process.kill()
            node.process.wait()
            node.process = None

    def seal(self, i):
        """Restart a node and leave it sealed."""
        self.stop(i)
        self.start(i, unseal=False)

    def unseal(self, i):
        def unsealed():
            try:
                return not self.ask(i, "PUT", "sys/unseal", {"key": self.unseal_key})["sealed"]
            except RuntimeError:
                return False  # It has not joined yet.

        _until(unsealed, f"node {i} to be unsealed")

    def active(self):
        """Wait until there is an active node and every other running, unsealed one follows it; its index."""

        def healths():
            return [self.health(i) for i, node in enumerate(self.nodes) if node.process is not None]

        _until(lambda: (found := healths()).count(200) == 1 and set(found) <= {200, 429, 473, 503}, "an active node")
        return next(i for i in range(len(self.nodes)) if self.health(i) == 200)

    def agree(self, path, body):
        """Write, and wait until every node reads it."""
        self.ask(self.active(), "POST", path, body)
        for i in range(len(self.nodes)):
            _until(lambda i=i: self._reads(i, path, body), f"node {i} to read {path}")

    def health(self, i):
        """The status of sys/health; 0 if the node does not answer."""
        try:
            with urllib.request.urlopen(f"{self.nodes[i].address}/v1/sys/health", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code
        except OSError:
            return 0

    def ask(self, i, method, path, body=None, *, timeout=10):
        """One request with the root token. Raises RuntimeError with the status where it is refused."""
        headers = {"X-Vault-Token": self.root_token}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.nodes[i].address}/v1/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                raise RuntimeError(f"{method} {path}: {exc.code}") from None
        return json.loads(content) if content else {}

    def _begin(self):
        self.root_token = ""
        self.start(0, unseal=False)
        said = self.ask(0, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root_token, self.unseal_key = said["root_token"], said["keys"][0]
        self.unseal(0)
        self.active()  # the others join what is there
        for i in range(1, len(self.nodes)):
            self.start(i, unseal=False)
            self.ask(i, "POST", "sys/storage/raft/join", {"leader_api_addr": self.nodes[0].address})
            self.unseal(i)
        self.active()

    def _reads(self, i, path, body):
        try:
            return self.ask(i, "GET", path)["data"] == body
        except RuntimeError:
            return False


def _ports(count):
    """Free ones below those that the kernel gives to clients: a node is started a second after they are chosen."""
    found = []
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            if len(found) < count and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def _until(true, what):
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {what}")
        time.sleep(0.05)
