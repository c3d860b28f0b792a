"""A valid lessee.yaml becomes a Config."""

import re
import signal

import msgspec
import pytest

from lessee.config import (
    Check,
    Child,
    CmdlineTarget,
    CommandProbe,
    CommandTarget,
    ContainerTarget,
    File,
    FileProbe,
    HttpProbe,
    HttpTarget,
    KvMount,
    NameTarget,
    PidFileTarget,
    Ready,
    Restart,
    Secrets,
    Status,
    TcpProbe,
    TlsProbe,
    Vault,
    default_format,
    durations,
    exposed_addresses,
    logins_of,
)
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.scalars import SIGNALS
from lessee.config.grammar.vault import (
    AppRole,
    AwsAuth,
    AzureAuth,
    CertAuth,
    CfAuth,
    GcpAuth,
    GitHubAuth,
    JwtAuth,
    KerberosAuth,
    KubernetesAuth,
    LdapAuth,
    OidcAuth,
    OktaAuth,
    RadiusAuth,
    TokenAuth,
    UserpassAuth,
    credential_variables,
)
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(text, **environ):
    return parse(text, source="lessee.yaml", environ=environ)


def web(lines="", *, files="[{template: web.env.j2}]", top="environment: production"):
    """A small file with more lines in its app, and more at its top."""
    return f"{top}\napps:\n  web:\n    directory: /run/secrets/web\n    files: {files}\n    {lines}\n"


def test_defaults_are_those_of_vault_and_of_the_schema():
    config = read(web())
    assert config.vault.address == "https://127.0.0.1:8200"
    assert config.vault.auth == TokenAuth()
    assert (config.vault.addresses, config.on_stop) == ((), "keep")
    assert config.secrets == Secrets(mount="secret", prefix="production/", shared_prefixes=())
    assert config.state_dir == "/run/lessee"
    assert config.status == Status(socket="/run/lessee/status.sock", listen=None)
    assert (config.template_dir, config.allow_disk) == (None, False)
    app = config.apps["web"]
    assert (app.name, app.directory, app.mode, app.owner) == ("web", "/run/secrets/web", 0o440, None)
    assert (app.refresh_interval, app.allow_disk, app.notify) == (1.0, False, None)
    assert (app.vault, app.on_expiry) == (config.vault, "keep")
    assert app.files == (File(template="web.env.j2", name="web.env", format="dotenv", mode=0o440, owner=None),)


def test_the_variables_of_templates_are_all_or_a_list_without_those_of_the_agent():
    assert read(web()).template_env is None
    assert read(web(top="environment: production\ntemplate_env: [HOSTNAME, TZ]")).template_env == {"HOSTNAME", "TZ"}
    assert read(web(top="environment: production\ntemplate_env: []")).template_env == frozenset()
    with pytest.raises(ConfigError, match=r"2: template_env\[1\]: VAULT_TOKEN is a variable of the agent's own"):
        read(web(top="environment: production\ntemplate_env: [HOSTNAME, VAULT_TOKEN]"))


def test_a_file_has_the_mode_and_the_owner_of_its_app_unless_it_has_its_own():
    files = '[{template: a.j2}, {template: b.j2, mode: "400", owner: "7"}]'
    first, second = read(web('mode: "0444"\n    owner: "0:1000"', files=files)).apps["web"].files
    assert (first.mode, first.owner) == (0o444, (0, 1000))
    assert (second.mode, second.owner) == (0o400, (7, None))


def test_an_app_lists_the_variables_that_may_be_public():
    assert read(web("public_variables: [VITE_API_URL]")).apps["web"].public_variables == {"VITE_API_URL"}
    assert read(web()).apps["web"].public_variables == frozenset()


def test_an_app_may_have_its_own_refresh_interval():
    text = web("refresh_interval: 5s", top="environment: e\nsecrets: {refresh_interval: 100ms}")
    text += "  slow: {directory: /run/secrets/slow, files: [{template: a.j2}]}\n"
    assert [app.refresh_interval for app in read(text).apps.values()] == [5.0, 0.1]


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("process: {name: uvicorn}", NameTarget("uvicorn")),
        ("process: {pid_file: /run/a.pid}", PidFileTarget("/run/a.pid")),
        ("pid_file: /run/a.pid", PidFileTarget("/run/a.pid")),
    ],
)
def test_a_process_is_selected_by_its_name_or_its_pid_file(written, target):
    notify = read(web(f"notify: {{{written}, action: USR1, start_period: 0s, timeout: 2s}}")).apps["web"].notify
    assert (notify.target, notify.action, notify.start_period, notify.timeout) == (target, "SIGUSR1", 0.0, 2.0)


IDS = {("user", "simba"): 1000, ("group", "web"): 33, ("user", "root"): 0, ("group", "root"): 0}


@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        ("simba", (1000, None)),
        ("simba:web", (1000, 33)),
        ("0:web", (0, 33)),
        ("simba:7", (1000, 7)),
        ("root", (0, None)),
    ],
)
def test_an_owner_may_be_a_name_of_the_agent_s_machine(owner, ids):
    text = web(f'owner: "{owner}"\n    notify: {{process: {{name: a}}}}', files="[{template: a.j2}]")
    config = parse(text, source="lessee.yaml", environ={}, find_id=lambda *name: IDS.get(name))
    app = config.apps["web"]
    assert app.owner == app.files[0].owner == ids
    assert app.notify.owners == (ids,)
    assert read(text).apps["web"].owner is not None


@pytest.mark.parametrize(
    ("owner", "what"),
    [
        ("simbaa", "apps.web.owner: the agent's machine has no user simbaa; write the number that `id -u` prints"),
        ("simba:x", "apps.web.owner: the agent's machine has no group x; write the number that `id -g` prints"),
    ],
)
def test_a_name_that_the_machine_does_not_have_is_an_error_of_its_key(owner, what):
    text = web(f'owner: "{owner}"')
    with pytest.raises(ConfigError) as failed:
        parse(text, source="lessee.yaml", environ={}, find_id=lambda *name: IDS.get(name))
    assert str(failed.value) == f"lessee.yaml:6: {what} where the app runs"


def test_the_uid_of_the_process_and_the_owners_of_the_files_tell_whose_process_is_signaled():
    files = "files: [{template: a.env.j2}, {template: b.env.j2, owner: '0:33'}]"
    app = f"environment: e\napps: {{web: {{directory: /run/secrets/web, owner: '1000', {files}, notify: {{%s}}}}}}"
    for written, uid in (("pid_file: /run/a.pid", None), ("pid_file: /run/a.pid, uid: 0", 0)):
        notify = read(app % written).apps["web"].notify
        assert (notify.uid, notify.owners) == (uid, ((1000, None), (0, 33)))


def test_every_signal_of_the_schema_exists_on_this_system():
    assert set(SIGNALS) <= set(signal.Signals.__members__)


def test_every_key_of_approle_is_read():
    auth = """
    vault:
      auth:
        method: approle
        role_id: me
        secret_id_file: s
        wrapped: yes
        secret_id_response_wrapping_path: /auth/a/role/r/secret-id
        remove_secret_id_file_after_reading: true
        mount: /a/
    """
    assert read(auth).vault.auth == AppRole(
        role_id="me",
        secret_id_file="s",
        wrapped=True,
        secret_id_response_wrapping_path="auth/a/role/r/secret-id",
        remove_secret_id_file_after_reading=True,
        mount="a",
    )


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("{method: token, token_file: t}", TokenAuth(token_file="t")),
        ("{method: approle, role_id: r}", AppRole(role_id="r")),
        ("{method: jwt, jwt_file: j}", JwtAuth(jwt_file="j")),
        ("{method: jwt, jwt_variable: ID, role: r}", JwtAuth(jwt_variable="ID", role="r")),
        ("{method: jwt, jwt_from: github, audience: a}", JwtAuth(jwt_from="github", audience="a")),
        (
            "{method: kubernetes, role: r}",
            KubernetesAuth(role="r", jwt_file="/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ),
        ("{method: cert, cert_file: c, key_file: k, role: r}", CertAuth(cert_file="c", key_file="k", role="r")),
        ("{method: userpass, username: u@x, password_file: p}", UserpassAuth(username="u@x", password_file="p")),
        ("{method: ldap, username: u, password_file: p}", LdapAuth(username="u", password_file="p")),
        ("{method: radius, username: u, password_file: p}", RadiusAuth(username="u", password_file="p")),
        ("{method: okta, username: u, password_file: p}", OktaAuth(username="u", password_file="p")),
        ("{method: github, token_file: t, mount: auth/team/github}", GitHubAuth(token_file="t", mount="team/github")),
        ("{method: aws, region: eu-west-1, mount: auth}", AwsAuth(region="eu-west-1", mount="auth")),
        ("{method: aws, type: ec2, nonce_file: n}", AwsAuth(type="ec2", nonce_file="n")),
        ("{method: azure, role: r, metadata_address: http://m/}", AzureAuth(role="r", metadata_address="http://m")),
        ("{method: gcp, role: r, service_account: a@b.c}", GcpAuth(role="r", service_account="a@b.c")),
        ("{method: cf, role: r, cert_file: c, key_file: k}", CfAuth(role="r", cert_file="c", key_file="k")),
        (
            "{method: kerberos, username: u, service: HTTP/v, realm: R, keytab_file: k}",
            KerberosAuth(username="u", service="HTTP/v", realm="R", keytab_file="k"),
        ),
        ("{method: oidc, mount: /auth/team/oidc/}", OidcAuth(mount="team/oidc")),
    ],
)
def test_a_vault_block_survives_a_round_trip_through_json(auth, expected):
    vault = read(f"vault: {{addresses: [https://a, https://b], namespace: team, auth: {auth}}}").vault
    assert vault.auth == expected
    assert msgspec.json.decode(msgspec.json.encode(vault), type=Vault) == vault


def test_each_login_names_the_variables_that_hold_its_credentials():
    def variables(auth):
        return credential_variables(read(f"vault: {{auth: {auth}}}").vault.auth)

    assert variables("{method: aws}")[:2] == ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert variables("{method: aws, type: ec2, nonce_file: n}") == ()
    assert variables("{method: oidc}") == ()


def test_the_address_is_the_first_of_several():
    vault = read("vault: {addresses: [https://a/, http://b:8200]}", VAULT_ADDR="http://v").vault
    assert (vault.address, vault.addresses) == ("https://a", ("https://a", "http://b:8200"))
    assert read("vault: {addresses: [https://a]}").vault == read("vault: {address: https://a}").vault


TOP = """environment: e
vault:
  addresses: [https://a, https://b]
  namespace: all
  ca_file: ca.pem
  tls_server_name: vault
  client_cert_file: c.pem
  client_key_file: c.key
  tls_skip_verify: true
  auth: {method: jwt, jwt_file: all.jwt, role: all}"""


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("own", "changed"),
    [
        ("{}", {}),
        ("{namespace: team}", {"namespace": "team"}),
        ("{namespace: , auth: ~}", {}),
        ("{address: https://c}", {"address": "https://c", "addresses": ()}),
        ("{addresses: [https://c, https://d]}", {"address": "https://c", "addresses": ("https://c", "https://d")}),
        ("{tls_skip_verify: false, ca_file: own.pem}", {"tls_skip_verify": False, "ca_file": "own.pem"}),
        ("{client_cert_file: both.pem}", {"client_cert_file": "both.pem", "client_key_file": None}),
        ("{auth: {method: jwt, jwt_file: own.jwt}}", {"auth": JwtAuth(jwt_file="own.jwt")}),
        ("{auth: {method: token}}", {"auth": TokenAuth()}),
        (
            "{auth: {method: cert, cert_file: own.pem, key_file: own.key}}",
            {
                "auth": CertAuth(cert_file="own.pem", key_file="own.key"),
                "client_cert_file": None,
                "client_key_file": None,
            },
        ),
    ],
)
def test_an_apps_vault_block_overrides_single_keys_but_replaces_auth_as_a_whole(own, changed):
    config = read(web(f"vault: {own}", top=TOP))
    assert config.apps["web"].vault == msgspec.structs.replace(config.vault, **changed)


def test_an_apps_vault_block_overrides_environment_variables_too():
    config = read(web("vault: {address: https://own}"), VAULT_ADDR="https://all", VAULT_NAMESPACE="team")
    assert config.vault.address == "https://all"
    assert (config.apps["web"].vault.address, config.apps["web"].vault.namespace) == ("https://own", "team")


def test_the_certificate_of_a_cert_login_may_also_be_the_client_certificate():
    text = "vault: {client_cert_file: a, client_key_file: b, auth: {method: cert, cert_file: a, key_file: b}}"
    assert read(text).vault.auth == CertAuth(cert_file="a", key_file="b")


def test_what_happens_to_leases_on_stop_is_read():
    for on_stop in ("revoke", "revoke-if-unused"):
        assert read(web(top=f"environment: e\nleases: {{on_stop: {on_stop}}}")).on_stop == on_stop


@pytest.mark.parametrize(
    ("written", "expected"),
    [("keep", "keep"), ("remove", "remove"), ("{command: [logger, gone]}", OnExpiry(command=("logger", "gone")))],
)
def test_what_happens_to_files_with_an_expired_lease_is_read(written, expected):
    assert read(web(f"on_expiry: {written}")).apps["web"].on_expiry == expected


def test_the_variables_of_vault_replace_missing_keys():
    environ = {"VAULT_ADDR": "http://v:8200/", "VAULT_NAMESPACE": "team/", "VAULT_CACERT": "/ca.pem"}
    config = read(web(), **environ)
    assert (config.vault.address, config.vault.namespace) == ("http://v:8200", "team")
    assert config.vault.ca_file == "/ca.pem"
    written = read("vault: {address: https://w, namespace: x, ca_file: f}", **environ)
    assert (written.vault.address, written.vault.namespace, written.vault.ca_file) == ("https://w", "x", "f")


def test_the_environment_is_set_by_the_file_or_by_a_variable():
    assert read(web(), LESSEE_ENVIRONMENT="staging").environment == "production"
    config = read(web(top="state_dir: /s"), LESSEE_ENVIRONMENT="staging")
    assert (config.environment, config.secrets.prefix) == ("staging", "staging/")


def test_the_environment_of_a_command_overrides_that_of_the_file():
    config = parse(web(), source="lessee.yaml", environ={"LESSEE_ENVIRONMENT": "staging"}, environment="testing")
    assert (config.environment, config.secrets.prefix) == ("testing", "testing/")


def test_the_environment_is_optional_if_no_path_contains_it():
    config = read(web(top='secrets: {prefix: "", shared_prefixes: [all/, /some/where]}'))
    assert config.environment is None
    assert (config.secrets.prefix, config.secrets.shared_prefixes) == ("", ("all/", "some/where/"))


def test_the_other_environments_are_foreign():
    assert read(web()).foreign_environments == {"development", "testing", "staging"}
    setup = "environment: qa\nsetup: {environments: [qa, live]}"
    assert read(web(top=setup)).foreign_environments == {"live"}


def test_the_environment_may_be_in_the_middle_of_a_prefix():
    top = 'environment: live\nsecrets: {prefix: "/team/{environment}", shared_prefixes: ["{environment}-all"]}'
    secrets = read(web(top=top)).secrets
    assert (secrets.prefix, secrets.shared_prefixes) == ("team/live/", ("live-all/",))


def test_a_file_without_apps_needs_no_environment():
    config = read("setup: {components: {ci: [read]}}")
    assert config.apps == {}
    assert config.secrets.prefix == "{environment}/"


def test_a_sidecar_does_not_read_the_variables_of_operator_blocks():
    assert read(web(top='environment: e\nmonitor: {audit: {file: "${LOG}"}, publish: "${REDIS_URL}"}')).apps


def test_an_operator_command_reads_the_variables_of_its_blocks():
    text = 'environment: e\nvalidate: {timeout: "${TIME}", database: {secret: "${WHERE}"}}'
    said = parse(text, source="lessee.yaml", environ={"TIME": "9s", "WHERE": "a/b"}, blocks=["validate"]).validate
    assert said.database is not None
    assert (said.timeout, said.database.secret) == (9.0, "a/b")
    with pytest.raises(ConfigError, match="TIME"):
        parse(text, source="lessee.yaml", environ={}, blocks=["validate"])


def test_checks_without_a_block_are_none_and_have_defaults_with_one():
    said = read("environment: e\nvalidate: {database: {}}").validate
    assert said.database is not None
    assert (said.timeout, said.database.secret, said.storage, said.mcp_cache) == (5.0, "database/postgres", None, None)


def test_an_expanded_variable_is_parsed_as_the_type_of_its_key():
    text = web('refresh_interval: "${REFRESH}"\n    allow_disk: "${DISK}"\n    mode: "${MODE:-0400}"')
    app = read(text, REFRESH="5s", DISK="true").apps["web"]
    assert (app.refresh_interval, app.allow_disk, app.mode) == (5.0, True, 0o400)


def test_an_optional_key_without_a_value_counts_as_absent():
    top = "environment: e\nstatus:\nvault: {auth: , address: null}"
    assert read(web("notify:\n    refresh_interval: ~", top=top)) == read(web(top="environment: e"))


def test_top_level_keys_that_begin_with_x_are_ignored():
    assert read(web(top="environment: e\nx-anything: [1, {a: b}]")) == read(web(top="environment: e"))


def test_paths_are_normalized():
    config = read("state_dir: //run/./lessee/\n" + web().replace("/run/secrets/web", "/run//web/."))
    assert (config.state_dir, config.apps["web"].directory) == ("/run/lessee", "/run/web")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".env", "dotenv"),
        ("app.env", "dotenv"),
        (".env.local", "dotenv"),
        ("a.json", "json"),
        ("a.yaml", "yaml"),
        ("a.yml", "yaml"),
        ("a.toml", "toml"),
        ("a.ini", "ini"),
        ("a.cfg", "ini"),
        ("a.sh", "sh"),
        ("nginx.conf", "nginx"),
        ("my-nginx-1.conf", "nginx"),
        (".pgpass", "pgpass"),
        ("site.conf", "text"),
        ("env", "text"),
        ("a.ENV", "text"),
        ("conf/.env.local", "dotenv"),
        ("nginx/site.conf", "text"),
        ("conf/nginx.conf", "nginx"),
    ],
)
def test_the_default_format_depends_on_the_file_name(name, expected):
    assert default_format(name) == expected


@pytest.mark.parametrize(
    ("name", "normal"),
    [("tls/server.pem", "tls/server.pem"), ("./tls//a/./b", "tls/a/b"), (".a/.b.pem", ".a/.b.pem")],
)
def test_a_file_name_may_have_directories_and_is_normalized_as_in_kubernetes(name, normal):
    ready = f"ready: {{tls: {{address: 'a:1', certificate: '{name}'}}}}"
    app = read(web(ready, files=f"[{{template: a.j2, name: '{normal}'}}]")).apps["web"]
    assert [file.name for file in app.files] == [app.ready.probe.certificate] == [normal]


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1.0), ("5m", 300.0), ("24h", 86400.0), ("7d", 604800.0)]
)
def test_a_duration_is_parsed_into_seconds(text, seconds):
    assert durations.seconds(text) == seconds
    assert durations.seconds(durations.spell(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1.5s", "-1s", "1 s", "1S", "1h30m", "1s\n", "9999999999s", "\u0661s"])
def test_an_invalid_duration_is_rejected(text):
    with pytest.raises(ValueError, match=r"^$"):
        durations.seconds(text)


def test_a_zero_duration_has_a_unit_too():
    assert durations.spell(0.0) == "0s"


CONTAINER = ContainerTarget(service="app", name=None, label=None, project=None, through_engine=False)


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("process: {cmdline: 'celery .*worker'}", CmdlineTarget("celery .*worker")),
        ("child: true", Child()),
        ("container: {service: app}", CONTAINER),
        ("container: {name: simba-app-1}", msgspec.structs.replace(CONTAINER, service=None, name="simba-app-1")),
        (
            "container: {label: a=b, project: p, through: engine}",
            msgspec.structs.replace(CONTAINER, service=None, label="a=b", project="p", through_engine=True),
        ),
        ("command: [reload, --now]", CommandTarget(("reload", "--now"))),
        ("http: http://app/reload", HttpTarget(url="http://app/reload", method="POST", header_files={})),
        (
            "http: {url: http://app, method: PUT, header_files: {Authorization: /run/key}}",
            HttpTarget(url="http://app", method="PUT", header_files={"Authorization": "/run/key"}),
        ),
    ],
)
def test_each_notification_target_is_read(written, target):
    notify = read(web(f"notify: {{{written}, stop_grace_period: 3s, timeout: 2s}}")).apps["web"].notify
    assert notify.target == target
    assert (notify.stop_grace_period, notify.timeout, notify.on_unhandled_signal) == (3.0, 2.0, "report")
    assert notify.stop_signal == "SIGTERM"


@pytest.mark.parametrize("written", ["SIGQUIT", "QUIT"])
@pytest.mark.parametrize("target", ["process: {name: nginx}", "pid_file: /run/nginx.pid", "child: true"])
def test_the_stop_signal_of_a_process_is_read(target, written):
    notify = read(web(f"notify: {{{target}, action: restart, stop_signal: {written}}}")).apps["web"].notify
    assert notify.stop_signal == "SIGQUIT"


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("process: {name: nginx}, stop_signal: restart", "expected a signal such as `SIGTERM`"),
        ("process: {name: nginx}, stop_signal: SIGRTMIN+3", "expected a signal such as `SIGTERM`"),
        ("container: {service: web}, stop_signal: SIGQUIT", "the Engine stops a container by the `stop_signal` of its"),
        ("http: http://app/reload, stop_signal: SIGQUIT", "it applies only to a process"),
        ("command: [reload], stop_signal: SIGQUIT", "it applies only to a process"),
    ],
)
def test_a_stop_signal_that_has_no_effect_is_refused(written, what):
    with pytest.raises(ConfigError, match=re.escape(what)):
        read(web(f"notify: {{{written}}}"))


@pytest.mark.parametrize(
    ("written", "probe"),
    [
        ("http: http://app/health", HttpProbe("http://app/health")),
        ("tcp: app:5432", TcpProbe("app:5432")),
        ("tls: {address: 'app:443', certificate: web.env}", TlsProbe("app:443", "web.env")),
        ("command: [psql, -c, select 1]", CommandProbe(("psql", "-c", "select 1"))),
        ("file: /run/ready", FileProbe("/run/ready")),
    ],
)
def test_each_readiness_probe_is_read(written, probe):
    assert read(web(f"ready: {{{written}}}")).apps["web"].ready == Ready(probe=probe, initial_delay=0.5, timeout=30.0)


def test_a_check_and_a_restart_policy_are_read():
    assert read(web("check: [test, '{file}']")).apps["web"].check == Check(command=("test", "{file}"), timeout=10.0)
    short = read(web("check: {command: ['true'], timeout: 2s}")).apps["web"].check
    assert short == Check(command=("true",), timeout=2.0)
    top = "environment: e\nexec: {restart: {max_attempts: 3, window: 10s}}"
    assert read(web(top=top)).restart == Restart(max_attempts=3, window=10.0)
    assert read(web()).restart is None


def test_the_event_source_is_read_and_its_variables_are_expanded():
    top = 'environment: e\nevents: {redis: "redis://:${PASSWORD}@redis/0"}'
    events = read(web(top=top), PASSWORD="canary").events
    assert (events.redis, events.socket, events.poll_interval, events.jitter) == (
        "redis://:canary@redis/0",
        None,
        60.0,
        0.0,
    )
    events = read(
        web(top="environment: e\nevents: {socket: /run/lessee/events.sock, poll_interval: 5m, jitter: 500ms}")
    ).events
    assert (events.redis, events.socket, events.poll_interval, events.jitter) == (
        None,
        "/run/lessee/events.sock",
        300.0,
        0.5,
    )
    assert not events.vault
    events = read(web(top="environment: e\nevents: {vault: auto}")).events
    assert (events.redis, events.socket, events.vault, events.poll_interval) == (None, None, True, 60.0)
    # The monitor publishes the same events, of any server.
    assert not read(web(top="environment: e\nevents: {vault: auto, socket: /run/lessee/events.sock}")).events.vault
    assert read(web()).events is None


def test_the_monitor_publishes_to_one_url_or_to_several():
    top = 'environment: e\nmonitor: {audit: {file: a}, publish: [redis://redis/0, "unix:///run/events.sock", "https://hook/x"]}'
    assert read(web(top=top)).monitor.publish == ("redis://redis/0", "unix:///run/events.sock", "https://hook/x")
    top = "environment: e\nmonitor: {audit: {file: a}, publish: redis://redis/0}"
    assert read(web(top=top)).monitor.publish == "redis://redis/0"


@pytest.mark.parametrize(
    ("vault", "exposed"),
    [
        ("{address: https://vault}", ()),
        ("{address: http://127.0.0.1:8200}", ()),
        ("{address: http://127.9.9.9}", ()),
        ("{address: http://localhost:8200/base}", ()),
        ("{address: 'http://[::1]:8200'}", ()),
        ("{address: http://vault:8200}", ("http://vault:8200",)),
        ("{address: http://127.0.0.1.example.org}", ("http://127.0.0.1.example.org",)),
        ("{address: http://127.example.org}", ("http://127.example.org",)),
        ("{address: http://localhost.example.org}", ("http://localhost.example.org",)),
        ("{address: 'http://[2001:db8::1]:8200'}", ("http://[2001:db8::1]:8200",)),
        ("{addresses: [https://a, http://b, http://c]}", ("http://b", "http://c")),
        ("{address: http://vault:8200, insecure_http: true}", ()),
    ],
)
def test_plain_http_that_leaves_the_machine_is_exposed_unless_it_is_intended(vault, exposed):
    assert exposed_addresses(read(web(top=f"environment: production\nvault: {vault}"))) == exposed


def test_the_exposed_addresses_of_all_logins_are_named_once():
    own = "vault: {address: http://b, auth: {method: token}}"
    config = read(web(own, top="environment: production\nvault: {address: http://a}"))
    assert exposed_addresses(config) == ("http://a", "http://b")


def test_a_login_without_insecure_http_is_stored_as_before():
    config = read(web())
    assert b"insecure_http" not in msgspec.json.encode(config.vault)


def test_an_identity_takes_what_it_omits_from_the_top_level():
    top = """environment: production
vault: {address: "https://a:8200", namespace: n, auth: {method: approle, role_id: one}}
secrets: {mount: kv, shared_prefixes: [shared/], mounts: {kv2: {}, old: {prefix: "", shared_prefixes: [all/]}}}
identities:
  team-b:
    address: https://b:8200
    auth: {method: token, token_file: /b}
    secrets: {mount: production-kv, prefix: "b/{environment}/", shared_prefixes: [common/], mounts: {m: {}}}
  team-c: {auth: {method: userpass, username: c, password_file: /c}}"""
    config = read(web(top=top))
    assert config.secrets.mounts == {
        "kv2": KvMount(prefix="production/", shared_prefixes=("shared/",)),
        "old": KvMount(prefix="", shared_prefixes=("all/",)),
    }
    team_b, team_c = config.identities["team-b"], config.identities["team-c"]
    assert team_b.vault == msgspec.structs.replace(
        config.vault, address="https://b:8200", auth=TokenAuth(token_file="/b")
    )
    assert team_b.secrets == Secrets(
        mount="production-kv",
        prefix="b/production/",
        shared_prefixes=("common/",),
        mounts={"m": KvMount(prefix="b/production/", shared_prefixes=("common/",))},
    )
    assert team_c.vault == msgspec.structs.replace(config.vault, auth=UserpassAuth(username="c", password_file="/c"))
    assert team_c.secrets == config.secrets
    app = config.apps["web"]
    assert app.login_of("") == app.vault
    assert app.login_of("team-b") == team_b.vault
    assert set(logins_of(config)) == {config.vault, team_b.vault, team_c.vault}


def test_a_login_is_sent_to_no_other_address_because_an_identity_has_none():
    with pytest.raises(ConfigError, match=r"identities\.b\.auth: missing; the login of the top-level block"):
        read(web(top='environment: production\nidentities: {b: {address: "https://b:8200"}}'))
    top = 'environment: production\nvault: {address: "https://a:8200"}\nidentities: {b: {address: "https://a:8200"}}'
    assert read(web(top=top)).identities["b"].vault == read(web(top=top)).vault


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("identities: {b: {secrets: {prefix: testing/}}}", "identities.b.secrets.prefix"),
        ("identities: {b: {secrets: {mount: testing}}}", "identities.b.secrets.mount"),
        ("identities: {b: {secrets: {shared_prefixes: [testing/]}}}", "identities.b.secrets.shared_prefixes[0]"),
        ("secrets: {mounts: {kv2: {prefix: testing/}}}", "secrets.mounts.kv2.prefix"),
        ("secrets: {mounts: {testing: {}}}", "secrets.mounts.testing"),
    ],
)
def test_the_wall_of_an_environment_is_around_every_mount_and_identity(line, where):
    with pytest.raises(ConfigError, match="it begins with the name of another environment") as caught:
        read(web(top=f"environment: production\nsetup: {{environments: [testing, production]}}\n{line}"))
    assert where in str(caught.value)
