"""The configuration of a drill's agents and commands: what it keeps of the real one, and what it leaves out."""

import pytest
from msgspec.structs import replace

from lessee.config.grammar.vault import AppRole
from lessee.config.parsing import parse
from lessee.ops.drill.policy.configuration import (
    MOST_TARGETS,
    Target,
    choose_targets,
    drill_config,
    environment_of,
    rotated_keys,
)

REAL = """
environment: production
vault: {address: "https://vault.example.com:8200", namespace: team, ca_file: ca.pem}
identities:
  other:
    auth: {method: approle, role_id: r, secret_id_file: /s}
    secrets: {mount: second, prefix: "x/"}
  unused: {auth: {method: approle, role_id: u, secret_id_file: /u}}
secrets:
  shared_prefixes: [shared/]
  mounts: {third: {prefix: "", shared_prefixes: [all/]}}
state_dir: /run/lessee
template_env: [HOSTNAME, A]
setup: {environments: [testing, production]}
events: {redis: "redis://redis:6379/0"}
status: {listen: "127.0.0.1:9105", allow_unauthenticated: true}
programs: {environment: [SECRET]}
audit_trail: {directory: /var/log/lessee, key_file: /etc/lessee/trail.key}
apps:
  simba:
    directory: /run/simba
    owner: "10:20"
    files: [{template: simba.env.j2}, {template: "tls/a.pem.j2", format: text}]
    check: [/usr/bin/check, "{directory}"]
    notify: {command: [/usr/bin/reload]}
    ready: {http: "http://127.0.0.1/ready"}
    on_expiry: {command: [/usr/bin/expire]}
    fallback: {last_known_good: /var/lib/simba.good}
  child:
    directory: /run/child
    env_template: "child${x}.env.j2"
    public_variables: [VITE_B, VITE_A]
    refresh_interval: 200ms
    vault: {auth: {method: approle, role_id: own, secret_id_file: /own}}
rotation:
  postgres: {kind: manual, secret: database/postgres, keys: [password]}
  unread: {kind: manual, secret: other/secret, keys: [password]}
"""


def real(text=REAL):
    blocks = ("setup", "rotation", "backup", "drill")
    return parse(text.replace("${x}", "$${x}"), source="lessee.yaml", environ={}, for_child=True, blocks=blocks)


def drill_of(config, apps=("simba", "child"), targets=(), **settings):
    auth = AppRole(role_id_file="/d/role_id", secret_id_file="/d/secret_id", mount="lessee-drill")
    top = replace(config.vault, address="http://127.0.0.1:1234", namespace=None, ca_file=None, auth=auth)
    logins = {config.vault: replace(top, **settings)}
    for vault in (config.apps["child"].vault, config.identities["other"].vault):
        logins[vault] = top
    text = drill_config(config, apps, logins, targets, folder="/d", template_dir="/etc/lessee")
    blocks = ("rotation",)
    return text, parse(text, source="drill.yaml", environ={}, blocks=blocks)


def test_nothing_that_reaches_another_system_is_left():
    text, drill = drill_of(real())
    for word in ("vault.example.com", "redis", "9105", "/usr/bin", "SECRET", "/var/", "10:20", "/run/simba", "trail"):
        assert word not in text, word
    assert drill.events is None
    assert drill.audit_trail is None
    for app in drill.apps.values():
        assert app.check is None
        assert app.fallback is None
        assert app.on_expiry == "keep"
    # An identity without templates that read under it has no login in the drill.
    assert drill.identities.keys() == {"other"}


def test_paths_templates_and_intervals_are_the_real_ones():
    config = real()
    _, drill = drill_of(config)
    assert drill.environment == "production"
    assert drill.template_dir == "/etc/lessee"
    assert drill.template_env == config.template_env
    assert drill.secrets == config.secrets
    assert drill.identities["other"].secrets == config.identities["other"].secrets
    assert drill.setup.environments == ("production", "testing")
    assert drill.foreign_environments == config.foreign_environments
    simba, child = drill.apps["simba"], drill.apps["child"]
    assert [(file.template, file.name, file.format) for file in simba.files] == [
        ("simba.env.j2", "simba.env", "dotenv"),
        ("tls/a.pem.j2", "a.pem", "text"),
    ]
    assert [(file.template, file.name, file.format) for file in child.files] == [
        ("child${x}.env.j2", "environment", "dotenv")
    ]
    assert child.refresh_interval == 0.2
    assert child.public_variables == {"VITE_A", "VITE_B"}
    assert (simba.directory, child.directory) == ("/d/apps/simba", "/d/apps/child")


def test_an_app_is_notified_and_ready_only_if_the_real_one_is():
    _, drill = drill_of(real())
    simba, child = drill.apps["simba"], drill.apps["child"]
    assert simba.notify.target.path == "/d/pids/simba"
    assert simba.ready.probe.path == "/d/ready/simba"
    assert (child.notify, child.ready) == (None, None)


def test_templates_in_the_file_itself_are_copied_with_their_text():
    contents = 'files: [{name: a.env, contents: "A=${B}\\n"}]'
    text = REAL.replace('files: [{template: simba.env.j2}, {template: "tls/a.pem.j2", format: text}]', contents)
    _, drill = drill_of(real(text))
    [file] = drill.apps["simba"].files
    assert (file.name, drill.inline_templates[file.template].text) == ("a.env", "A=${B}\n")


def test_the_login_is_the_drill_s_own():
    text, drill = drill_of(real(), tls_server_name="vault.internal", tls_skip_verify=True)
    assert drill.vault.address == "http://127.0.0.1:1234"
    assert drill.vault.auth.mount == "lessee-drill"
    assert (drill.vault.tls_server_name, drill.vault.tls_skip_verify) == ("vault.internal", True)
    assert drill.apps["child"].vault.auth.role_id_file == "/d/role_id"
    assert "role_id: own" not in text


def test_only_the_named_apps_are_in_it():
    assert drill_of(real(), apps=("simba",))[1].apps.keys() == {"simba"}


def test_the_targets_become_random_values_in_vault():
    targets = [Target("postgres", "database/postgres", {"password": 40}, ("simba",))]
    _, drill = drill_of(real(), targets=targets)
    (target,) = drill.rotation.values()
    assert (target.secret, target.consumers) == ("database/postgres", ("simba",))
    assert target.keys["password"].generate == 40
    assert (target.revoke_delay, target.confirmation_timeout) == (1.0, 61.0)


def test_without_an_environment_the_drill_has_one_of_its_own():
    text = "apps: {a: {directory: /run/a, files: [{template: a.j2}]}}\nsecrets: {prefix: team/}\n"
    config = parse(text, source="lessee.yaml", environ={})
    assert environment_of(config) == "drill"
    logins = {config.vault: config.vault}
    text = drill_config(config, ["a"], logins, [], folder="/d", template_dir="/t")
    drill = parse(text, source="drill.yaml", environ={})
    assert "drill" in drill.setup.environments
    assert drill.secrets.prefix == "team/"
    assert drill.template_env is None


def test_targets_that_apps_read_are_rotated_and_otherwise_what_apps_read():
    config = real()
    assert choose_targets(config, {"database/postgres": {"simba"}}) == {"postgres": "database/postgres"}
    assert choose_targets(config, {"api-keys/a b": {"simba"}}) == {"api-keys-a-b": "api-keys/a b"}
    many = {f"a/{number:03}": {"simba"} for number in range(100)}
    assert len(choose_targets(config, many)) == MOST_TARGETS


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"host": "db.example.com", "port": "5432", "password": "a" * 40}, {"password": 40}),
        ({"access_key": "a" * 20, "secret_key": "b" * 1000, "n": 5}, {"access_key": 20, "secret_key": 256}),
        ({"url": "https://a", "x": "y"}, {"url": 9}),
        ({"api_key": "", "note": "abc"}, {"note": 8}),
        ({"port": 5432}, {}),
        ({}, {}),
    ],
)
def test_values_that_look_like_credentials_are_rotated_with_their_length(fields, keys):
    assert rotated_keys(fields) == keys
