"""What a sound lessee.yaml comes to."""

import signal

import msgspec
import pytest

from lessee.config import (
    ByCmdline,
    ByCommand,
    ByContainer,
    ByHttp,
    ByName,
    ByPidFile,
    Check,
    Child,
    CommandProbe,
    File,
    FileProbe,
    HttpProbe,
    Ready,
    Restart,
    Secrets,
    Status,
    TcpProbe,
    TlsProbe,
    Vault,
    durations,
    format_of,
)
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.scalars import SIGNALS
from lessee.config.grammar.vault import AppRole, CertAuth, JwtAuth, KubernetesAuth, TokenAuth, UserpassAuth
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(text, **environ):
    return parse(text, source="lessee.yaml", environ=environ)


def web(lines="", *, files="[{template: web.env.j2}]", top="environment: production"):
    """A small file with more lines in its app, and more at its top."""
    return f"{top}\napps:\n  web:\n    directory: /run/secrets/web\n    files: {files}\n    {lines}\n"


def test_defaults_are_those_of_vault_and_of_the_manual():
    config = read(web())
    assert config.vault.address == "https://127.0.0.1:8200"
    assert config.vault.auth == TokenAuth()
    assert (config.vault.addresses, config.on_stop) == ((), "keep")
    assert config.secrets == Secrets(mount="secret", prefix="production/", shared=())
    assert config.state == "/run/lessee"
    assert config.status == Status(socket="/run/lessee/status.sock", listen=None)
    assert (config.templates, config.allow_disk) == (None, False)
    app = config.apps["web"]
    assert (app.name, app.directory, app.mode, app.owner) == ("web", "/run/secrets/web", 0o440, None)
    assert (app.refresh, app.allow_disk, app.notify) == (1.0, False, None)
    assert (app.vault, app.on_expiry) == (config.vault, "keep")
    assert app.files == (File(template="web.env.j2", name="web.env", format="dotenv", mode=0o440, owner=None),)


def test_a_file_has_the_mode_and_the_owner_of_its_app_unless_it_has_its_own():
    files = '[{template: a.j2}, {template: b.j2, mode: "400", owner: "7"}]'
    first, second = read(web('mode: "0444"\n    owner: "0:1000"', files=files)).apps["web"].files
    assert (first.mode, first.owner) == (0o444, (0, 1000))
    assert (second.mode, second.owner) == (0o400, (7, None))


def test_an_app_lists_the_variables_that_may_be_public():
    assert read(web("public: [VITE_API_URL]")).apps["web"].public == {"VITE_API_URL"}
    assert read(web()).apps["web"].public == frozenset()


def test_an_app_may_have_its_own_refresh():
    text = web("refresh: 5s", top="environment: e\nsecrets: {refresh: 100ms}")
    text += "  slow: {directory: /run/secrets/slow, files: [{template: a.j2}]}\n"
    assert [app.refresh for app in read(text).apps.values()] == [5.0, 0.1]


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("process: {name: uvicorn}", ByName("uvicorn")),
        ("process: {pid_file: /run/a.pid}", ByPidFile("/run/a.pid")),
        ("pid_file: /run/a.pid", ByPidFile("/run/a.pid")),
    ],
)
def test_a_process_is_named_by_its_program_or_its_pid_file(written, target):
    notify = read(web(f"notify: {{{written}, action: USR1, boot_grace: 0s, timeout: 2s}}")).apps["web"].notify
    assert (notify.target, notify.action, notify.boot_grace, notify.timeout) == (target, "SIGUSR1", 0.0, 2.0)


def test_every_signal_of_the_table_is_one_of_this_system():
    assert set(SIGNALS) <= set(signal.Signals.__members__)


def test_approle_is_read_in_full():
    auth = """
    vault:
      auth:
        method: approle
        role_id: me
        secret_id_file: s
        wrapped: yes
        wrapped_path: /auth/a/role/r/secret-id
        remove_secret_id_file_after_reading: true
        mount: /a/
    """
    assert read(auth).vault.auth == AppRole(
        role_id="me",
        secret_id_file="s",
        wrapped=True,
        wrapped_path="auth/a/role/r/secret-id",
        remove_secret_id_file_after_reading=True,
        mount="a",
    )


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
    ],
)
def test_an_identity_is_the_same_after_it_was_kept_as_json(auth, expected):
    vault = read(f"vault: {{addresses: [https://a, https://b], namespace: team, auth: {auth}}}").vault
    assert vault.auth == expected
    assert msgspec.json.decode(msgspec.json.encode(vault), type=Vault) == vault


def test_the_first_of_several_addresses_stands_for_them_all():
    vault = read("vault: {addresses: [https://a/, http://b:8200]}", VAULT_ADDR="http://v").vault
    assert (vault.address, vault.addresses) == ("https://a", ("https://a", "http://b:8200"))
    assert read("vault: {addresses: [https://a]}").vault == read("vault: {address: https://a}").vault


TOP = """environment: e
vault:
  addresses: [https://a, https://b]
  namespace: all
  ca_file: ca.pem
  server_name: vault
  client_cert_file: c.pem
  client_key_file: c.key
  insecure: true
  auth: {method: jwt, jwt_file: all.jwt, role: all}"""


@pytest.mark.parametrize(
    ("own", "changed"),
    [
        ("{}", {}),
        ("{namespace: team}", {"namespace": "team"}),
        ("{namespace: , auth: ~}", {}),
        ("{address: https://c}", {"address": "https://c", "addresses": ()}),
        ("{addresses: [https://c, https://d]}", {"address": "https://c", "addresses": ("https://c", "https://d")}),
        ("{insecure: false, ca_file: own.pem}", {"insecure": False, "ca_file": "own.pem"}),
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
def test_an_apps_identity_stands_over_that_of_all_key_by_key_and_the_login_as_a_whole(own, changed):
    config = read(web(f"vault: {own}", top=TOP))
    assert config.apps["web"].vault == msgspec.structs.replace(config.vault, **changed)


def test_an_apps_identity_stands_over_that_of_the_environment_too():
    config = read(web("vault: {address: https://own}"), VAULT_ADDR="https://all", VAULT_NAMESPACE="team")
    assert config.vault.address == "https://all"
    assert (config.apps["web"].vault.address, config.apps["web"].vault.namespace) == ("https://own", "team")


def test_a_certificate_to_log_in_with_may_be_named_as_that_of_the_connection_too():
    text = "vault: {client_cert_file: a, client_key_file: b, auth: {method: cert, cert_file: a, key_file: b}}"
    assert read(text).vault.auth == CertAuth(cert_file="a", key_file="b")


def test_what_becomes_of_leases_is_read():
    for wish in ("revoke", "revoke-if-unused"):
        assert read(web(top=f"environment: e\nleases: {{on_stop: {wish}}}")).on_stop == wish


@pytest.mark.parametrize(
    ("written", "expected"),
    [("keep", "keep"), ("remove", "remove"), ("{command: [logger, gone]}", OnExpiry(command=("logger", "gone")))],
)
def test_what_becomes_of_files_whose_lease_ended_is_read(written, expected):
    assert read(web(f"on_expiry: {written}")).apps["web"].on_expiry == expected


def test_the_environment_of_vault_fills_in_what_the_file_leaves_out():
    environ = {"VAULT_ADDR": "http://v:8200/", "VAULT_NAMESPACE": "team/", "VAULT_CACERT": "/ca.pem"}
    config = read(web(), **environ)
    assert (config.vault.address, config.vault.namespace) == ("http://v:8200", "team")
    assert config.vault.ca_file == "/ca.pem"
    written = read("vault: {address: https://w, namespace: x, ca_file: f}", **environ)
    assert (written.vault.address, written.vault.namespace, written.vault.ca_file) == ("https://w", "x", "f")


def test_the_environment_comes_from_the_file_or_from_a_variable():
    assert read(web(), LESSEE_ENVIRONMENT="staging").environment == "production"
    config = read(web(top="state: /s"), LESSEE_ENVIRONMENT="staging")
    assert (config.environment, config.secrets.prefix) == ("staging", "staging/")


def test_an_operator_s_environment_stands_over_that_of_the_file():
    config = parse(web(), source="lessee.yaml", environ={"LESSEE_ENVIRONMENT": "staging"}, environment="testing")
    assert (config.environment, config.secrets.prefix) == ("testing", "testing/")


def test_no_environment_is_needed_where_none_is_used():
    config = read(web(top='secrets: {prefix: "", shared: [all/, /some/where]}'))
    assert config.environment is None
    assert (config.secrets.prefix, config.secrets.shared) == ("", ("all/", "some/where/"))


def test_the_other_environments_are_foreign():
    assert read(web()).foreign_environments == {"development", "testing", "staging"}
    setup = "environment: qa\nsetup: {environments: [qa, live]}"
    assert read(web(top=setup)).foreign_environments == {"live"}


def test_an_environment_may_be_named_inside_a_prefix():
    top = 'environment: live\nsecrets: {prefix: "/team/{environment}", shared: ["{environment}-all"]}'
    secrets = read(web(top=top)).secrets
    assert (secrets.prefix, secrets.shared) == ("team/live/", ("live-all/",))


def test_a_file_without_apps_is_an_operators_and_needs_no_environment():
    config = read("setup: {components: {ci: [read]}}")
    assert config.apps == {}
    assert config.secrets.prefix == "{environment}/"


def test_an_operators_variables_are_not_looked_up():
    assert read(web(top='environment: e\nmonitor: {audit: {file: "${LOG}"}, publish: "${REDIS_URL}"}')).apps


def test_an_operator_looks_them_up():
    text = 'environment: e\nvalidate: {timeout: "${TIME}", database: {secret: "${WHERE}"}}'
    said = parse(text, source="lessee.yaml", environ={"TIME": "9s", "WHERE": "a/b"}, blocks=["validate"]).validate
    assert said.database is not None
    assert (said.timeout, said.database.secret) == (9.0, "a/b")
    with pytest.raises(ConfigError, match="TIME"):
        parse(text, source="lessee.yaml", environ={}, blocks=["validate"])


def test_what_is_to_be_validated_is_left_open_where_nobody_says_it():
    said = read("environment: e\nvalidate: {database: {}}").validate
    assert said.database is not None
    assert (said.timeout, said.database.secret, said.storage, said.mcp_cache) == (5.0, "database/postgres", None, None)


def test_variables_are_expanded_to_the_type_that_is_wanted():
    text = web('refresh: "${REFRESH}"\n    allow_disk: "${DISK}"\n    mode: "${MODE:-0400}"')
    app = read(text, REFRESH="5s", DISK="true").apps["web"]
    assert (app.refresh, app.allow_disk, app.mode) == (5.0, True, 0o400)


def test_a_key_without_a_value_is_as_good_as_none():
    top = "environment: e\nstatus:\nvault: {auth: , address: null}"
    assert read(web("notify:\n    refresh: ~", top=top)) == read(web(top="environment: e"))


def test_keys_that_begin_with_x_are_left_alone():
    assert read(web(top="environment: e\nx-anything: [1, {a: b}]")) == read(web(top="environment: e"))


def test_paths_are_written_in_one_way():
    config = read("state: //run/./lessee/\n" + web().replace("/run/secrets/web", "/run//web/."))
    assert (config.state, config.apps["web"].directory) == ("/run/lessee", "/run/web")


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
    ],
)
def test_a_files_name_tells_its_format(name, expected):
    assert format_of(name) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1.0), ("5m", 300.0), ("24h", 86400.0), ("7d", 604800.0)]
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert durations.seconds(text) == seconds
    assert durations.seconds(durations.spell(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1.5s", "-1s", "1 s", "1S", "1h30m", "1s\n", "9999999999s", "\u0661s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"^$"):
        durations.seconds(text)


def test_no_time_is_spelt_with_a_unit_too():
    assert durations.spell(0.0) == "0s"


OF_CONTAINER = ByContainer(service="app", name=None, label=None, project=None, through_engine=False)


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("process: {cmdline: 'celery .*worker'}", ByCmdline("celery .*worker")),
        ("child: true", Child()),
        ("container: {service: app}", OF_CONTAINER),
        (
            "container: {label: a=b, project: p, through: engine}",
            msgspec.structs.replace(OF_CONTAINER, service=None, label="a=b", project="p", through_engine=True),
        ),
        ("command: [reload, --now]", ByCommand(("reload", "--now"))),
        ("http: http://app/reload", ByHttp(url="http://app/reload", method="POST", header_files={})),
        (
            "http: {url: http://app, method: PUT, header_files: {Authorization: /run/key}}",
            ByHttp(url="http://app", method="PUT", header_files={"Authorization": "/run/key"}),
        ),
    ],
)
def test_an_app_is_told_in_the_way_that_is_written(written, target):
    notify = read(web(f"notify: {{{written}, grace: 3s, timeout: 2s}}")).apps["web"].notify
    assert notify.target == target
    assert (notify.grace, notify.timeout, notify.otherwise) == (3.0, 2.0, "report")


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
def test_an_app_is_proved_in_the_way_that_is_written(written, probe):
    assert read(web(f"ready: {{{written}}}")).apps["web"].ready == Ready(probe=probe, after=0.5, within=30.0)


def test_a_check_and_a_restart_have_their_limits():
    assert read(web("check: [test, '{file}']")).apps["web"].check == Check(command=("test", "{file}"), timeout=10.0)
    short = read(web("check: {command: ['true'], timeout: 2s}")).apps["web"].check
    assert short == Check(command=("true",), timeout=2.0)
    top = "environment: e\nexec: {restart: {attempts: 3, within: 10s}}"
    assert read(web(top=top)).restart == Restart(attempts=3, within=10.0)
    assert read(web()).restart is None


def test_who_tells_of_changes_is_the_sidecars_to_know_and_its_variables_are_filled_in():
    top = 'environment: e\nevents: {redis: "redis://:${PASSWORD}@redis/0"}'
    events = read(web(top=top), PASSWORD="canary").events
    assert (events.redis, events.socket, events.poll, events.spread) == ("redis://:canary@redis/0", None, 60.0, 0.0)
    events = read(web(top="environment: e\nevents: {socket: /run/lessee/events.sock, poll: 5m, spread: 500ms}")).events
    assert (events.redis, events.socket, events.poll, events.spread) == (None, "/run/lessee/events.sock", 300.0, 0.5)
    assert not events.vault
    events = read(web(top="environment: e\nevents: {vault: auto}")).events
    assert (events.redis, events.socket, events.vault, events.poll) == (None, None, True, 60.0)
    # The monitor tells of the same, on any server.
    assert not read(web(top="environment: e\nevents: {vault: auto, socket: /run/lessee/events.sock}")).events.vault
    assert read(web()).events is None


def test_changes_may_be_published_at_one_place_or_at_several():
    said = 'environment: e\nmonitor: {audit: {file: a}, publish: [redis://redis/0, "unix:///run/events.sock", "https://hook/x"]}'
    assert read(web(top=said)).monitor.publish == ("redis://redis/0", "unix:///run/events.sock", "https://hook/x")
    said = "environment: e\nmonitor: {audit: {file: a}, publish: redis://redis/0}"
    assert read(web(top=said)).monitor.publish == "redis://redis/0"
