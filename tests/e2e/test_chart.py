"""The Helm chart, rendered by Helm: the objects of the Kustomize base, valid for Kubernetes, with a strict pod."""

import copy
import json
import shutil
import subprocess
import sys
import tarfile
from functools import cache

import jsonschema
import kubernetes_validate
import pytest
import yaml

from lessee import __version__
from support.helm import HelmError, lint, render
from support.needs import need
from support.paths import ROOT
from support.pod_security import violations, weaknesses

BASE = ROOT / "compose/kubernetes"
CHART = BASE / "chart"
EXAMPLE = yaml.safe_load((CHART / "example.yaml").read_text())
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
DIGEST = "sha256:" + "0123456789abcdef" * 4
OPENSHIFT_UID = 1_000_680_000
RULE = {"ports": [{"port": 8080}]}


def with_values(**values):
    """The example with other values; a nested dictionary is merged as Helm merges a second file."""
    return merged(EXAMPLE, values)


def merged(one, other):
    both = copy.deepcopy(one)
    for name, value in other.items():
        nested = isinstance(value, dict) and isinstance(both.get(name), dict)
        both[name] = merged(both[name], value) if nested else value
    return both


VALUES = {
    "example": EXAMPLE,
    "digests": with_values(
        image={"digest": DIGEST, "pullPolicy": "Always"},
        app={"image": {"digest": DIGEST}, "replicas": 0},
        imagePullSecrets=[{"name": "registry"}],
    ),
    "large numbers": with_values(
        runAsUser=OPENSHIFT_UID,
        runAsGroup=OPENSHIFT_UID,
        app={"runAsUser": OPENSHIFT_UID + 1},
        startup={"failureThreshold": 1_000_000},
        config={"apps": {"app": {"owner": f"{OPENSHIFT_UID}:{OPENSHIFT_UID}"}}, "limits": {"response": 2_000_000}},
    ),
    "other places": with_values(
        port=9200,
        files={"mountPath": "/var/secrets", "sizeLimit": "16Mi"},
        config={"status": {"listen": "[::]:9200"}, "apps": {"app": {"directory": "/var/secrets/app"}}},
        app={"serviceAccountName": "existing"},
        identity={"audience": "https://vault.example", "expirationSeconds": 3600},
    ),
    "rules of the app": with_values(networkPolicy={"ingress": [RULE], "egress": [RULE, RULE]}),
    "no policy": with_values(networkPolicy={"enabled": False}),
    "own ConfigMap": {key: value for key, value in EXAMPLE.items() if key not in ("config", "templates")}
    | {"existingConfigMap": "ours"},
    "agent alone": with_values(app={"enabled": False}),
}


def objects(values, chart=CHART, **release):
    """The rendered objects by kind."""
    rendered = render(chart, values, **release)
    loaded = [yaml.safe_load(text) for path, text in rendered.items() if path.endswith(".yaml")]
    by_kind = {each["kind"]: each for each in loaded}
    assert len(by_kind) == len(loaded)
    return by_kind


@cache
def rendered_once(name):
    """The objects of one of VALUES: Helm takes most of a second to start. Tests copy what they change."""
    return objects(VALUES[name])


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def example():
    return rendered_once("example")


# Objects


def test_the_example_gives_the_objects_of_the_kustomize_base(example):
    need(shutil.which("kubectl"), "needs kubectl: apt install kubectl")
    built = subprocess.run(["kubectl", "kustomize", BASE], capture_output=True, text=True, check=True).stdout
    base = {each["kind"]: each for each in yaml.safe_load_all(built)}
    # Helm creates no namespace with labels: NOTES.txt has the command.
    assert base.pop("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {kind: comparable(each) for kind, each in example.items()} == {
        kind: comparable(each) for kind, each in base.items()
    }


def comparable(manifest):
    """A manifest without what differs by convention: labels, the ConfigMap's name, and defaults that one spells out."""
    text = json.dumps(manifest).replace("app-lessee", "lessee")
    plain = json.loads(text)
    plain["metadata"].pop("labels", None)
    spec = plain.get("spec", {})
    for selector in (spec.get("selector"), spec.get("podSelector")):
        if selector:
            assert list(selector) == ["matchLabels"]
            selector["matchLabels"] = {}
    if plain["kind"] == "ConfigMap":
        plain["data"]["lessee.yaml"] = yaml.safe_load(plain["data"]["lessee.yaml"])
    if plain["kind"] == "Deployment":
        spec["template"]["metadata"] = {}
        pod = spec["template"]["spec"]
        for container in pod["initContainers"] + pod["containers"]:
            assert container.pop("imagePullPolicy", "IfNotPresent") == "IfNotPresent"
            container["securityContext"] = pod["securityContext"] | container["securityContext"]
            container["securityContext"].pop("fsGroup")
        pod["volumes"].sort(key=lambda volume: volume["name"])
    return plain


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_each_object_matches_the_schema_of_its_kind(name, version):
    for each in rendered_once(name).values():
        kubernetes_validate.validate(each, version, strict=True)
        assert each["metadata"]["namespace"] == "app"
        assert each["metadata"]["labels"]["app.kubernetes.io/version"] == __version__


@pytest.mark.parametrize("name", [name for name in VALUES if name != "agent alone"])
def test_each_pod_meets_the_restricted_standard_and_keeps_secrets_in_memory(name):
    rendered = rendered_once(name)
    pod = pod_of(rendered["Deployment"])
    assert [*violations(pod), *weaknesses(pod)] == []
    [agent], [app] = pod["initContainers"], pod["containers"]
    assert agent["restartPolicy"] == "Always"
    assert agent["securityContext"]["runAsUser"] != pod["securityContext"]["runAsUser"]
    assert [(mount["name"], mount["readOnly"]) for mount in app["volumeMounts"]] == [("lessee-files", True)]
    selected = rendered["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= rendered["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for policy in (each for kind, each in rendered.items() if kind == "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"] == selected


@pytest.mark.parametrize(
    ("break_pod", "weakness"),
    [
        (lambda pod: pod.pop("automountServiceAccountToken"), "automountServiceAccountToken"),
        (lambda pod: pod["volumes"][-1].update(emptyDir={}), "volume lessee-files"),
        (lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem"),
        (lambda pod: pod["initContainers"][0].pop("resources"), "lessee: memory"),
        (lambda pod: pod["containers"][0].update(image="registry.example:5000/app"), "no fixed tag"),
        (lambda pod: pod["containers"][0].update(image="app:latest"), "no fixed tag"),
        (lambda pod: pod["containers"][0].update(env=[{"name": "DB_PASSWORD", "value": "x"}]), "DB_PASSWORD"),
        (lambda pod: pod["containers"][0].update(envFrom=[{"secretRef": {"name": "x"}}]), "a Secret as variables"),
        (
            lambda pod: pod["containers"][0].update(
                env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]
            ),
            "variable X",
        ),
    ],
)
def test_a_pod_with_a_weakness_is_found(example, break_pod, weakness):
    pod = copy.deepcopy(pod_of(example["Deployment"]))
    break_pod(pod)
    [found] = weaknesses(pod)
    assert weakness in found


def test_numbers_and_texts_reach_the_cluster_as_they_were_written():
    rendered = rendered_once("large numbers")
    [agent] = pod_of(rendered["Deployment"])["initContainers"]
    assert agent["securityContext"]["runAsUser"] == OPENSHIFT_UID
    assert agent["startupProbe"]["failureThreshold"] == 1_000_000
    config = yaml.safe_load(rendered["ConfigMap"]["data"]["lessee.yaml"])
    assert config["limits"] == {"response": 2_000_000}
    assert config["apps"]["app"]["owner"] == f"{OPENSHIFT_UID}:{OPENSHIFT_UID}"
    texts = {"a.j2": '{{ secret("a").b }}\n  - "x": \\n\t$x # é\n', "b.j2": "", "c.j2": "{{ .Values.image }}"}
    rendered = objects(with_values(templates=texts))
    assert texts.items() <= rendered["ConfigMap"]["data"].items()


def test_lessee_check_accepts_the_configuration(example, tmp_path):
    for name, text in example["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text)
    check = [sys.executable, "-m", "lessee", "check"]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "VAULT_ADDR": "http://127.0.0.1:1"}
    done = subprocess.run(check, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "secret/production/database" in done.stdout


def test_a_release_in_another_namespace_has_its_own_names():
    rendered = objects(EXAMPLE, name="shop", namespace="web")
    assert {each["metadata"]["namespace"] for each in rendered.values()} == {"web"}
    names = {kind: each["metadata"]["name"] for kind, each in rendered.items()}
    assert names == {
        "ConfigMap": "shop-lessee",
        "Deployment": "shop",
        "NetworkPolicy": "shop",
        "ServiceAccount": "shop",
    }
    notes = render(CHART, EXAMPLE, name="shop", namespace="web")["lessee/templates/NOTES.txt"]
    assert "bound_subject=system:serviceaccount:web:shop" in notes
    assert "kubectl -n web create secret generic lessee-status" in notes
    assert "kubectl label namespace web pod-security.kubernetes.io/enforce=restricted" in notes


# The agent in a chart of yours

PARENT = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: shop}
spec:
  serviceName: shop
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      serviceAccountName: shop
      automountServiceAccountToken: false
      securityContext:
        {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      initContainers:
        {{- include "lessee.container" .Subcharts.lessee | nindent 8 }}
      containers:
        - name: shop
          image: registry.example/shop:2
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          resources: {limits: {memory: 64Mi}}
          volumeMounts: [{name: lessee-files, mountPath: /secrets, readOnly: true}]
      volumes:
        {{- include "lessee.volumes" .Subcharts.lessee | nindent 8 }}
"""


def test_a_chart_of_yours_includes_the_agent_in_its_own_workload(example, tmp_path):
    parent = tmp_path / "shop"
    shutil.copytree(CHART, parent / "charts/lessee")
    (parent / "templates").mkdir()
    about = {"apiVersion": "v2", "name": "shop", "version": "2.0.0", "dependencies": [{"name": "lessee"}]}
    about["dependencies"][0] |= {"version": __version__, "repository": "file://charts/lessee"}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(about))
    (parent / "templates/stateful-set.yaml").write_text(PARENT)
    values = {"global": {"registry": "x"}, "lessee": merged(EXAMPLE, {"app": {"enabled": False}})}
    rendered = objects(values, parent)
    assert set(rendered) == {"ConfigMap", "StatefulSet"}
    assert rendered["ConfigMap"]["data"] == example["ConfigMap"]["data"]
    for version in VERSIONS:
        kubernetes_validate.validate(rendered["StatefulSet"], version, strict=True)
    pod, own = pod_of(rendered["StatefulSet"]), pod_of(example["Deployment"])
    assert (pod["initContainers"], pod["volumes"]) == (own["initContainers"], own["volumes"])
    assert [*violations(pod), *weaknesses(pod)] == []


# Values


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({}, "image.repository: name the image in your registry"),
        (merged(EXAMPLE, {"config": {"apps": None}}), "config"),
        (with_values(image={"repository": ""}), "image.repository: name the image in your registry"),
        (with_values(app={"image": {"tag": ""}}), "app.image.tag: name a tag, or a digest"),
        (with_values(image={"tag": "latest"}), "/image/tag"),
        (with_values(runAsUser=1000), "is the app's user too"),
        (with_values(runAsUser=0), "/runAsUser"),
        (with_values(port=9000), "does not end with port, which is 9000"),
        (with_values(files={"mountPath": "/run/secrets"}), "/files/mountPath"),
        (with_values(config={"apps": {"app": {"directory": "/srv/app"}}}), "is not below files.mountPath"),
        (with_values(config={"apps": {"app": {"owner": "0:0"}}}), 'config.apps.app.owner: must be "10001:1000"'),
        (with_values(resources={"limits": {"memory": None}}), "memory"),
        (with_values(identity={"expirationSeconds": 60}), "/identity/expirationSeconds"),
        (with_values(templates={"lessee.yaml": "x"}), "lessee.yaml"),
        (with_values(existingConfigmap="x"), "existingConfigmap"),
    ],
)
def test_a_value_that_gives_no_working_pod_is_rejected(values, error):
    with pytest.raises(HelmError) as caught:
        render(CHART, values)
    assert error in str(caught.value)


def test_the_schema_describes_each_value_and_lint_has_no_warning():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) <= set(schema["properties"])
    for name in set(values):
        assert schema["properties"][name]["description"].endswith(".")
    assert lint(CHART, EXAMPLE) == []
    # `helm lint` lets required values be absent.
    assert lint(CHART, {}) == []


def test_the_chart_has_the_version_of_lessee():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


# make dist


@pytest.mark.thorough
def test_make_dist_packs_the_chart_as_helm_reads_it_with_nothing_of_the_machine(dist, tmp_path):
    [packed] = dist.glob("lessee-chart-*.tgz")
    assert packed.name == f"lessee-chart-{__version__}.tgz"
    assert objects(EXAMPLE, packed) == rendered_once("example")
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
        assert {(member.uid, member.uname, member.mode, member.isfile()) for member in members} == {
            (0, "", 0o644, True)
        }
        assert len({member.mtime for member in members}) == 1
        archive.extractall(tmp_path, filter="data")
    files = {str(file.relative_to(CHART)) for file in CHART.rglob("*") if file.is_file()}
    assert {
        str(file.relative_to(tmp_path / "lessee")) for file in (tmp_path / "lessee").rglob("*") if file.is_file()
    } == files
