"""The configuration of Vault Agent in lessee's words."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import UsageError

TEMPLATE = 'template {\n  contents = "{{ with secret \\"secret/data/a\\" }}{{ .Data.data.b }}{{ end }}"\n  %s\n}\n'
FILE = TEMPLATE % 'destination = "/run/web/a.env"'
AUTO = 'auto_auth {\n  method "%s" {\n    %s\n    config = { %s }\n  }\n}\n'
FULL = """
pid_file = "/run/agent.pid"
log_level = "debug"
log_format = "json"
exit_after_auth = false
vault {
  address         = "https://vault:8200/"
  namespace       = "team-a"
  ca_cert         = "/ca.pem"
  client_cert     = "/cert.pem"
  client_key      = "/key.pem"
  tls_server_name = "vault.internal"
  tls_skip_verify = true
  ca_path         = "/cas"
  retry { num_retries = 5 }
}
auto_auth {
  method "approle" {
    mount_path = "auth/apps"
    max_backoff = "1m"
    wrap_ttl = "5m"
    config = {
      role_id_file_path = "/role_id"
      secret_id_file_path = "/secret_id"
      secret_id_response_wrapping_path = "auth/apps/role/web/secret-id"
    }
  }
  sink "file" { config = { path = "/run/token" } }
}
cache { use_auto_auth_token = true }
listener "tcp" { address = "127.0.0.1:8100" }
telemetry { disable_hostname = true }
template_config { static_secret_render_interval = "90s" exit_on_retry_failure = true }
nonsense = 1
"""


def test_all_of_it_is_carried_over_or_told(imported):
    found = imported("agent.hcl", FULL + FILE)
    assert found.config["vault"] == {
        "address": "https://vault:8200",
        "namespace": "team-a",
        "ca_file": "/ca.pem",
        "server_name": "vault.internal",
        "client_cert_file": "/cert.pem",
        "client_key_file": "/key.pem",
        "insecure": True,
        "auth": {
            "method": "approle",
            "role_id_file": "/role_id",
            "secret_id_file": "/secret_id",
            "mount": "apps",
            "wrapped": True,
            "wrapped_path": "auth/apps/role/web/secret-id",
            "remove_secret_id_file_after_reading": True,
        },
    }
    assert found.config["secrets"] == {"mount": "secret", "prefix": "", "refresh": "90s"}
    keys = [line.split(": ")[1] for line in found.lost]
    assert keys == [
        "pid_file", "vault.ca_path", "auto_auth.method.wrap_ttl", "auto_auth.sink", "cache", "listener", "telemetry",
        "nonsense",
    ]  # fmt: skip
    for key in keys:
        assert f"# TODO lessee import: {key}: " in found.text.replace("\n#   ", " ").replace("\n  #   ", " ")
    notes = "\n".join(found.notes)
    for key in (
        "log_level",
        "log_format",
        "vault.retry",
        "auto_auth.method.max_backoff",
        "template_config.exit_on_retry",
    ):
        assert key in notes
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("method", "more", "config", "wanted"),
    [
        ("kubernetes", "", 'role = "r"', {"role": "r"}),
        (
            "kubernetes",
            'mount_path = "auth/k8s"',
            'role = "r", token_path = "/t"',
            {"role": "r", "jwt_file": "/t", "mount": "k8s"},
        ),
        ("jwt", "", 'path = "/j", role = "r"', {"jwt_file": "/j", "role": "r"}),
        (
            "cert",
            "",
            'name = "n", client_cert = "/c", client_key = "/k"',
            {"cert_file": "/c", "key_file": "/k", "role": "n"},
        ),
        ("userpass", "", 'username = "u", password_file_path = "/p"', {"username": "u", "password_file": "/p"}),
        ("token_file", "", 'token_file_path = "/t"', {"method": "token", "token_file": "/t"}),
        ("approle", 'type = "approle"', 'role_id_file_path = "/r"', {"role_id_file": "/r"}),
        (
            "approle",
            "",
            'role_id_file_path = "/r", secret_id_file_path = "/s", remove_secret_id_file_after_reading = "false"',
            {"role_id_file": "/r", "secret_id_file": "/s"},
        ),
    ],
)
def test_each_way_of_logging_in_has_its_own(imported, method, more, config, wanted):
    found = imported("agent.hcl", AUTO % (method, more, config) + FILE)
    assert found.config["vault"]["auth"] == {"method": method, **wanted}
    assert not found.lost
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("method", "config", "told"),
    [
        ("aws", 'role = "r"', "lessee does not log in by aws"),
        ("approle", "", "approle without role_id_file is no login"),
        ("cert", "", "cert without cert_file and key_file is no login"),
        ("jwt", 'path = "/j", remove_jwt_after_reading = true', "the file with the JWT stays"),
    ],
)
def test_a_login_that_lessee_has_not_is_told(imported, method, config, told):
    found = imported("agent.hcl", AUTO % (method, "", config) + FILE)
    assert any(told in line for line in found.lost)
    parse(found.text, source="lessee.yaml", environ={})


def test_a_cert_brings_its_ca_and_a_method_its_namespace(imported):
    config = 'ca_cert = "/ca", client_cert = "/c", client_key = "/k"'
    found = imported("agent.hcl", AUTO % ("cert", 'namespace = "team/"', config) + FILE)
    assert found.config["vault"]["ca_file"] == "/ca"
    assert found.config["vault"]["namespace"] == "team"
    two = imported(
        "agent.hcl", 'vault { namespace = "a" ca_cert = "/b" }\n' + AUTO % ("cert", 'namespace = "b"', config) + FILE
    )
    assert any("login and secrets are in two namespaces" in line for line in two.lost)
    assert two.config["vault"]["ca_file"] == "/b"
    same = imported("agent.hcl", 'vault { namespace = "b" }\n' + AUTO % ("cert", 'namespace = "b"', config) + FILE)
    assert not same.lost


@pytest.mark.parametrize(
    "blocks",
    [
        '"method": {"approle": {"config": {"role_id_file_path": "/r"}}}, "sink": {"file": {"config": {"path": "/t"}}}',
        '"method": [{"type": "approle", "config": {"role_id_file_path": "/r"}}], "sink": [{"type": "file"}]',
        '"method": [{"type": "approle", "role_id_file_path": "/r"}], "sinks": 1, "sink": {}',
    ],
)
def test_json_is_as_good_as_hcl(imported, blocks):
    template = (
        '"template": [{"contents": "x", "destination": "/run/web/a", "perms": "640",'
        ' "exec": {"command": "pkill -HUP x"}}]'
    )
    found = imported("agent.json", f'{{"auto_auth": {{{blocks}}}, {template}}}')
    assert found.config["vault"]["auth"] == {"method": "approle", "role_id_file": "/r"}
    assert found.app("web")["mode"] == "0640"
    assert found.app("web")["notify"] == {"process": {"name": "x"}, "action": "SIGHUP"}
    assert any("lessee writes no token" in line for line in found.lost)


@pytest.mark.parametrize(
    ("said", "key", "wanted"),
    [
        ("perms = 0600", "mode", "0600"),
        ('perms = "0440"', "mode", "0440"),
        ("", "mode", "0644"),
        ('user = "1000"', "owner", "1000"),
        ('user = "root"\n group = "1000"', "owner", "0:1000"),
        ("uid = 5\n gid = 6", "owner", "5:6"),
    ],
)
def test_a_file_keeps_its_mode_and_owner(imported, said, key, wanted):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {said}\n error_on_missing_key = true')
    assert found.app("web")[key] == wanted
    assert not found.lost


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("perms = 640", "perms: it is no mode that lessee knows"),
        ('perms = "rw"', "perms: it is no mode that lessee knows"),
        ("perms = [1]", "perms: it is no mode that lessee knows"),
        ("perms = true", "perms: it is no mode that lessee knows"),
        ('user = "www-data"', "user: the owner www-data:- is not in numbers"),
        ('group = "web"', "group: the owner -:web is not in numbers"),
        ("backup = true", "backup: there are no .bak files"),
        ("nonsense = 1", "nonsense: the import does not know this key"),
        ("left_delimiter = [1]", "left_delimiter: it is no text"),
        ("command = { a = 1 }", "command: it is no list of texts"),
        ("exec = 3", "exec: it is no block"),
        ('command_timeout = "soon"', "command_timeout: 'soon' is no duration"),
        ('exec { command = "a b" splay = "5s" }', "exec.splay: a command runs at once"),
    ],
)
def test_what_a_template_cannot_keep_is_told_at_its_line_and_place(imported, said, told):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {said}')
    assert any(line.startswith("agent.hcl:4: template.") and told in line for line in found.lost), found.lost
    comment = " ".join(line.strip().lstrip("# ") for line in found.text.splitlines() if line.strip().startswith("#"))
    assert f"TODO lessee import: template.{told}" in comment
    parse(found.text, source="lessee.yaml", environ={})


def test_what_is_false_asks_for_nothing(imported):
    off = 'cache { enabled = "false" }\n'
    found = imported("agent.hcl", off + TEMPLATE % 'destination = "/run/web/a"\n backup = false\n wait = "2s"')
    assert not found.lost


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('command = "reload web"', {"command": ["reload", "web"], "timeout": "30s"}),
        ('command = ["reload", 5]\n command_timeout = "1m30s"', {"command": ["reload", "5"], "timeout": "90s"}),
        ('exec { command = ["reload"] timeout = 10 }', {"command": ["reload"], "timeout": "10s"}),
        ('command = "a b"\n exec { timeout = "0s" }', {"command": ["a", "b"], "timeout": "30s"}),
        ('exec { command = ["reload"] enabled = false }', None),
        ('command = " "', None),
        ("command = []", None),
    ],
)
def test_a_command_tells_the_app(imported, said, wanted):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {said}')
    assert found.app("web").get("notify") == wanted
    assert not found.lost


def test_templates_are_found_where_they_lie(imported):
    text = 'template {\n source = "%s"\n destination = "/run/web/a"\n}\n'
    found = imported("agent.hcl", text % "/etc/agent/a.ctmpl", a="x {{ timestamp }}")
    assert found.files["a.j2"].startswith("x ")
    assert [line.split(":")[0] for line in found.lost] == ["a.ctmpl"]
    missing = imported("agent.hcl", text % "/etc/agent/b.ctmpl" + FILE)
    assert any(
        "agent.hcl:2: template.source: the template /etc/agent/b.ctmpl is not here" in line for line in missing.lost
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('template {\n contents = "x"\n}\n', "template.destination: there is none"),
        ('template {\n contents = "x"\n destination = "/run/\\x00"\n}\n', "template.destination: there is none"),
        ('template {\n destination = "/run/web/b"\n}\n', "template.contents: there is no template"),
        ('template {\n contents = ""\n destination = "/run/web/b"\n}\n', "template.contents: there is no template"),
    ],
)
def test_a_template_that_renders_nothing_is_told(imported, text, told):
    found = imported("agent.hcl", text + FILE)
    assert any(told in line for line in found.lost)


def test_what_ends_when_it_has_rendered_is_another_command(imported):
    found = imported("agent.hcl", "exit_after_auth = true\n" + FILE)
    assert any("run `lessee render`" in line for line in found.notes)


def test_a_configuration_without_templates_is_refused(imported):
    with pytest.raises(UsageError, match="renders no template"):
        imported("agent.hcl", "auto_auth { }")


ENV = 'env_template "%s" {\n  contents = "%s"\n}\n'
EXEC = "exec {\n  command = %s\n  %s\n}\n"


@pytest.mark.parametrize(
    ("contents", "wanted"),
    [
        ('{{ with secret \\"secret/data/a\\" }}{{ .Data.data.b }}{{ end }}', 'A={{ secret("a").b }}\n'),
        ("plain-1.2/3", "A=plain-1.2/3\n"),
        ('a \\"b\\" \\\\ ${c} $d', 'A="a \\"b\\" \\\\ ${:-$}{c} $d"\n'),
        ("{{ if true }}a{{ end }}", 'A="{% if true %}a{% endif %}"\n'),
        ("a\\nb\\r", 'A="a\nb\\r"\n'),
    ],
)
def test_variables_become_the_environment_of_a_child(imported, contents, wanted):
    found = imported("agent.hcl", ENV % ("A", contents) + EXEC % ('["/usr/bin/web", "-p", "a b"]', ""))
    assert found.files["process.env.j2"] == wanted
    assert found.app("web") == {
        "directory": "/run/secrets/web",
        "environ": "process.env.j2",
        "notify": {"child": True, "action": "restart", "grace": "30s"},
    }
    assert any("run it as `lessee exec --app web -- /usr/bin/web -p 'a b'`" in line for line in found.notes)
    parse(found.text, source="lessee.yaml", environ={}, for_child=True)


def test_a_child_that_is_not_restarted_is_told_nothing(imported):
    more = 'restart_on_secret_changes = "never"\n  restart_stop_signal = "SIGINT"'
    found = imported("agent.hcl", ENV % ("A", "x") + EXEC % ('"web --port 1"', more))
    assert found.app("sh") == {"directory": "/run/secrets/sh", "environ": "process.env.j2"}
    assert any("exec -- sh -c 'web --port 1'" in line.replace("--app sh ", "") for line in found.notes)
    assert any("a child is stopped by SIGTERM" in line for line in found.lost)


def test_a_file_that_a_variable_writes_is_told(imported):
    contents = '{{ \\"x\\" | writeToFile \\"/run/web/x\\" \\"\\" \\"\\" \\"0600\\" }}'
    found = imported("agent.hcl", ENV % ("A", contents) + EXEC % ('"web"', ""))
    assert found.lost == [
        "agent.hcl:2: /run/web/x is written by a variable's template; give it one of its own",
    ]


def test_variables_of_json_and_without_a_template(imported):
    text = '{"env_template": {"A": {"contents": "x"}, "B": {}}, "exec": {"command": ["web"]}}'
    found = imported("agent.json", text)
    assert found.files["process.env.j2"] == "A=x\n"
    assert any("there is no template" in line for line in found.lost)
    nobody = imported("agent.json", '{"env_template": {"A": {"contents": "x"}}, "exec": {}}')
    assert nobody.config["apps"] == {}
