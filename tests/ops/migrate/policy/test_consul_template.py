"""The import of a configuration of consul-template."""

import pytest

from lessee.config.parsing import parse

CANARY = "s.HUNTER2"
CONTENTS = '[[ with secret \\"kv/a\\" ]][[ .Data.b ]][[ end ]]'
FILE = f'template {{\n  contents = "{CONTENTS}"\n  destination = "/run/web/a.env"\n}}\n'
DELIMITERS = 'default_delimiters {\n  left = "[["\n  right = "]]"\n}\n'


def test_once_is_a_command_of_its_own(imported):
    found = imported("ct.hcl", "once = true\n" + DELIMITERS + FILE)
    assert not found.losses
    assert "ct.hcl:1: note: once: run `lessee render`, which exits" in "\n".join(found.notes)


def test_every_key_is_carried_over_or_reported(imported):
    text = f"""
consul {{ address = "127.0.0.1:8500" }}
vault {{
  address = "https://vault:8200"
  namespace = "team"
  token = "{CANARY}"
  renew_token = true
  unwrap_token = true
  default_lease_duration = "60s"
  ssl {{ enabled = true verify = false ca_cert = "/ca" cert = "/c" key = "/k" server_name = "v" ca_path = "/cas" }}
  retry {{ attempts = 5 }}
}}
syslog {{ enabled = true }}
deduplicate {{ enabled = true }}
wait {{ min = "5s" }}
kill_signal = "SIGINT"
"""
    found = imported("ct.hcl", text + DELIMITERS + FILE)
    assert found.config["vault"] == {
        "address": "https://vault:8200",
        "namespace": "team",
        "ca_file": "/ca",
        "tls_server_name": "v",
        "client_cert_file": "/c",
        "client_key_file": "/k",
        "tls_skip_verify": True,
    }
    assert found.config["secrets"] == {"mount": "kv", "prefix": "", "refresh_interval": "1m"}
    assert found.files["a.env.j2"] == '{{ secret("a").b }}'
    assert [line.split(": ")[1] for line in found.losses] == [
        "vault.token", "vault.unwrap_token", "vault.ssl.ca_path", "syslog",
    ]  # fmt: skip
    notes = [line.split(": ")[2] for line in found.notes]
    assert [name for name in notes if name in {"consul", "deduplicate", "kill_signal", "wait"}] == [
        "consul", "deduplicate", "wait", "kill_signal",
    ]  # fmt: skip
    assert CANARY not in "".join([*found.files.values(), *found.losses, *found.notes])
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('vault_agent_token_file = "/t"', {"method": "token", "token_file": "/t"}),
        ('k8s_auth_role_name = "r"', {"method": "kubernetes", "role": "r"}),
        (
            'k8s_auth_role_name = "r" k8s_service_account_token_path = "/j" k8s_service_mount_path = "auth/k8s"',
            {"method": "kubernetes", "role": "r", "jwt_file": "/j", "mount": "k8s"},
        ),
    ],
)
def test_each_supported_auth_method_is_carried_over(imported, settings, expected):
    found = imported("ct.hcl", f"vault {{ {settings} }}\n" + DELIMITERS + FILE)
    assert found.config["vault"]["auth"] == expected


def test_tls_settings_without_an_address_are_carried_over(imported):
    found = imported("ct.hcl", 'vault { ssl { ca_cert = "/ca" } }\n' + DELIMITERS + FILE)
    assert found.config["vault"] == {"ca_file": "/ca"}


def test_without_a_login_lessee_yaml_has_no_vault_block(imported):
    found = imported("ct.hcl", DELIMITERS + FILE)
    assert "vault" not in found.config
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("settings", "expected", "loss"),
    [
        (
            'command = ["nginx"] reload_signal = "SIGHUP" kill_signal = "SIGQUIT" kill_timeout = "5s"',
            ("SIGHUP", "5s", ""),
            "",
        ),
        ('command = "nginx -g x"', ("restart", "30s", ""), ""),
        (
            'command = "nginx" reload_signal = "SIGFOO" kill_signal = "SIGQUIT"',
            ("restart", "30s", "SIGQUIT"),
            "unknown signal SIGFOO",
        ),
        ('command = "nginx" kill_signal = "SIGRTMIN+3"', ("restart", "30s", ""), "unknown signal SIGRTMIN+3"),
        (
            'command = "nginx" kill_signal = "TERM" splay = "5s" env { pristine = true }',
            ("restart", "30s", ""),
            "exec.env: the child gets",
        ),
    ],
)
def test_the_child_gets_the_same_notification(imported, settings, expected, loss):
    found = imported("ct.hcl", f"exec {{ {settings} }}\n" + DELIMITERS + FILE)
    action, grace, stop = expected
    stops = {"stop_signal": stop} if stop else {}
    assert found.app("web")["notify"] == {"child": True, "action": action, "stop_grace_period": grace} | stops
    assert any(
        line.startswith("ct.hcl:1: note: start the program with `lessee exec --app web -- ") for line in found.notes
    )
    assert bool(found.losses) == bool(loss)
    assert loss in "".join(found.losses)
    parse(found.text, source="lessee.yaml", environ={}, for_child=True)


def test_a_disabled_child_is_ignored(imported):
    found = imported("ct.hcl", 'exec { command = "x" enabled = false }\n' + DELIMITERS + FILE)
    assert "notify" not in found.app("web")


def test_a_child_has_one_app_and_one_notification(imported):
    other = FILE.replace("/run/web/", "/run/other/").replace("}\n", 'command = "reload x"\n}\n')
    found = imported("ct.hcl", 'exec { command = "x" }\n' + DELIMITERS + other + FILE)
    assert any("`lessee exec` renders the files of one app, other" in line for line in found.losses)
    assert any(
        "the app other has a command and a child, and only the command is notified" in line for line in found.losses
    )
    assert found.app("other")["notify"]["command"] == ["reload", "x"]
    assert "notify" not in found.app("web")
