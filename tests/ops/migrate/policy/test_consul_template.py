"""The configuration of consul-template in lessee's words."""

import pytest

from lessee.config.parsing import parse

CANARY = "s.HUNTER2"
CONTENTS = '[[ with secret \\"kv/a\\" ]][[ .Data.b ]][[ end ]]'
FILE = f'template {{\n  contents = "{CONTENTS}"\n  destination = "/run/web/a.env"\n}}\n'
DELIMITERS = 'default_delimiters {\n  left = "[["\n  right = "]]"\n}\n'


def test_all_of_it_is_carried_over_or_told(imported):
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
        "server_name": "v",
        "client_cert_file": "/c",
        "client_key_file": "/k",
        "insecure": True,
    }
    assert found.config["secrets"] == {"mount": "kv", "prefix": "", "refresh": "1m"}
    assert found.files["a.env.j2"] == '{{ secret("a").b }}'
    assert [line.split(": ")[1] for line in found.lost] == [
        "consul", "vault.token", "vault.unwrap_token", "vault.ssl.ca_path", "syslog", "deduplicate",
    ]  # fmt: skip
    assert CANARY not in "".join([*found.files.values(), *found.lost, *found.notes])
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('vault_agent_token_file = "/t"', {"method": "token", "token_file": "/t"}),
        ('k8s_auth_role_name = "r"', {"method": "kubernetes", "role": "r"}),
        (
            'k8s_auth_role_name = "r" k8s_service_account_token_path = "/j" k8s_service_mount_path = "auth/k8s"',
            {"method": "kubernetes", "role": "r", "jwt_file": "/j", "mount": "k8s"},
        ),
    ],
)
def test_each_way_of_logging_in_has_its_own(imported, said, wanted):
    found = imported("ct.hcl", f"vault {{ {said} }}\n" + DELIMITERS + FILE)
    assert found.config["vault"]["auth"] == wanted


def test_tls_alone_is_no_less(imported):
    found = imported("ct.hcl", 'vault { ssl { ca_cert = "/ca" } }\n' + DELIMITERS + FILE)
    assert found.config["vault"] == {"ca_file": "/ca"}


def test_without_a_login_the_token_is_the_agents(imported):
    found = imported("ct.hcl", DELIMITERS + FILE)
    assert "vault" not in found.config
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("said", "wanted", "lost"),
    [
        ('command = ["nginx"] reload_signal = "SIGHUP" kill_timeout = "5s"', ("SIGHUP", "5s"), ""),
        ('command = "nginx -g x"', ("restart", "30s"), ""),
        (
            'command = "nginx" reload_signal = "SIGFOO" kill_signal = "SIGQUIT"',
            ("restart", "30s"),
            "SIGFOO is no signal of Linux",
        ),
        (
            'command = "nginx" kill_signal = "TERM" splay = "5s" env { pristine = true }',
            ("restart", "30s"),
            "exec.env: the child gets",
        ),
    ],
)
def test_a_child_is_told_as_before(imported, said, wanted, lost):
    found = imported("ct.hcl", f"exec {{ {said} }}\n" + DELIMITERS + FILE)
    action, grace = wanted
    assert found.app("web")["notify"] == {"child": True, "action": action, "grace": grace}
    assert any(line.startswith("ct.hcl:1: note: run it as `lessee exec --app web -- ") for line in found.notes)
    assert bool(found.lost) == bool(lost)
    assert lost in "".join(found.lost)
    parse(found.text, source="lessee.yaml", environ={}, for_child=True)


def test_a_child_that_is_not_enabled_is_none(imported):
    found = imported("ct.hcl", 'exec { command = "x" enabled = false }\n' + DELIMITERS + FILE)
    assert "notify" not in found.app("web")


def test_a_child_has_one_app_and_one_way_of_being_told(imported):
    other = FILE.replace("/run/web/", "/run/other/").replace("}\n", 'command = "reload x"\n}\n')
    found = imported("ct.hcl", 'exec { command = "x" }\n' + DELIMITERS + other + FILE)
    assert any("`lessee exec` keeps the files of one app, other" in line for line in found.lost)
    assert any("the app other is told by its command, and the child is not" in line for line in found.lost)
    assert found.app("other")["notify"]["command"] == ["reload", "x"]
    assert found.app("web")["notify"]["child"]
