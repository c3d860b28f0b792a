"""Checks the manifests of compose/kubernetes against Kubernetes' schemas, and runs their lessee.yaml with its users."""

import copy
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from e2e.engine import PYTHON
from lessee.host.openbao import ROOT_TOKEN, find_bao, free_port
from support.needs import need
from support.paths import ROOT
from support.pod_security import violations
from support.programs.sidecar import Sidecar, eventually
from support.programs.users import as_user
from support.servers.jwt_signer import Signer

FOLDER = ROOT / "compose/kubernetes"
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
ISSUER = "https://kubernetes.default.svc.cluster.local"
TOKEN = "canary-status-0123456789"
CLUSTER_WIDE = {"Namespace"}
AGENT_USER, APP_USER = (10001, 1000), (1000, 1000)
# An app that rereads its file at a request. First it says what it could read of the agent, which it may also signal.
HTTP_APP = """
import os, signal, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
port, path, file, state, status, agent = sys.argv[1:]

class Reload(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(204 if self.path == path else 404)
        self.end_headers()
        say()
    def log_message(self, *_):
        pass

def say():
    print(open(file).read().replace("\\n", " "), flush=True)

def attempts():
    yield lambda: os.listdir(state)
    yield lambda: socket.socket(socket.AF_UNIX).connect(status)
    for name in "environ", "mem", "root/etc":
        yield lambda: os.close(os.open(f"/proc/{agent}/{name}", os.O_RDONLY))
    for number in 0, signal.SIGHUP, signal.SIGKILL:
        yield lambda: os.kill(int(agent), number)

server = HTTPServer(("127.0.0.1", int(port)), Reload)
say()
stolen = []
for number, attempt in enumerate(attempts()):
    try:
        attempt()
        stolen.append(number)
    except PermissionError:
        pass
print(f"stolen: {stolen}", flush=True)
server.serve_forever()
"""


class PodAgent(Sidecar):
    """Its status is read at its port, as by Prometheus: root's own client does not trust another user's socket."""

    def status(self):
        request = urllib.request.Request(f"http://{self.config['status']['listen']}/status.json")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


class HttpApp:
    """The app's process, as the user of its container."""

    def __init__(self, url, file, *seeks):
        port, slash, path = url.rpartition(":")[2].partition("/")
        user = ("setpriv", f"--reuid={APP_USER[0]}", f"--regid={APP_USER[1]}", "--clear-groups", "--")
        command = [*user, PYTHON, "-c", HTTP_APP, port, slash + path, str(file), *seeks]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def hears(self):
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def manifests():
    """The manifests by kind, as `kubectl apply -k` sends them."""
    need(shutil.which("kubectl"), "needs kubectl: apt install kubectl")
    output = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True).stdout
    built = list(yaml.safe_load_all(output))
    by_kind = {manifest["kind"]: manifest for manifest in built}
    assert len(by_kind) == len(built)
    return by_kind


@pytest.fixture
def pod(manifests):
    """A copy of the pod, which a test breaks."""
    return copy.deepcopy(manifests["Deployment"]["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
def test_each_manifest_matches_the_schema_of_its_kind(manifests, version):
    assert set(manifests) == {"Namespace", "ServiceAccount", "ConfigMap", "Deployment", "NetworkPolicy"}
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)
        assert manifest["metadata"].get("namespace") == (None if manifest["kind"] in CLUSTER_WIDE else "app")


@pytest.mark.parametrize(
    "break_pod",
    [
        lambda pod: pod["initContainers"][0].update(restartpolicy="Always"),
        lambda pod: pod["volumes"][1]["projected"]["sources"][0]["serviceAccountToken"].update(expirationSeconds="10m"),
        lambda pod: pod["containers"][0]["volumeMounts"][0].pop("mountPath"),
        lambda pod: pod["securityContext"].update(readOnlyRootFilesystem=True),  # This field belongs to a container.
    ],
)
def test_the_schema_rejects_a_broken_manifest(manifests, break_pod):
    deployment = copy.deepcopy(manifests["Deployment"])
    break_pod(deployment["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def test_the_pod_meets_the_security_standard_that_its_namespace_enforces(manifests, pod):
    assert manifests["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert list(violations(pod)) == []


@pytest.mark.parametrize(
    ("break_pod", "violation"),
    [
        (lambda pod: pod.update(hostPID=True), "hostPID"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "runAsUser"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (lambda pod: pod["initContainers"][0]["securityContext"]["capabilities"].update(add=["KILL"]), "add"),
        (lambda pod: pod["containers"][0].pop("securityContext"), "drop"),
        (lambda pod: pod["volumes"].append({"name": "run", "hostPath": {"path": "/run"}}), "hostPath"),
    ],
)
def test_a_pod_that_violates_the_security_standard_is_found(pod, break_pod, violation):
    break_pod(pod)
    assert violation in " ".join(violations(pod))


def test_an_agent_of_the_apps_uid_meets_the_standard_and_one_with_a_capability_does_not(pod):
    """What the README says about an app that knows only SIGHUP."""
    pod["shareProcessNamespace"] = True
    security = pod["initContainers"][0]["securityContext"]
    security["runAsUser"] = APP_USER[0]
    assert list(violations(pod)) == []
    security |= {"runAsUser": 0, "runAsNonRoot": False}
    security["capabilities"]["add"] = ["KILL"]
    assert set(violations(pod)) == {"lessee: add", "lessee: runAsNonRoot", "lessee: runAsUser"}


def test_the_app_waits_for_a_restartable_sidecar_and_mounts_only_its_files(pod):
    (agent,), (app,) = pod["initContainers"], pod["containers"]
    assert agent["restartPolicy"] == "Always"
    assert agent["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["automountServiceAccountToken"] is False
    assert [(mount["name"], mount["readOnly"]) for mount in app["volumeMounts"]] == [("lessee-files", True)]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for name in "lessee-files", "lessee-state":
        assert volumes[name]["emptyDir"]["medium"] == "Memory"
        assert volumes[name]["emptyDir"]["sizeLimit"]
    token = volumes["lessee-identity"]["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["audience"], token["expirationSeconds"]) == ("vault", 600)
    [status] = [source["secret"] for source in volumes["lessee-identity"]["projected"]["sources"] if "secret" in source]
    assert status["items"] == [{"key": "token", "path": "status-token"}]


def test_agent_and_app_have_uids_of_their_own_one_group_and_no_shared_processes(manifests, pod):
    (agent,), (app,) = pod["initContainers"], pod["containers"]
    users = [pod["securityContext"] | container["securityContext"] for container in (agent, app)]
    assert [(user["runAsUser"], user["runAsGroup"]) for user in users] == [AGENT_USER, APP_USER]
    assert "shareProcessNamespace" not in pod
    assert pod["securityContext"]["fsGroup"] == APP_USER[1]
    config = yaml.safe_load(manifests["ConfigMap"]["data"]["lessee.yaml"])
    assert config["apps"]["app"]["owner"] == "10001:1000"
    assert config["apps"]["app"]["notify"] == {"http": "http://127.0.0.1:8080/reload"}


def test_the_component_adds_the_agent_to_labeled_workloads_of_another_repository_alone(tmp_path):
    need(shutil.which("kubectl"), "needs kubectl: apt install kubectl")
    shutil.copytree(FOLDER / "sidecar", tmp_path / "vendor")
    deployment = yaml.safe_load((FOLDER / "deployment.yaml").read_text())
    plain, stateful = copy.deepcopy(deployment), copy.deepcopy(deployment)
    plain["metadata"] = {"name": "plain"}
    stateful |= {"kind": "StatefulSet", "metadata": {"name": "stateful", "labels": {"lessee": "sidecar"}}}
    stateful["spec"]["serviceName"] = "stateful"
    kustomization = {"resources": ["workloads.yaml"], "components": ["vendor"]}
    (tmp_path / "workloads.yaml").write_text(yaml.safe_dump_all([deployment, plain, stateful]))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=True)
    built = {each["metadata"]["name"]: each for each in yaml.safe_load_all(done.stdout)}
    assert built["plain"] == plain
    for name in "app", "stateful":
        kubernetes_validate.validate(built[name], VERSIONS[-1], strict=True)
        pod = built[name]["spec"]["template"]["spec"]
        assert [agent["restartPolicy"] for agent in pod["initContainers"]] == ["Always"]
        assert list(violations(pod)) == []
        assert pod["containers"] == deployment["spec"]["template"]["spec"]["containers"]


def test_each_path_that_the_agent_writes_or_reads_is_on_a_volume(manifests, pod):
    config = yaml.safe_load(manifests["ConfigMap"]["data"]["lessee.yaml"])
    mounts = {mount["mountPath"]: mount for mount in pod["initContainers"][0]["volumeMounts"]}

    def mount_of(path):
        return next(mounts[str(parent)] for parent in Path(path).parents if str(parent) in mounts)

    written_paths = [config["state_dir"], config["status"]["socket"], config["apps"]["app"]["directory"]]
    assert [mount_of(path).get("readOnly", False) for path in written_paths] == [False] * 3
    token = mount_of(config["vault"]["auth"]["jwt_file"])
    assert (token["name"], Path(config["vault"]["auth"]["jwt_file"]).name) == ("lessee-identity", "token")
    assert mount_of(config["vault"]["ca_file"]) == token
    assert mount_of(config["status"]["token_file"]) == token
    app = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert config["apps"]["app"]["directory"].startswith(
        app["lessee-files"] + "/"
    )  # The path is the same in both containers.


def test_lessee_check_accepts_the_configuration(manifests, tmp_path):
    done = run_lessee(tmp_path, manifests, "check", VAULT_ADDR="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "secret/production/database" in done.stdout


@pytest.mark.thorough
def test_a_service_account_logs_in_and_a_rotation_reaches_the_app_of_another_user(server, manifests, tmp_path, volumes):
    cluster = Signer()
    done = set_up(server, cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    server.put("production/database", username="app", password="canary-first")
    agent = agent_of_pod(server, manifests, volumes, cluster)
    app = None
    try:
        agent.start(before=as_user(volumes, *AGENT_USER))
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines())
        assert (set(fields["Uid"].split()), fields["CapPrm"]) == ({"10001"}, "0" * 16)
        file = agent.directory / "app.env"
        assert "canary-first" in file.read_text()
        info = file.stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (*AGENT_USER, 0o440)
        assert not [event for event in agent.events() if event["level"] != "info"]
        with urllib.request.urlopen(f"http://{agent.config['status']['listen']}/readyz", timeout=10) as response:
            assert response.status == 200  # The startup probe sends this request.
        metrics = urllib.request.Request(f"http://{agent.config['status']['listen']}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(metrics, timeout=10)
        metrics.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(metrics, timeout=10) as response:
            assert b"lessee_ready 1.0" in response.read()
        url = agent.config["apps"]["app"]["notify"]["http"]
        app = HttpApp(url, file, *app_seeks(agent))
        assert "canary-first" in app.hears()
        assert app.hears() == "stolen: []"
        server.put("production/database", username="app", password="canary-second")
        assert next(line for line in iter(app.hears, "") if "canary-second" in line)
        agent.until(lambda status: not status["apps"]["app"]["notify"]["pending"])
    finally:
        agent.close()
        if app is not None:
            app.close()
    assert "canary" not in agent.log.read_text()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "claims",
    [{"aud": [ISSUER]}, {"sub": "system:serviceaccount:app:default"}, {"sub": "system:serviceaccount:web:app"}],
)
def test_vault_rejects_a_token_for_another_audience_account_or_namespace(server, manifests, tmp_path, volumes, claims):
    cluster = Signer()
    set_up(server, cluster, tmp_path)
    server.put("production/database", username="app", password="canary-first")
    agent = agent_of_pod(server, manifests, volumes, cluster, **claims)
    try:
        agent.start(wait=False, before=as_user(volumes, *AGENT_USER))
        eventually(lambda: agent.log.exists() and "Vault does not accept" in agent.log.read_text(), "the failed login")
        assert not agent.status()["ready"]
        assert not (agent.directory / "app.env").exists()
    finally:
        agent.close()


def set_up(server, cluster, folder):
    """Run vault.sh with the keys of this cluster, twice, because operators may run it again."""
    (folder / "keys.pem").write_text(cluster.public_key)
    environ = {"BAO_ADDR": server.address, "BAO_TOKEN": ROOT_TOKEN, "HOME": str(folder)}
    environ["PATH"] = f"{Path(find_bao()).parent}:{os.environ['PATH']}"
    script = ["sh", FOLDER / "vault.sh", "jwt_validation_pubkeys=@keys.pem"]
    for _ in range(2):
        done = subprocess.run(script, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return done


def service_account(cluster, **claims):
    """A bound token with the claims of https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/."""
    bound = {"namespace": "app", "pod": {"name": "app-0", "uid": "0"}, "serviceaccount": {"name": "app", "uid": "1"}}
    fixed = {"iss": ISSUER, "sub": "system:serviceaccount:app:app", "aud": ["vault"], "kubernetes.io": bound}
    return cluster.sign(**fixed | claims)


@pytest.fixture
def volumes(memory):
    """A folder with the volumes as the kubelet mounts them: every user may write into an emptyDir in memory."""
    need(os.geteuid() == 0, "needs root, to mount a tmpfs")
    memory.chmod(0o711)
    folders = [memory / volume for volume in ("state", "files")]
    for folder in folders:
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", folder], check=True)
    yield memory
    for folder in folders:
        subprocess.run(["umount", "--lazy", folder], check=True)


def agent_of_pod(server, manifests, memory, cluster, **claims):
    """The agent of the manifests on this machine, with volumes as the kubelet creates them."""
    disk = memory / "disk"
    disk.mkdir()
    agent = PodAgent(server.address, disk, memory)
    agent.environ |= {"VAULT_TOKEN": "", "LESSEE_ENVIRONMENT": ""}
    for name, text in manifests["ConfigMap"]["data"].items():
        (disk / name).write_text(text)
    config = yaml.safe_load((disk / "lessee.yaml").read_text())
    agent.state, agent.directory = memory / "state/agent", memory / "files/app"
    del config["vault"]["ca_file"]
    config["vault"]["address"] = server.address
    config["vault"]["auth"]["jwt_file"] = str(disk / "token")
    config["state_dir"], config["apps"]["app"]["directory"] = str(agent.state), str(agent.directory)
    config["status"]["socket"] = str(agent.state / "status.sock")
    config["status"]["listen"] = f"127.0.0.1:{free_port()}"
    config["status"]["token_file"] = str(disk / "status-token")
    for name, text in ("status-token", TOKEN), ("token", service_account(cluster, **claims)):
        (disk / name).write_text(text)
        os.chown(disk / name, 0, APP_USER[1])  # As fsGroup and defaultMode say.
        (disk / name).chmod(0o440)
    notify = config["apps"]["app"]["notify"]
    notify["http"] = notify["http"].replace(":8080/", f":{free_port()}/")
    agent.config = config
    return agent


def app_seeks(agent):
    """What an app that has broken out of its container would look for."""
    return [str(agent.state), str(agent.state / "status.sock"), str(agent.pid)]


def run_lessee(folder, manifests, *arguments, **environ):
    for name, text in manifests["ConfigMap"]["data"].items():
        (folder / name).write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "lessee", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
