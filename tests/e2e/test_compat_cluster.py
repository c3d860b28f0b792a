"""What `make compat` does on a cluster, as far as a machine without one can try it: all but kubectl's own work."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

import kubernetes_validate
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from compat.cluster import APP, ENVIRONMENT, FILE, FIRST, JOBS, Cluster, ClusterError, content, pems
from compat.space import Space, client
from e2e.test_compat import PAGE, run, state
from lessee.host.openbao import ROOT_TOKEN, free_port
from support.needs import need
from support.pod_security import violations, weaknesses
from support.programs.sidecar import Sidecar
from support.servers.jwt_signer import Signer, _encoded

IMAGE = "registry.example/lessee:0.2.0"
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())


@pytest.fixture
def cluster(server, monkeypatch):
    """The server's side is real."""
    need(shutil.which("kubectl"), "needs kubectl: apt install kubectl")
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    with client() as admin:
        yield Cluster(Space(admin), "no-context", IMAGE, server.address)


def test_a_service_account_of_the_cluster_logs_in_and_the_sidecar_renders(cluster, server, tmp_path, memory):
    before, keys = state(server), Signer()
    cluster.set_up_vault(pems(keys.key_set()))
    objects = {each["kind"]: each for each in cluster.objects() if each["metadata"]["name"] != "vault-ca"}
    agent = Sidecar(server.address, tmp_path, memory)
    for name, text in objects["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text)
    agent.config = yaml.safe_load(objects["ConfigMap"]["data"]["lessee.yaml"])
    subject = f"system:serviceaccount:{objects['ServiceAccount']['metadata']['namespace']}:app"
    (tmp_path / "token").write_text(keys.sign(sub=subject, aud=["vault"], iss="https://kubernetes.default.svc"))
    (tmp_path / "status-token").write_text("canary-status-0123456789")
    # The paths of this machine.
    agent.config["vault"]["auth"]["jwt_file"] = str(tmp_path / "token")
    agent.config["state_dir"] = str(agent.state)
    agent.config["status"] = {"socket": str(agent.socket)}
    agent.config["apps"]["app"] |= {"directory": str(agent.directory), "owner": f"{os.getuid()}:{os.getgid()}"}
    del agent.config["apps"]["app"]["notify"]
    agent.environ |= {"VAULT_TOKEN": "", "LESSEE_ENVIRONMENT": ""}
    try:
        agent.start()
        assert (agent.directory / "app.env").read_text() == content(FIRST)
    finally:
        agent.close()
    assert cluster.space.close() == []
    assert state(server)["sys/mounts"] == before["sys/mounts"]
    assert state(server)["identity/entity/id"] == before["identity/entity/id"]


@pytest.mark.thorough
@pytest.mark.parametrize("version", VERSIONS)
def test_what_kubectl_applies_is_valid_and_strict_and_in_its_own_namespace(cluster, version):
    objects = cluster.objects()
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
        named = each["metadata"]["name"] if each["kind"] == "Namespace" else each["metadata"]["namespace"]
        assert named == cluster.name
    [pod] = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    assert [*violations(pod), *weaknesses(pod)] == []
    assert {each["image"] for each in pod["initContainers"] + pod["containers"]} == {IMAGE}
    assert not [value for value in (FIRST, ROOT_TOKEN) if value in json.dumps(objects)]


def test_the_app_says_what_it_has_read_at_each_request(tmp_path):
    file, port = tmp_path / "app.env", free_port()
    file.write_text("one")
    program = APP.replace(FILE, str(file)).replace("8080", str(port))
    app = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout.readline().strip() == hashlib.sha256(b"one").hexdigest()
        file.write_text("two")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/reload", method="POST")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(request, timeout=10).close()
            except urllib.error.URLError:
                continue
            break
        assert app.stdout.readline().strip() == hashlib.sha256(b"two").hexdigest()
    finally:
        app.kill()
        app.communicate()


def test_the_keys_of_a_cluster_are_the_ones_that_vault_takes():
    signer, key = Signer(), ec.generate_private_key(ec.SECP256R1()).public_key()
    numbers = key.public_numbers()
    x, y = (_encoded(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    published = {"keys": [*signer.key_set()["keys"], {"kty": "EC", "crv": "P-256", "x": x, "y": y}]}
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert pems(published) == [signer.public_key, pem]


@pytest.mark.thorough
def test_a_cluster_that_cannot_be_used_is_an_error_before_anything_is_created(server, tmp_path, cluster):
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
    config["clusters"] = [{"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}]
    config["contexts"] = [{"name": "away", "context": {"cluster": "away", "user": ""}}]
    (tmp_path / "config").write_text(json.dumps(config))
    environ = {"KUBECONFIG": str(tmp_path / "config"), "COMPAT_POD_VAULT_ADDR": "https://vault.example"}
    before = state(server)
    for context, error in ("away", "127.0.0.1:1"), ("missing", "missing"):
        code, report, errors = run(server, f"--context={context}", f"--image={IMAGE}", folder=tmp_path, **environ)
        assert (code, report) == (1, "")
        assert error in errors
        assert len(errors.splitlines()) == 1
    del environ["COMPAT_POD_VAULT_ADDR"]
    code, _, errors = run(server, "--context=away", f"--image={IMAGE}", folder=tmp_path, **environ)
    assert (code, "set COMPAT_POD_VAULT_ADDR" in errors) == (1, True)
    code, _, errors = run(server, "--context=away", folder=tmp_path)
    assert (code, "--context needs --image" in errors) == (1, True)
    assert state(server) == before
    with pytest.raises(ClusterError):
        cluster.version()


def test_the_page_has_each_job_of_a_cluster_and_says_that_none_was_tried():
    section = PAGE.read_text().partition("## Kubernetes")[2].partition("\n## ")[0]
    assert [f"| {job} | |" for job in JOBS] == [line for line in section.splitlines() if line.endswith(" | |")]
    assert ENVIRONMENT == "compat"
