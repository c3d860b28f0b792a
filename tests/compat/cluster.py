"""The jobs of a native sidecar that `make compat` tries on a Kubernetes cluster, in a namespace of its own.

They are the manifests of compose/kubernetes, with an app of one page of Python. No test of the project has a cluster:
tests/e2e/test_compat_cluster.py tries what needs none.
"""

import base64
import copy
import hashlib
import json
import secrets
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from compat.report import NotTriedError
from support.paths import ROOT

BASE = ROOT / "compose/kubernetes"
ENVIRONMENT, FIRST, SECOND = "compat", "first-value", "second-value"
FILE = "/secrets/app/app.env"
TIMEOUT = 300
# It says which content it has read, by its hash.
APP = f"""
import hashlib
from http.server import BaseHTTPRequestHandler, HTTPServer

def say():
    print(hashlib.sha256(open("{FILE}", "rb").read()).hexdigest(), flush=True)

class Reload(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(204)
        self.end_headers()
        say()
    def log_message(self, *_):
        pass

say()
HTTPServer(("127.0.0.1", 8080), Reload).serve_forever()
"""
_CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


class ClusterError(Exception):
    """What kubectl said."""


class Cluster:
    """The cluster of a kubectl context. `close` removes the namespace."""

    def __init__(self, space, context, image, address, ca_file=None):
        self.space, self.name, self._context = space, space.name, context
        self._image, self._address, self._ca_file = image, address, ca_file
        self._is_created = self._has_started = False
        self._kv = self._jwt = ""

    def missing_rights(self):
        """What the context may not do and must, as lines. It raises ClusterError where the cluster cannot be used."""
        if urllib.parse.urlsplit(self._address).hostname in {"localhost", "127.0.0.1", "::1"}:
            raise ClusterError(
                f"no pod can reach {self._address}; set COMPAT_POD_VAULT_ADDR to an address that pods reach"
            )
        self.kubectl("version", "--output=json")
        for right in ("create namespaces", "delete namespaces", "create deployments.apps", "create pods/exec"):
            if self._allowed(right) != "yes":
                yield right
        # `can-i` does not know which paths there are.
        try:
            self.kubectl("get", "--raw", "/openid/v1/jwks")
        except ClusterError:
            yield "get /openid/v1/jwks"

    def set_up(self):
        """Create Vault's side, then the namespace with its app."""
        keys = json.loads(self.kubectl("get", "--raw", "/openid/v1/jwks"))
        self.set_up_vault(pems(keys))
        self._is_created = True
        self._apply(self.objects())

    def set_up_vault(self, keys):
        """Let the service account of the app log in with a token that one of these keys has signed."""
        admin, self._jwt = self.space.admin, self.space.auth("jwt-cluster", kind="jwt")
        self._kv = self.space.mount("kv", "cluster", version="2")
        self.put(FIRST)
        policy = self.space.policy(f'path "{self.space.name}-*" {{ capabilities = ["read", "list"] }}', "cluster")
        admin.write(f"auth/{self._jwt}/config", {"jwt_validation_pubkeys": keys})
        subject = f"system:serviceaccount:{self.name}:app"
        bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": subject}
        admin.write(f"auth/{self._jwt}/role/app", bound | {"token_policies": [policy], "token_ttl": "20m"})

    def put(self, password):
        """Write the secret of the app."""
        secret = {"data": {"username": "app", "password": password}}
        self.space.admin.write(f"{self._kv}/data/{ENVIRONMENT}/database", secret)

    def objects(self):
        """What `kubectl apply` gets: compose/kubernetes with this server, image and app."""
        built = list(yaml.safe_load_all(_run("kubectl", "kustomize", str(BASE))))
        objects = {each["kind"]: copy.deepcopy(each) for each in built}
        # Where this server is, no policy of an example knows.
        del objects["NetworkPolicy"]
        objects["Namespace"]["metadata"]["name"] = self.name
        config = yaml.safe_load(objects["ConfigMap"]["data"]["lessee.yaml"])
        config["environment"], config["secrets"] = ENVIRONMENT, {"mount": self._kv}
        config["vault"] |= {"address": self._address, "insecure_http": True}
        config["vault"]["auth"]["mount"] = self._jwt
        if self.space.namespace:
            config["vault"]["namespace"] = self.space.namespace
        if not self._ca_file:
            del config["vault"]["ca_file"]
        config["apps"]["app"]["refresh_interval"] = "1s"
        objects["ConfigMap"]["data"]["lessee.yaml"] = json.dumps(config)
        deployment = objects["Deployment"]["spec"]
        deployment["replicas"] = 1
        pod = deployment["template"]["spec"]
        for container in pod["initContainers"] + pod["containers"]:
            container["image"] = self._image
        pod["containers"][0]["command"] = ["/opt/lessee/bin/python", "-c", APP]
        pod["initContainers"][0]["startupProbe"]["failureThreshold"] = TIMEOUT
        ca = Path(self._ca_file).read_text() if self._ca_file else "none\n"
        status = {"token": secrets.token_hex(16)}
        more = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vault-ca"}, "data": {"ca.crt": ca}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lessee-status"}, "stringData": status},
        ]
        listed = [*objects.values(), *more]
        for each in listed:
            if each["kind"] != "Namespace":
                each["metadata"]["namespace"] = self.name
        return listed

    # Each is a job.

    def start_before_the_app(self):
        self.set_up()
        self._roll_out()
        self._has_started = True
        assert self._file() == content(FIRST)

    def publish_a_change_and_notify(self):
        self._must_have_started()
        self.put(SECOND)
        wanted = hashlib.sha256(content(SECOND).encode()).hexdigest()
        self._until(
            lambda: wanted in self._in_namespace("logs", "deployment/app", "--container=app"), "the app's reload"
        )

    def restart_in_place(self):
        self._must_have_started()
        kill = ("--container=lessee", "--", "/opt/lessee/bin/python", "-c", "import os; os.kill(1, 15)")
        self._in_namespace("exec", "deployment/app", *kill)
        path = "{.items[0].status.initContainerStatuses[0].restartCount}"
        self._until(lambda: int(self._in_namespace("get", "pods", f"--output=jsonpath={path}") or 0) > 0, "a restart")
        self._roll_out()
        assert self._file() == content(SECOND)

    def survive_the_pod(self):
        self._must_have_started()
        self._in_namespace("delete", "pods", "--all", "--wait", f"--timeout={TIMEOUT}s")
        self._roll_out()
        assert self._file() == content(SECOND)

    def close(self):
        """Remove the namespace; return what is left."""
        if not self._is_created:
            return []
        try:
            self.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait", f"--timeout={TIMEOUT}s")
        except ClusterError as exc:
            return [f"namespace {self.name}: {exc}"]
        return []

    def remains(self):
        """The namespaces that runs left."""
        listed = self.kubectl("get", "namespaces", "--output=name").split()
        return [name.removeprefix("namespace/") for name in listed if name.startswith("namespace/lessee-compat-")]

    def kubectl(self, *arguments, text=None):
        """The output of kubectl in this context."""
        return _run("kubectl", f"--context={self._context}", "--request-timeout=60s", *arguments, text=text)

    def version(self):
        """The server's version, such as v1.34.1."""
        return json.loads(self.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]

    def _must_have_started(self):
        if not self._has_started:
            raise NotTriedError("the sidecar has not started")

    def _apply(self, objects):
        text = "\n---\n".join(map(json.dumps, objects))
        self.kubectl("apply", "--filename=-", text=text)

    def _in_namespace(self, *arguments):
        return self.kubectl(f"--namespace={self.name}", *arguments)

    def _roll_out(self):
        self._in_namespace("rollout", "status", "deployment/app", f"--timeout={TIMEOUT}s")

    def _file(self):
        reading = ("--container=app", "--", "/opt/lessee/bin/python", "-c", f"print(open('{FILE}').read(), end='')")
        return self._in_namespace("exec", "deployment/app", *reading)

    def _allowed(self, right):
        try:
            return self.kubectl("auth", "can-i", *right.split()).strip()
        except ClusterError:  # `no` is exit code 1.
            return "no"

    def _until(self, check, what):
        end = time.monotonic() + TIMEOUT
        while not check():
            if time.monotonic() > end:
                raise ClusterError(f"{what} did not happen within {TIMEOUT} s")
            time.sleep(1)


JOBS = {
    "the sidecar starts before the app, and renders its files": Cluster.start_before_the_app,
    "a change is published, and the app notified": Cluster.publish_a_change_and_notify,
    "the agent restarts in place, and the files stay": Cluster.restart_in_place,
    "a new pod has the files after the old one was deleted": Cluster.survive_the_pod,
}


def content(password):
    """The app's file."""
    return f"DATABASE_USER='app'\nDATABASE_PASSWORD='{password}'\n"


def pems(key_set):
    """The public keys of a JWKS (RFC 7517), which Vault takes in PEM format."""
    return [_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in key_set["keys"]]


def _key(key):
    if key["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
    return ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), _CURVES[key["crv"]]()).public_key()


def _number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _run(*command, text=None):
    if shutil.which(command[0]) is None:
        raise ClusterError(f"{command[0]} not found (Debian: apt install {command[0]})")
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        )
    return done.stdout
