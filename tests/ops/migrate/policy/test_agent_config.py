"""The import of a configuration of Vault Agent."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import TemplateError, UsageError

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


def test_every_key_is_carried_over_or_reported(imported):
    found = imported("agent.hcl", FULL + FILE)
    assert found.config["vault"] == {
        "address": "https://vault:8200",
        "namespace": "team-a",
        "ca_file": "/ca.pem",
        "tls_server_name": "vault.internal",
        "client_cert_file": "/cert.pem",
        "client_key_file": "/key.pem",
        "tls_skip_verify": True,
        "auth": {
            "method": "approle",
            "role_id_file": "/role_id",
            "secret_id_file": "/secret_id",
            "mount": "apps",
            "wrapped": True,
            "secret_id_response_wrapping_path": "auth/apps/role/web/secret-id",
            "remove_secret_id_file_after_reading": True,
        },
    }
    assert found.config["secrets"] == {"mount": "secret", "prefix": "", "refresh_interval": "90s"}
    keys = [line.split(": ")[1] for line in found.losses]
    assert keys == [
        "vault.ca_path", "auto_auth.method.wrap_ttl", "auto_auth.sink", "cache", "listener", "telemetry",
        "nonsense",
    ]  # fmt: skip
    for key in keys:
        assert f"# TODO lessee import: {key}: " in found.text.replace("\n#   ", " ").replace("\n  #   ", " ")
    notes = "\n".join(found.notes)
    for key in (
        "pid_file",
        "log_level",
        "log_format",
        "vault.retry",
        "auto_auth.method.max_backoff",
        "template_config.exit_on_retry",
    ):
        assert key in notes
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("method", "more", "config", "expected"),
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
        ("ldap", "", 'username = "u", password_file_path = "/p"', {"username": "u", "password_file": "/p"}),
        (
            "aws",
            'mount_path = "auth/team/aws"',
            'type = "iam", role = "r", region = "eu-west-1", header_value = "v"',
            {"role": "r", "region": "eu-west-1", "header_value": "v", "mount": "team/aws"},
        ),
        (
            "azure",
            "",
            'role = "r", resource = "https://v", client_id = "c"',
            {"role": "r", "resource": "https://v", "client_id": "c"},
        ),
        ("gcp", "", 'type = "gce", role = "r"', {"role": "r"}),
        ("gcp", "", 'type = "iam", role = "r", credentials = "/k"', {"role": "r", "credentials_file": "/k"}),
        (
            "cf",
            "",
            'role = "r", cf_instance_cert = "/c", cf_instance_key = "/k"',
            {"role": "r", "cert_file": "/c", "key_file": "/k"},
        ),
        (
            "kerberos",
            "",
            'username = "u", service = "HTTP/v", realm = "R", keytab_path = "/k"',
            {"username": "u", "service": "HTTP/v", "realm": "R", "keytab_file": "/k"},
        ),
        ("approle", 'type = "approle"', 'role_id_file_path = "/r"', {"role_id_file": "/r"}),
        (
            "approle",
            "",
            'role_id_file_path = "/r", secret_id_file_path = "/s", remove_secret_id_file_after_reading = "false"',
            {"role_id_file": "/r", "secret_id_file": "/s"},
        ),
    ],
)
def test_each_supported_auth_method_is_carried_over(imported, method, more, config, expected):
    found = imported("agent.hcl", AUTO % (method, more, config) + FILE)
    assert found.config["vault"]["auth"] == {"method": method, **expected}
    assert not found.losses
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("method", "config", "loss"),
    [
        ("alicloud", 'role = "r"', "lessee does not support the auth method alicloud"),
        ("aws", 'type = "ec2", role = "r"', "set type: ec2 and nonce_file in vault.auth"),
        ("aws", 'type = "iam", role = "r", secret_key = "s"', "lessee does not copy credentials"),
        ("azure", 'resource = "https://x"', "azure needs role"),
        ("gcp", 'type = "iam", role = "r"', "not by Google's API"),
        ("kerberos", 'krb5conf_path = "/k"', "set it in the agent's environment"),
        ("ldap", "", "ldap needs username and password_file"),
        ("approle", "", "approle needs role_id_file"),
        ("cert", "", "cert needs cert_file and key_file"),
        ("jwt", 'path = "/j", remove_jwt_after_reading = true', "lessee does not remove the file with the JWT"),
    ],
)
def test_an_unsupported_login_is_a_loss(imported, method, config, loss):
    found = imported("agent.hcl", AUTO % (method, "", config) + FILE)
    assert any(loss in line for line in found.losses)
    parse(found.text, source="lessee.yaml", environ={})


def test_the_ca_of_cert_and_the_namespace_of_a_method_are_carried_over(imported):
    config = 'ca_cert = "/ca", client_cert = "/c", client_key = "/k"'
    found = imported("agent.hcl", AUTO % ("cert", 'namespace = "team/"', config) + FILE)
    assert found.config["vault"]["ca_file"] == "/ca"
    assert found.config["vault"]["namespace"] == "team"
    two = imported(
        "agent.hcl", 'vault { namespace = "a" ca_cert = "/b" }\n' + AUTO % ("cert", 'namespace = "b"', config) + FILE
    )
    assert any("the login and the secrets are in different namespaces" in line for line in two.losses)
    assert two.config["vault"]["ca_file"] == "/b"
    same = imported("agent.hcl", 'vault { namespace = "b" }\n' + AUTO % ("cert", 'namespace = "b"', config) + FILE)
    assert not same.losses


@pytest.mark.parametrize(
    "blocks",
    [
        '"method": {"approle": {"config": {"role_id_file_path": "/r"}}}, "sink": {"file": {"config": {"path": "/t"}}}',
        '"method": [{"type": "approle", "config": {"role_id_file_path": "/r"}}], "sink": [{"type": "file"}]',
        '"method": [{"type": "approle", "role_id_file_path": "/r"}], "sinks": 1, "sink": {}',
    ],
)
def test_json_is_read_like_hcl(imported, blocks):
    template = (
        '"template": [{"contents": "x", "destination": "/run/web/a", "perms": "640",'
        ' "exec": {"command": "pkill -HUP x"}}]'
    )
    found = imported("agent.json", f'{{"auto_auth": {{{blocks}}}, {template}}}')
    assert found.config["vault"]["auth"] == {"method": "approle", "role_id_file": "/r"}
    assert found.app("web")["mode"] == "0640"
    assert found.app("web")["notify"] == {"process": {"name": "x"}, "action": "SIGHUP"}
    assert any("lessee does not write its token" in line for line in found.losses)


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ("perms = 0600", "mode", "0600"),
        ('perms = "0440"', "mode", "0440"),
        ("", "mode", "0644"),
        ('user = "1000"', "owner", "1000"),
        ('user = "root"\n group = "1000"', "owner", "0:1000"),
        ("uid = 5\n gid = 6", "owner", "5:6"),
    ],
)
def test_mode_and_owner_are_carried_over(imported, settings, key, expected):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {settings}\n error_on_missing_key = true')
    assert found.app("web")[key] == expected
    assert not found.losses


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        ("perms = 640", "perms: invalid file mode"),
        ('perms = "rw"', "perms: invalid file mode"),
        ("perms = [1]", "perms: invalid file mode"),
        ("perms = true", "perms: invalid file mode"),
        ('user = "www-data"', "user: the owner www-data:- is not numeric"),
        ('group = "web"', "group: the owner -:web is not numeric"),
        ("backup = true", "backup: lessee writes no .bak files"),
        ("nonsense = 1", "nonsense: unknown key"),
        ("left_delimiter = [1]", "left_delimiter: expected a string"),
        ("command = { a = 1 }", "command: expected a list of strings"),
        ("exec = 3", "exec: expected a block"),
        ('command_timeout = "soon"', "command_timeout: 'soon' is not a duration"),
        ('exec { command = "a b" splay = "5s" }', "exec.splay: lessee runs a command immediately"),
    ],
)
def test_a_loss_is_reported_with_its_line_and_as_a_comment(imported, settings, loss):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {settings}')
    assert any(line.startswith("agent.hcl:4: template.") and loss in line for line in found.losses), found.losses
    comment = " ".join(line.strip().lstrip("# ") for line in found.text.splitlines() if line.strip().startswith("#"))
    assert f"TODO lessee import: template.{loss}" in comment
    parse(found.text, source="lessee.yaml", environ={})


def test_a_disabled_key_is_not_a_loss(imported):
    disabled = 'cache { enabled = "false" }\n'
    found = imported("agent.hcl", disabled + TEMPLATE % 'destination = "/run/web/a"\n backup = false\n wait = "2s"')
    assert not found.losses


@pytest.mark.parametrize(
    ("settings", "expected"),
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
def test_a_command_becomes_the_notification(imported, settings, expected):
    found = imported("agent.hcl", TEMPLATE % f'destination = "/run/web/a"\n {settings}')
    assert found.app("web").get("notify") == expected
    assert not found.losses


def test_templates_are_found_by_path_or_file_name(imported):
    text = 'template {\n source = "%s"\n destination = "/run/web/a"\n}\n'
    found = imported("agent.hcl", text % "/etc/agent/a.ctmpl", a="x {{ timestamp }}")
    assert found.files["a.j2"].startswith("x ")
    assert [line.split(":")[0] for line in found.losses] == ["a.ctmpl"]
    missing = imported("agent.hcl", text % "/etc/agent/b.ctmpl" + FILE)
    assert any(
        "agent.hcl:2: template.source: the template /etc/agent/b.ctmpl cannot be found" in line
        for line in missing.losses
    )


def test_a_file_whose_template_is_missing_keeps_its_place_and_is_rejected(imported):
    keys = 'destination = "/run/web/b.env"\n perms = "0600"\n command = "pkill -HUP web"'
    found = imported(
        "agent.hcl",
        f'template {{\n {keys}\n source = "/etc/b.ctmpl"\n}}\n'
        + ENV.replace('contents = "%s"', 'source = "v.ctmpl"') % "A"
        + EXEC % ('["web"]', ""),
    )
    todo = "put it into the directory of the configuration, and run the import again"
    assert found.losses[:2] == [
        f"agent.hcl:5: template.source: the template /etc/b.ctmpl cannot be found; {todo}",
        f"agent.hcl:8: env_template.source: the template v.ctmpl cannot be found; {todo}",
    ]
    assert found.app("web") == {
        "directory": "/run/web",
        "mode": "0600",
        "files": [{"template": "b.env.j2", "format": "text"}],
        "env_template": "process.env.j2",
        "notify": {"process": {"name": "web"}, "action": "SIGHUP"},
    }
    fail = '{{ fail("TODO lessee import: the template %s cannot be found; ' + todo + '") }}'
    assert found.files["b.env.j2"] == fail % "/etc/b.ctmpl"
    assert found.files["process.env.j2"] == "A=" + fail % "v.ctmpl" + "\n"


NOTHING = "the import found no template that it can carry over"


def test_a_configuration_whose_templates_are_all_lost_names_each_of_them(imported):
    text = 'template {\n contents = "x"\n}\ntemplate {\n destination = "/run/web/b"\n}\n'
    with pytest.raises(TemplateError) as caught:
        imported("agent.hcl", text)
    assert str(caught.value).splitlines() == [
        "agent.hcl:1: template.destination: it is missing or invalid, so nothing is rendered; write the file's path",
        "agent.hcl:4: template.contents: the block has no template; write contents or source",
        f"agent.hcl: {NOTHING}; pass a configuration with templates, or a template",
    ]


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ('template {\n contents = "x"\n}\n', "template.destination: it is missing or invalid"),
        (
            'template {\n contents = "x"\n destination = "/run/\\x00"\n}\n',
            "template.destination: it is missing or invalid",
        ),
        ('template {\n destination = "/run/web/b"\n}\n', "template.contents: the block has no template"),
        (
            'template {\n contents = ""\n destination = "/run/web/b"\n}\n',
            "template.contents: the block has no template",
        ),
    ],
)
def test_a_template_that_renders_nothing_is_a_loss(imported, text, loss):
    found = imported("agent.hcl", text + FILE)
    assert any(loss in line for line in found.losses)


def test_exit_after_auth_has_a_note_about_lessee_render(imported):
    found = imported("agent.hcl", "exit_after_auth = true\n" + FILE)
    assert any("run `lessee render`" in line for line in found.notes)


def test_a_configuration_without_templates_is_rejected(imported):
    with pytest.raises(UsageError, match="has no templates"):
        imported("agent.hcl", "auto_auth { }")


NO_PROGRAM = "the configuration has variables for a program, and no program"
ENV = 'env_template "%s" {\n  contents = "%s"\n}\n'
EXEC = "exec {\n  command = %s\n  %s\n}\n"


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ('{{ with secret \\"secret/data/a\\" }}{{ .Data.data.b }}{{ end }}', 'A={{ secret("a").b }}\n'),
        ("plain-1.2/3", "A=plain-1.2/3\n"),
        ('a \\"b\\" \\\\ ${c} $d', 'A="a \\"b\\" \\\\ ${:-$}{c} $d"\n'),
        ("{{ if true }}a{{ end }}", 'A="{% if true %}a{% endif %}"\n'),
        ("a\\nb\\r", 'A="a\nb\\r"\n'),
    ],
)
def test_env_templates_become_the_environment_of_a_child(imported, contents, expected):
    found = imported("agent.hcl", ENV % ("A", contents) + EXEC % ('["/usr/bin/web", "-p", "a b"]', ""))
    assert found.files["process.env.j2"] == expected
    assert found.app("web") == {
        "directory": "/run/secrets/web",
        "env_template": "process.env.j2",
        "notify": {"child": True, "action": "restart", "stop_grace_period": "30s"},
    }
    assert any(
        "start the program with `lessee exec --app web -- /usr/bin/web -p 'a b'`" in line for line in found.notes
    )
    parse(found.text, source="lessee.yaml", environ={}, for_child=True)


def test_a_child_that_never_restarts_has_no_notification(imported):
    more = 'restart_on_secret_changes = "never"\n  restart_stop_signal = "SIGINT"'
    found = imported("agent.hcl", ENV % ("A", "x") + EXEC % ('"web --port 1"', more))
    assert found.app("web") == {"directory": "/run/secrets/web", "env_template": "process.env.j2"}
    assert any("exec -- sh -c 'web --port 1'" in line.replace("--app web ", "") for line in found.notes)
    assert found.losses == []


@pytest.mark.parametrize("signal", ["SIGINT", "INT"])
def test_a_child_is_stopped_by_the_same_signal(imported, signal):
    found = imported("agent.hcl", ENV % ("A", "x") + EXEC % ('"web"', f'restart_stop_signal = "{signal}"'))
    notify = {"child": True, "action": "restart", "stop_grace_period": "30s", "stop_signal": "SIGINT"}
    assert found.app("web")["notify"] == notify
    parse(found.text, source="lessee.yaml", environ={}, for_child=True)


def test_a_file_that_a_variable_writes_is_a_loss(imported):
    contents = '{{ \\"x\\" | writeToFile \\"/run/web/x\\" \\"\\" \\"\\" \\"0600\\" }}'
    found = imported("agent.hcl", ENV % ("A", contents) + EXEC % ('"web"', ""))
    assert found.losses == [
        "agent.hcl:2: the template of a variable writes /run/web/x; give the file its own template",
    ]


def test_env_templates_in_json_may_have_no_template(imported):
    text = '{"env_template": {"A": {"contents": "x"}, "B": {}}, "exec": {"command": ["web"]}}'
    found = imported("agent.json", text)
    assert found.files["process.env.j2"] == "A=x\n"
    assert any("the block has no template" in line for line in found.losses)
    empty = imported("agent.json", '{"env_template": {"A": {"contents": "x"}}, "exec": {}}')
    assert empty.config["apps"] == {"app": {"directory": "/run/secrets/app", "env_template": "process.env.j2"}}
    assert [line for line in empty.losses if "no program" in line] == [
        f"agent.json:1: {NO_PROGRAM}; write exec.command, or run `lessee exec --app app -- PROGRAM`"
    ]
