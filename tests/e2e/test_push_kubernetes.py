"""`lessee push kubernetes` with a stand-in for the API, which validates by Kubernetes' own schemas."""

import json
import re
import sys
from base64 import b64decode, b64encode
from contextlib import closing

import kubernetes_validate
import pytest
import yaml

from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher
from support.paths import ROOT
from support.programs.forks import run_lessee
from support.programs.sidecar import eventually
from support.servers.certificate_authority import Authority
from support.servers.kubernetes_api import VERSIONS, KubernetesApi

TOKEN = "canary-token-of-the-service-account"
SECRET = "/api/v1/namespaces/shop/secrets/web"
API = "/apis/apps/v1/namespaces/shop/deployments/api"
CONTAINER = {"name": "api", "image": "registry.example/api:1", "env": [{"name": "REGION", "value": "canary-env"}]}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "shop"},
    "spec": {
        "selector": {"matchLabels": {"app": "api"}},
        "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [CONTAINER]}},
    },
}
RESTART = ("--restart", "deployment/api")
# Inside a pod: the kubelet's folder is elsewhere.
IN_POD = """
import sys
from pathlib import Path
from lessee.cli import main
from lessee.ops.push import kubernetes
kubernetes._SERVICE_ACCOUNT = Path("account")
sys.exit(main(sys.argv[1:]))
"""


class Pod:
    """An app's published files, and the API that a push reaches."""

    def __init__(self, api, folder, memory):
        self.api, self.folder, self.directory = api, folder, memory / "web"
        (folder / "token").write_text(f"{TOKEN}\n")

    def publish(self, **files):
        with closing(Publisher(self.directory, owner=(None, None), mode=0o440, allow_disk=False)) as publisher:
            found = tuple(File(name.replace("__", "/"), value.encode(), 0o440) for name, value in files.items())
            publisher.publish(publisher.stage(Generation("web", found)))

    @property
    def places(self):
        login = ("--server", self.api.url, "--token-file", f"{self.folder}/token", "--ca-file", f"{self.folder}/ca.pem")
        return ("--directory", str(self.directory), "--namespace", "shop", *login)

    def push(self, *words, places=None, env=None, program=""):
        """The exit code and the lines of the output, in which no value may be."""
        command = ("push", "kubernetes", "web", "--secret", "web", *(self.places if places is None else places), *words)
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **(env or {})}
        done = run_lessee(*command, cwd=self.folder, env=environ, program=program)
        output = done.stdout + done.stderr
        assert "canary" not in output
        return done.returncode, output.splitlines()

    def data(self):
        return {key: b64decode(value).decode() for key, value in self.api.objects[SECRET]["data"].items()}


@pytest.fixture
def pod(tmp_path, memory):
    with KubernetesApi(tmp_path, Authority(tmp_path / "ca.pem"), TOKEN) as api:
        yield Pod(api, tmp_path, memory)


def owned(data, **more):
    """A Secret as an operator creates it before the first push."""
    metadata = {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "lessee"}}
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded, **more}


def test_a_push_writes_what_has_changed_and_restarts_what_it_is_asked_to(pod):
    pod.api.put(API, DEPLOYMENT)
    pod.publish(password="canary-1", plain="canary-plain")
    assert pod.push() == (0, ["secret/web created"])
    assert pod.data() == {"password": "canary-1", "plain": "canary-plain"}
    created = pod.api.objects[SECRET]
    # The pods' Secret is not known before the first restart.
    assert pod.push(*RESTART) == (0, ["secret/web unchanged", "deployment/api restarted"])
    pod.api.writes.clear()
    assert pod.push(*RESTART) == (0, ["secret/web unchanged", "deployment/api unchanged"])
    assert pod.api.writes == []
    assert pod.api.objects[SECRET] == created
    pod.publish(password="canary-2")
    assert pod.push(*RESTART) == (0, ["secret/web configured", "deployment/api restarted"])
    assert pod.api.writes == [f"PATCH {SECRET}", f"PATCH {API}"]
    assert pod.data() == {"password": "canary-2"}
    [annotation] = pod.api.objects[API]["spec"]["template"]["metadata"]["annotations"].items()
    assert annotation == (
        "web.lessee/updated-at",
        pod.api.objects[SECRET]["metadata"]["annotations"]["lessee/updated-at"],
    )
    assert pod.api.objects[API]["spec"]["template"]["spec"] == DEPLOYMENT["spec"]["template"]["spec"]
    # A value that others wrote is replaced.
    pod.api.objects[SECRET]["data"] = {"password": "eA==", "more": "eA=="}
    assert pod.push() == (0, ["secret/web configured"])
    assert pod.data() == {"password": "canary-2"}


def test_a_restart_that_failed_is_made_up_for_by_the_next_push(pod):
    pod.api.put(API, DEPLOYMENT)
    pod.publish(password="canary-1")
    pod.push(*RESTART)
    pod.publish(password="canary-2")
    # The first patch is the Secret's.
    pod.api.meanwhile = lambda: pod.api.faults.append(("PATCH", 500))
    code, lines = pod.push(*RESTART)
    assert (code, lines[0]) == (75, "secret/web configured")
    assert "deployment/api: restarting the pods failed: HTTP 500 InternalError" in lines[1]
    assert pod.push(*RESTART) == (0, ["secret/web unchanged", "deployment/api restarted"])


def test_a_secret_that_is_not_lessees_stays_as_it_is(pod):
    pod.publish(password="canary-1")
    foreign = owned({"password": "canary-foreign"})
    del foreign["metadata"]["labels"]
    other_app = owned({})
    other_app["metadata"]["annotations"] = {"lessee/app": "canary-other"}
    for found in foreign, other_app, owned({}, immutable=True), owned({}, type="kubernetes.io/service-account-token"):
        before = pod.api.put(SECRET, found)
        code, lines = pod.push()
        assert (code, "left unchanged" in lines[0]) == (75, True)
        assert pod.api.objects[SECRET] == before
    assert pod.api.writes == []
    # What an operator has made for it is lessee's, and needs no right to create Secrets.
    pod.api.put(SECRET, owned({}))
    assert pod.push() == (0, ["secret/web configured"])
    assert pod.data() == {"password": "canary-1"}


def test_what_others_do_at_the_same_time_is_read_again_and_never_overwritten(pod):
    pod.publish(password="canary-1")
    # Another push creates it first.
    pod.api.meanwhile = lambda: pod.api.put(SECRET, owned({"password": "older"}))
    assert pod.push() == (0, ["secret/web configured"])
    pod.publish(password="canary-2")
    pod.api.meanwhile = lambda: pod.api.objects.pop(SECRET)
    assert pod.push() == (0, ["secret/web created"])
    pod.publish(password="canary-3")
    foreign = owned({"password": "canary-foreign"})
    del foreign["metadata"]["labels"]
    pod.api.meanwhile = lambda: pod.api.put(SECRET, foreign)
    code, lines = pod.push()
    assert (code, "it has no label" in lines[0]) == (75, True)
    assert pod.data() == {"password": "canary-foreign"}
    pod.api.put(SECRET, owned({}))
    pod.api.writes.clear()
    pod.api.faults = [("PATCH", 409), ("PATCH", 410), *[("PATCH", 409)] * 9]
    code, lines = pod.push()
    assert (code, len(pod.api.writes)) == (75, 5)
    assert "others change the object at the same time: HTTP 409 Conflict" in lines[0]


@pytest.mark.parametrize(
    ("method", "status", "code", "expected"),
    [
        ("GET", 401, 77, "does not accept the token: HTTP 401 Unauthorized"),
        ("GET", 403, 77, "secret/web: reading the Secret is forbidden: HTTP 403 Forbidden"),
        ("GET", 302, 75, "reading the Secret failed: HTTP 302"),
        ("POST", 403, 77, "secret/web: creating the Secret is forbidden: HTTP 403 Forbidden"),
        ("POST", 404, 64, "creating the Secret failed: there is no such object"),
        ("POST", 422, 75, "rejects creating the Secret: HTTP 422 Invalid"),
        ("POST", 500, 75, "creating the Secret failed: HTTP 500 InternalError"),
        ("POST", 0, 75, "no answer of the API of Kubernetes: no response within"),
    ],
)
def test_an_answer_that_is_an_error_says_what_was_refused_and_no_value(pod, method, status, code, expected):
    pod.publish(password="canary-1")
    pod.api.faults = [(method, status)]
    found, lines = pod.push(*(("--timeout", "1s") if status == 0 else ()))
    assert (found, expected in lines[0]) == (code, True), lines
    assert pod.api.objects == {}


def test_nothing_is_written_where_a_workload_is_missing_or_paused(pod):
    pod.publish(password="canary-1")
    code, lines = pod.push(*RESTART)
    assert (code, "deployment/api: reading the workload failed: there is no such object" in lines[0]) == (64, True)
    pod.api.put(API, {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "paused": True}})
    assert pod.push(*RESTART)[0] == 75
    assert pod.api.writes == []


def test_a_certificate_of_another_ca_gets_no_token_and_no_value(pod, tmp_path):
    pod.publish(password="canary-1")
    Authority(tmp_path / "other.pem")
    code, lines = pod.push("--ca-file", str(tmp_path / "other.pem"))
    assert (code, "the server's certificate is not trusted" in lines[0]) == (75, True)
    code, lines = pod.push("--server", pod.api.url.replace("https", "http"))
    assert (code, "write https://HOST:PORT" in lines[0]) == (64, True)
    assert pod.api.reads == pod.api.writes == []


def test_files_in_folders_and_certificates_have_the_keys_that_kubernetes_accepts(pod):
    pod.publish(tls__cert="canary-certificate", tls__key="canary-key")
    code, lines = pod.push()
    assert (code, "tls is a folder, and a Secret has none" in lines[0]) == (64, True)
    tls = ("--type", "kubernetes.io/tls", "--from-file", "tls.crt=tls/cert")
    code, lines = pod.push(*tls)
    assert (code, "needs the key tls.key" in lines[0]) == (64, True)
    assert pod.push(*tls, "--from-file", "tls.key=tls/key") == (0, ["secret/web created"])
    assert pod.data() == {"tls.crt": "canary-certificate", "tls.key": "canary-key"}
    assert pod.api.objects[SECRET]["type"] == "kubernetes.io/tls"


def test_in_a_pod_it_uses_the_token_the_ca_and_the_namespace_of_the_service_account(pod, tmp_path):
    pod.publish(password="canary-1")
    account = tmp_path / "account"
    places = ("--directory", str(pod.directory))
    code, lines = pod.push(places=places, program=IN_POD)
    assert (code, "write --namespace" in lines[0]) == (64, True)
    account.mkdir()
    (account / "namespace").write_text("shop")
    code, lines = pod.push(places=places, program=IN_POD)
    assert (code, "the token cannot be read" in lines[0]) == (77, True)
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes((tmp_path / "ca.pem").read_bytes())
    address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(pod.api.server_port)}
    assert pod.push(places=places, env=address, program=IN_POD) == (0, ["secret/web created"])
    assert pod.data() == {"password": "canary-1"}
    # The configuration names the directory and the files.
    app = {"directory": str(pod.directory), "files": [{"template": "t.j2", "name": "password"}]}
    config = {"environment": "testing", "state_dir": str(tmp_path / "state"), "apps": {"web": app}}
    (tmp_path / "lessee.yaml").write_text(json.dumps(config))
    (tmp_path / "t.j2").touch()
    assert pod.push(places=(), env=address, program=IN_POD) == (0, ["secret/web unchanged"])


def test_the_role_of_the_readme_permits_what_a_push_needs_and_not_to_create_secrets(pod):
    section = (ROOT / "compose/kubernetes/README.md").read_text().partition("## A Secret of Kubernetes")[2]
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL) if "kind: Role" in text)
    found = {each["kind"]: each for each in yaml.safe_load_all(block)}
    for each in found.values():
        for version in VERSIONS:
            kubernetes_validate.validate(each, version, strict=True)
    secret, workload = SECRET.replace("shop", "app"), API.replace("shop", "app")
    pod.publish(password="canary-1")
    pod.api.put(secret, found["Secret"])
    pod.api.put(workload, DEPLOYMENT)
    pod.api.rules = found["Role"]["rules"]
    words = ("--namespace", "app", *RESTART)
    assert pod.push(*words) == (0, ["secret/web configured", "deployment/api restarted"])
    del pod.api.objects[secret]
    code, lines = pod.push(*words)
    assert (code, "creating the Secret is forbidden" in lines[0]) == (77, True)
    assert {rule["resourceNames"][0] for rule in pod.api.rules} == {"web", "api"}


@pytest.mark.thorough
def test_an_agent_pushes_each_change_and_repeats_a_push_that_failed(pod, bao, sidecar):
    bao.put("testing/web", password="canary-1")
    sidecar.template("password", '{{ secret("web").password }}')
    lessee = (sys.executable, "-m", "lessee", "push", "kubernetes", "web", "--secret", "web")
    sidecar.web["notify"] = {"command": [*lessee, *pod.places]}
    pod.api.faults = [("POST", 500)]
    sidecar.start()
    eventually(lambda: SECRET in pod.api.objects, "the Secret")
    assert pod.data() == {"password": "canary-1"}
    bao.put("testing/web", password="canary-2")
    eventually(lambda: pod.data() == {"password": "canary-2"}, "the new value")
    sidecar.until(lambda status: not status["apps"]["web"]["notify"]["pending"])
    log = sidecar.log.read_text()
    assert "canary" not in log
    assert json.dumps(TOKEN) not in log
