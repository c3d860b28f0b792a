"""kubectl reads the templates: it authenticates with the token or the certificate from Vault."""

import json
import os
import shutil
import subprocess

import pytest

from lessee.host.openbao import OpenBao
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import NUMBERS, rendered, written
from support.needs import need
from support.programs.sidecar import Sidecar
from support.servers.https_receiver import enable_authority, receiving

TOKEN = "kubernetes/kubeconfig.yaml.j2"
CERTIFICATE = "kubernetes/kubeconfig-certificate.yaml.j2"


@pytest.fixture
def authority(tmp_path):
    with OpenBao(tmp_path) as bao:
        enable_authority(bao)
        yield bao


@pytest.fixture
def cluster(authority, tmp_path):
    """A server that responds like the Kubernetes API."""
    with receiving(authority, tmp_path) as server:
        fields = {"server": f"https://{server.host}", "ca": server.authority.read_text(), "token": "a.b-c_d"}
        authority.put("testing/kubernetes/cluster", **fields)
        yield server


@pytest.fixture
def sidecar(authority, tmp_path, memory):
    agent = Sidecar(authority.address, tmp_path, memory)
    yield agent
    agent.close()


def kubectl(config, *arguments):
    need(shutil.which("kubectl"), "needs kubectl: apt install kubectl")
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": config}
    done = subprocess.run(["kubectl", *arguments], env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kubectl_sends_the_token_to_the_cluster_of_that_authority(sidecar, cluster):
    kubectl(str(rendered(sidecar, TOKEN) / "kubeconfig.yaml"), "get", "--raw", "/version")
    assert cluster.requests == [("/version", "Bearer a.b-c_d", None)]


def test_kubectl_sends_a_token_that_is_a_number_or_a_boolean(authority, sidecar, cluster):
    for value, text in NUMBERS.items():
        fields = {"server": f"https://{cluster.host}", "ca": cluster.authority.read_text(), "token": value}
        authority.put("testing/kubernetes/cluster", **fields)
        kubectl(str(rendered(sidecar, TOKEN) / "kubeconfig.yaml"), "get", "--raw", "/version")
        assert cluster.requests.pop() == ("/version", f"Bearer {text}", None)


def test_kubectl_sends_the_certificate_to_the_cluster_of_that_authority(sidecar, cluster):
    kubectl(str(rendered(sidecar, CERTIFICATE) / "kubeconfig-certificate.yaml"), "get", "--raw", "/version")
    assert cluster.requests == [("/version", None, "deployer")]


def test_kubectl_reads_every_hostile_token(tmp_path):
    paths = []
    for number, value in enumerate(VALUES):
        secrets = {"kubernetes/cluster": {"server": "https://k8s:6443", "ca": "x", "token": value}}
        paths.append(tmp_path / str(number))
        # kubectl merges many files into one configuration if their names differ.
        paths[-1].write_text(
            written(TOKEN, "yaml", secrets).replace("- name: default\n    user:", f"- name: u{number}\n    user:")
        )
    read = json.loads(kubectl(":".join(map(str, paths)), "config", "view", "--raw", "-o", "json"))
    assert {user["name"]: user["user"].get("token", "") for user in read["users"]} == {
        f"u{number}": value for number, value in enumerate(VALUES)
    }


def test_the_readme_names_every_template_and_its_configurations_are_right(tmp_path):
    readmes.check("kubernetes", tmp_path)
