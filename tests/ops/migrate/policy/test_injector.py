"""The import of the annotations of the injectors."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n%s"


def pod(prefix="vault.hashicorp.com", **annotations):
    lines = [f"    {prefix}/{key.replace('_', '-')}: {value}\n" for key, value in annotations.items()]
    return POD % "".join(lines)


def test_the_key_of_a_ca_and_patches_of_the_container_are_not_needed(imported):
    text = pod(
        agent_inject='"true"',
        role="web",
        ca_key="/vault/tls/ca.key",
        agent_json_patch="""'[{"op": "add"}]'""",
        agent_init_json_patch="""'[{"op": "add"}]'""",
        agent_inject_secret_db="kv/db",
    )
    found = imported("pod.yaml", text)
    assert not found.losses
    assert any("ca-key: not needed: TLS verifies a server with the CA's certificate alone" in n for n in found.notes)
    assert any("json-patch: it configures the agent's container" in note for note in found.notes)


def test_annotations_are_carried_over(imported):
    text = pod(
        agent_inject='"true"',
        service="https://vault:8200",
        role="web",
        auth_path="auth/k8s",
        namespace="team",
        tls_server_name="v",
        ca_cert="/vault/tls/ca.crt",
        auth_config_token_path="/t",
        template_static_secret_render_interval="1m",
        agent_revoke_on_shutdown='"true"',
        agent_inject_secret_DB="secret/data/db",
        agent_inject_template_DB="'{{ with secret \"secret/data/db\" }}{{ .Data.data.a }}{{ end }}'",
        agent_inject_command_DB="pkill -HUP web",
        agent_inject_perms_DB='"0400"',
    )
    found = imported("pod.yaml", text)
    config = found.config
    assert config["vault"] == {
        "address": "https://vault:8200",
        "ca_file": "/vault/tls/ca.crt",
        "tls_server_name": "v",
        "namespace": "team",
        "auth": {"method": "kubernetes", "role": "web", "jwt_file": "/t", "mount": "k8s"},
    }
    assert config["secrets"]["refresh_interval"] == "1m"
    assert config["leases"] == {"on_stop": "revoke"}
    assert config["apps"] == {
        "web": {
            "directory": "/vault/secrets",
            "mode": "0400",
            "files": [{"template": "db.j2", "format": "text"}],
            "notify": {"process": {"name": "web"}, "action": "SIGHUP"},
        }
    }
    assert found.files["db.j2"] == '{{ secret("db").a }}'
    assert not found.losses
    assert any("Pod web: no injector adds lessee" in line for line in found.notes)
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("path", "kind", "expected", "loss"),
    [
        ("legacy/a", "map", '{% for k, v in secret("a") | dictsort(true) %}{{ k }}: {{ v }}\n{% endfor %}', ""),
        (
            "secret/data/a",
            "map",
            '{% for k, v in secret("a") | dictsort(true) %}{{ k }}: {{ v }}\n{% endfor %}',
            "as map[…]",
        ),
        ("database/creds/a", "json", '{{ dynamic("database/creds/a") | json | replace', ""),
        ("secret/data/a", "json", '{{ secret("a") | json | replace', "as JSON with metadata"),
    ],
)
def test_a_secret_without_a_template_gets_the_default_template(imported, path, kind, expected, loss):
    found = imported(
        "pod.yml", pod(agent_inject="true", agent_inject_secret_a=path, agent_inject_default_template=kind)
    )
    assert found.files["a.j2"].startswith(expected)
    assert loss in "".join(found.losses)
    assert bool(loss) == any("the default template writes a KV version 2 secret" in line for line in found.losses)


def test_annotations_set_files_and_directories(imported):
    text = pod(
        "openbao.org",
        agent_inject="true",
        role="r",
        secret_volume_path="/mnt/vault",
        secret_volume_path_c="/c",
        preserve_secret_case_B="true",
        agent_inject_secret_A="kv/a",
        agent_inject_file_A="sub/a.txt",
        agent_inject_secret_B="kv/b",
        agent_inject_secret_c="kv/c",
        agent_inject_template_file_d="/vault/configmap/a.ctmpl",
        agent_template_left_delim_d='"[["',
        agent_template_right_delim_d='"]]"',
        agent_inject_secret_e='""',
    )
    found = imported("pod.yaml", text, a="[[ 1 ]]{{ }}")
    assert {app["directory"]: [file["template"] for file in app["files"]] for app in found.config["apps"].values()} == {
        "/mnt/vault": ["a/sub/a.txt.j2", "a/B.j2", "a/d.j2"],
        "/run/secrets/c": ["c/c.j2"],
    }
    assert found.config["apps"]["a"]["files"][0]["name"] == "sub/a.txt"
    assert found.files["a/d.j2"] == '1{{ "{{" }} }}'
    assert any("/c/c moves to /run/secrets/c/c" in line for line in found.losses)


def test_annotations_without_a_counterpart_are_losses(imported):
    text = pod(
        agent_image="vault:1",
        tls_secret="tls",
        agent_inject_token='"true"',
        agent_cache_enable="true",
        agent_telemetry_disable_hostname="true",
        nonsense="x",
        agent_inject_secret_a="kv/a",
        agent_inject_status="injected",
    )
    found = imported("pod.yaml", text)
    keys = {line.split(": ")[1] for line in found.losses if not line.split(": ")[1].startswith("/")}
    assert keys == {
        "tls-secret",
        "agent-inject-token",
        "agent-cache-enable",
        "agent-telemetry-disable-hostname",
        "nonsense",
        "auto_auth.method.type",
    }
    assert any(line.startswith("pod.yaml:6: note: agent-inject: it is not true") for line in found.notes)
    parse(found.text, source="lessee.yaml", environ={})


WORKLOADS = """
kind: List
items:
- kind: Deployment
  metadata: {name: one}
  spec: {template: {metadata: {annotations: {vault.hashicorp.com/agent-inject-secret-a: kv/a}}}}
- kind: CronJob
  metadata: {name: two}
  spec:
    jobTemplate:
      spec:
        template:
          metadata:
            annotations:
              vault.hashicorp.com/agent-inject-template-b: |
                b
                {{ timestamp }}
- kind: ConfigMap
---
- not a mapping
---
"""


def test_each_workload_gets_its_own_folder(imported):
    found = imported("all.yaml", WORKLOADS)
    assert set(found.files) == {"one/lessee.yaml", "one/a.j2", "two/lessee.yaml", "two/b.j2"}
    assert any(line.startswith("all.yaml:17: timestamp returns another time") for line in found.losses)


def test_names_of_workloads_cannot_leave_the_output_directory(imported):
    found = imported("all.yaml", WORKLOADS.replace("one", "../../x").replace("two", "x"))
    assert set(found.files) == {"x/lessee.yaml", "x/a.j2", "x-2/lessee.yaml", "x-2/b.j2"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "pod.yaml:2: invalid YAML"),
        ("\x00", "pod.yaml: invalid YAML"),
        ("[" * 2000, "invalid YAML"),
        ("kind: Pod\n", "pod.yaml: the manifest has no workload with annotations of the injector"),
        ("kind: Pod\nmetadata: {annotations: [a]}\n", "the manifest has no workload"),
        ("kind: Pod\nmetadata: {annotations: {[a]: b, vault.hashicorp.com/x: [c]}}\n", "the manifest has no workload"),
    ],
)
def test_an_invalid_manifest_is_rejected_with_its_line(imported, text, error):
    with pytest.raises(ConfigError) as caught:
        imported("pod.yaml", text)
    assert error in str(caught.value)
