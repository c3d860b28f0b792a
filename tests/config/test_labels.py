"""The labels of services in a resolved Compose model become apps, with what an author of labels may set."""

import json
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessee.config import CmdlineTarget, File, HttpTarget, InlineTemplate, LabeledApp
from lessee.config.grammar import Guarded
from lessee.config.grammar.label_text import escape, unescape
from lessee.config.label_writer import labels_of
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

OWN = "apps: {own: {directory: /run/secrets/own, files: [{template: own.env.j2}]}}\n"


def read(services, *, settings="", own=OWN, refused=None, for_child=False, environ=None, form=json.dumps):
    """The configuration with this model; `services` is a mapping from service to labels, or to whole services."""
    if isinstance(services, dict):
        whole = {name: one if one.keys() & {"labels"} else {"labels": one} for name, one in services.items()}
        services = form({"services": whole}, indent=2)
    return parse(
        f"environment: testing\ncompose: {{file: compose.json{settings}}}\n{own}",
        source="lessee.yaml",
        environ=environ or {},
        refused=refused,
        for_child=for_child,
        load_model={"compose.json": services}.__getitem__,
    )


def errors(services, **settings):
    with pytest.raises(ConfigError) as caught:
        read(services, **settings)
    return [str(problem) for problem in caught.value.problems]


def text_of(config, app, file=0):
    return config.inline_templates[config.apps[app].files[file].template].text


WEB = {
    "lessee.template.app.env": 'A={{ secret("a").b }}\nPATH=$${PATH}\n',
    "lessee.template.nginx.conf": "web/nginx.conf.j2",
    "lessee.format.nginx.conf": "nginx",
    "lessee.mode.nginx.conf": "0400",
    "lessee.owner.nginx.conf": "33",
    "lessee.owner": "0:1000",
    "lessee.mode": "0440",
    "lessee.refresh_interval": "5s",
    "lessee.notify": "SIGHUP",
    "lessee.notify.cmdline": "[g]unicorn.*:app$$",
    "lessee.notify.stop_grace_period": "3s",
    "lessee.ready.http": "http://web:8000/health",
    "lessee.public_variables": "[VITE_A, VITE_B]",
    "traefik.enable": "true",
}


def test_labels_are_the_keys_of_an_app():
    config = read({"web": WEB, "db": {"other": "x"}})
    assert list(config.apps) == ["own", "web"]
    web = config.apps["web"]
    assert (web.directory, web.owner, web.mode, web.refresh_interval) == ("/run/secrets/web", (0, 1000), 0o440, 5.0)
    inline = "service web: lessee.template.app.env"
    assert web.files == (
        File(template=inline, name="app.env", format="dotenv", mode=0o440, owner=(0, 1000)),
        File(template="web/nginx.conf.j2", name="nginx.conf", format="nginx", mode=0o400, owner=(33, None)),
    )
    template = InlineTemplate('A={{ secret("a").b }}\nPATH=${PATH}\n', "compose.json", 5)
    assert config.inline_templates == {inline: template}
    assert web.notify.target == CmdlineTarget("[g]unicorn.*:app$")
    assert (web.notify.action, web.notify.stop_grace_period) == ("SIGHUP", 3.0)
    assert web.public_variables == {"VITE_A", "VITE_B"}
    assert config.labeled_apps == {"web": LabeledApp("web", "compose.json", 5)}
    assert config.compose_file == "compose.json"


def test_the_model_may_be_yaml_and_labels_and_variables_lists():
    model = (
        "services:\n  web:\n    labels:\n"
        "      - lessee.app=site\n      - lessee.env=true\n      - lessee.owner=0:1000\n"
        "      - [no text]\n    environment:\n      - A=ref+vault://a#b\n      - B=c\n"
        "  list:\n    labels:\n      lessee.env.N: 3\n      lessee.owner: 0:1000\n      lessee.notify.child: true\n"
        "  none:\n  odd: 3\n"
    )
    config = read(model)
    assert text_of(config, "site") == 'export A={{ secret("a")["b"] }}\n'
    assert text_of(config, "list") == 'export N={{ "3" }}\n'
    assert config.apps["list"].owner == (0, 1000)


def test_the_model_is_not_read_where_nothing_loads_it():
    config = parse("environment: testing\ncompose: {file: x}", source="lessee.yaml", environ={})
    assert (config.apps, config.labeled_apps, config.compose_file) == ({}, {}, "x")


ENVIRONMENT = {
    "PASSWORD": "ref+openbao://db?version=2&identity=b#a/b",
    "URL": "postgres://ref+vault://db#user+:ref+vault://db?urlencode=true#password+@db/web",
    "PLAIN": 'a $$b "c"\\\n',
    "EMPTY": "",
}


def test_references_of_the_environment_become_a_file_for_a_shell():
    config = read({"web": {"labels": {"lessee.env": "true"}, "environment": ENVIRONMENT}})
    assert [file.name for file in config.apps["web"].files] == ["env.sh"]
    assert text_of(config, "web") == (
        'export PASSWORD={{ secret("db", identity="b", version=2)["a"]["b"] }}\n'
        'export URL={{ "postgres://" ~ secret("db")["user"] ~ ":" '
        '~ (secret("db")["password"] | urlencode) ~ "@db/web" }}\n'
    )


def test_all_variables_may_be_rendered_and_labels_may_add_and_replace_some():
    labels = {"lessee.env": "all", "lessee.env_file": "app.env", "lessee.env.EMPTY": "x", "lessee.env.MORE": "y"}
    config = read({"web": {"labels": labels, "environment": ENVIRONMENT}})
    lines = text_of(config, "web").splitlines()
    assert [line.partition("=")[0] for line in lines] == ["PASSWORD", "URL", "PLAIN", "EMPTY", "MORE"]
    assert 'EMPTY={{ "x" }}' in lines
    assert 'PLAIN={{ "a $b \\"c\\"\\\\\\n" }}' in lines
    assert config.apps["web"].files[0].format == "dotenv"


def test_variables_may_be_one_mapping_and_switched_off():
    config = read({"web": {"lessee.env": "{A: ref+vault://a#b}"}, "b": {"lessee.env": "false", "lessee.env.A": ""}})
    assert text_of(config, "web") == 'export A={{ secret("a")["b"] }}\n'
    assert text_of(config, "b") == 'export A={{ "" }}\n'


@pytest.mark.parametrize(
    ("labels", "environment", "error"),
    [
        (
            {"lessee.template.app.env": "x", "lessee.notfy": "x"},
            {},
            "lessee.notfy: unknown key; did you mean `notify`?",
        ),
        (
            {"lessee.app": "web"},
            {},
            "lessee.files: missing; expected a list of files; write a label such as lessee.env",
        ),
        ({"lessee.app": "a b"}, {}, "lessee.app: expected a name of letters"),
        ({"lessee.app": "own"}, {}, "lessee.app: lessee.yaml has an app of this name; write another name"),
        ({"lessee.env": "true"}, {"A": "b"}, "lessee.env: the service's `environment` has no reference"),
        ({"lessee.env": "yes"}, {}, "lessee.env: expected true, all or false"),
        ({"lessee.env": "all"}, {"A": None}, "environment.A: Compose takes its value from where it runs"),
        ({"lessee.env": "all"}, {"A": "${B:-c}"}, "environment.A: it has a variable that Compose has not replaced"),
        ({"lessee.env": "all"}, {"A": ["b"]}, "environment.A: expected a text, found a list; quote it"),
        (
            {"lessee.env": "true"},
            {"A": "ref+vault://a"},
            "environment.A: expected a text, in which references are such",
        ),
        ({"lessee.env.A-B": "x"}, {}, "lessee.env.A-B: expected the name of an environment variable"),
        (
            {"lessee.env.A": "x", "lessee.env_file": "a.yaml"},
            {},
            "lessee.env_file: its name is not that of a file of var",
        ),
        (
            {"lessee.owner": "$UID"},
            {},
            "lessee.owner: it has a variable that Compose has not replaced; write the value",
        ),
        ({"lessee.owner": "w/b"}, {}, "lessee.owner: expected an owner"),
        ({"lessee.owner": ""}, {}, "lessee.owner: expected an owner"),
        ({"lessee.owner": None}, {}, "lessee.owner: expected an owner"),
        ({"lessee.owner": ["0"]}, {}, "lessee.owner: expected a text, found a list; quote it"),
        ({"lessee.mode.x": "0400"}, {}, "lessee.mode.x: there is no label lessee.template.x; add it"),
        (
            {"lessee.template.app.env": "x", "lessee.files": "[]"},
            {},
            "lessee.template.app.env: lessee.files sets it too",
        ),
        ({"lessee.template.../x": "y"}, {}, "lessee.template.../x: expected a file name"),
        ({"lessee.template.a": "../x.j2"}, {}, "lessee.template.a: expected the path of a template in template_dir"),
        (
            {"lessee.notify": "SIGHOP", "lessee.notify.name": "x"},
            {},
            "lessee.notify: expected a signal such as `SIGHUP`",
        ),
        ({"lessee.notify": "SIGHUP"}, {}, "lessee.notify: expected exactly one of"),
        (
            {"lessee.notify": "{child: true}", "lessee.notify.name": "x"},
            {},
            "lessee.notify.name: lessee.notify sets it too",
        ),
        (
            {"lessee.notify.action": "SIGHUP", "lessee.notify": "restart"},
            {},
            "lessee.notify: lessee.notify.action sets it",
        ),
        ({"lessee.notify": "{process: {name: [x"}, {}, "lessee.notify: line 2 of its text: column"),
        ({"lessee.notify": "{process: &a {name: x}, container: *a}"}, {}, "lessee.notify: its text has a YAML alias"),
        ({"lessee.files": "- {name: x, contents: y, mod: 1}"}, {}, "lessee.files[0].mod: unknown key"),
        ({"lessee.files": "app.env.j2"}, {}, "lessee.files: expected a list, found a string"),
        ({"lessee.a.b.c.d.e.f.g.h.i.j.k.l.m": "x"}, {}, "lessee.a: unknown key"),
        ({"lessee.directory": "/etc"}, {}, "lessee.directory: it is not below /run/secrets/; name one below it"),
        ({"lessee.directory": "/run/secrets"}, {}, "lessee.directory: it is not below /run/secrets/"),
        (
            {"lessee.directory": "/run/secrets/own/x"},
            {},
            "lessee.directory: app own has the directory /run/secrets/own",
        ),
        ({"lessee.directory": "/run/secrets/own"}, {}, "lessee.directory: app own has the directory /run/secrets/own"),
        ({"lessee.directory": "${STATE}/x"}, {}, "lessee.directory: it has a variable that Compose has not replaced"),
    ],
)
def test_a_wrong_label_is_an_error_of_its_service_and_line(labels, environment, error):
    found = errors({"web": {"labels": labels, "environment": environment}}, environ={"STATE": "/run/secrets"})
    matching = [line for line in found if f": service web: {error}" in line]
    assert matching, found
    assert all(line.startswith("compose.json:") for line in found)


GUARDED = {
    "allow_disk": {"lessee.allow_disk": "true"},
    "check": {"lessee.check": "[nginx, -t]"},
    "fallback": {"lessee.fallback.env": "[VAULT_TOKEN]"},
    "notify.command": {"lessee.notify.command": "[reload]"},
    "notify.container.project": {"lessee.notify.container": "{service: db, project: other}"},
    "notify.http.header_files": {"lessee.notify.http": "{url: 'http://x', header_files: {X: /run/secret_id}}"},
    "on_expiry": {"lessee.on_expiry.command": "[rm]"},
    "ready.command": {"lessee.ready.command": "[curl]"},
    "vault": {"lessee.vault.address": "https://evil"},
}


@pytest.mark.parametrize("key", GUARDED)
def test_what_uses_the_agents_own_means_needs_the_operators_consent(key):
    labels = {"lessee.template.app.env": "A=1\n", **GUARDED[key]}
    [error] = errors({"web": labels})
    assert f"service web: lessee.{key}: labels may not set it" in error or "lessee.notify.http" in error
    assert f"`compose: {{allow: [{key}]}}`" in error
    assert "web" in read({"web": labels}, settings=f", allow: [{key}]").apps


def test_the_list_of_guarded_keys_is_complete():
    assert sorted(GUARDED) == sorted(Guarded.__args__)


def test_a_label_that_any_author_may_set_needs_none():
    labels = {"lessee.template.a": "x", "lessee.notify.http": "http://web/reload", "lessee.on_expiry": "remove"}
    config = read({"web": labels, "db": {"lessee.template.a": "x", "lessee.notify.container.service": "db"}})
    assert config.apps["web"].notify.target == HttpTarget(url="http://web/reload", method="POST", header_files={})
    assert config.apps["web"].on_expiry == "remove"


def test_no_label_harms_another_app():
    hostile = {
        "a": {"lessee.app": "own", "lessee.template.x": "y"},
        "b": {"lessee.app": "web", "lessee.template.x": "y", "lessee.directory": "/run/secrets/deep/er"},
        "c": {"lessee.app": "web", "lessee.template.x": "y"},
        "d": {"lessee.directory": "/run/secrets/deep", "lessee.template.x": "y"},
        "e": {"lessee.check": json.dumps(["x"] * 60_000)},
        "f\n": {"lessee.n\n" * 100: "x"},
        "g": {"lessee.template.x": "y", "lessee.directory": "/run/secrets/other/g/x"},
    }
    own = OWN.replace("}]}}", "}]}, nested: {directory: /run/secrets/other/g, files: [{template: own.env.j2}]}}")
    refused = {}
    config = read(hostile, refused=refused, own=own)
    assert list(config.apps) == ["own", "nested", "web"]
    assert list(refused) == ["service a", "service c", "d", "e", "service f?", "g"]
    assert "service c: lessee.app: service b has an app of this name" in str(refused["service c"])
    assert "app web has the directory /run/secrets/deep/er" in str(refused["d"])
    assert "the file expands to too many values" in str(refused["e"])
    assert "did you mean" not in str(refused["service f?"])


@pytest.mark.parametrize(
    ("directory", "key"),
    [
        ("/run/secrets/identity", "vault.auth.secret_id_file is /run/secrets/identity/secret_id"),
        ("/run/secrets/state/x", "state_dir is /run/secrets/state"),
        ("/run/secrets/templates", "template_dir is /run/secrets/templates"),
    ],
)
def test_no_label_writes_where_the_agent_reads_its_own_files(directory, key):
    own = (
        f"{OWN}state_dir: /run/secrets/state\ntemplate_dir: /run/secrets/templates/\nvault:\n"
        "  auth: {method: approle, role_id: x, secret_id_file: /run/secrets/identity/secret_id}\n"
    )
    [error] = errors({"web": {"lessee.template.x": "y", "lessee.directory": directory}}, own=own)
    assert f"service web: lessee.directory: {key}, which only the agent may use" in error


def test_nothing_is_expanded_in_labels_and_the_agents_variables_stay_its_own():
    labels = {"lessee.env.A": "$${VAULT_TOKEN}", "lessee.files": '[{name: "$${VAULT_TOKEN}", contents: x}]'}
    config = read({"web": labels}, environ={"VAULT_TOKEN": "t0ken"})
    assert [file.name for file in config.apps["web"].files] == ["${VAULT_TOKEN}", "env.sh"]
    assert text_of(config, "web", 1) == 'export A={{ "${VAULT_TOKEN}" }}\n'
    assert "t0ken" not in str(config.apps["web"])


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("", "compose.json:1: the file is empty"),
        ('{"services": {"web"', "compose.json:2: column"),
        ("[]", "compose.json:1: expected a mapping"),
        ("name: x\n", "it has no `services`, so it is no Compose model; write it with `docker compose config"),
    ],
)
def test_what_is_no_model_is_an_error_of_the_whole_configuration(model, what):
    with pytest.raises(ConfigError, match="compose") as caught:
        read(model, refused={})
    assert what in str(caught.value)


def test_a_model_without_labels_adds_nothing():
    assert list(read({"web": {}, "db": {"labels": {"a": "b"}}}).apps) == ["own"]
    assert list(read("services:\n").apps) == ["own"]


@pytest.mark.parametrize("text", ["a$$b", "$$", "$", "$5", "a$", "$$$$x", "$$x", ""])
def test_what_compose_escapes_is_read_as_the_container_gets_it(text):
    assert unescape(text) == text.replace("$$", "$")


@pytest.mark.parametrize("text", ["$a", "${a}", "$$$a", "x$$${a}"])
def test_a_variable_that_compose_has_not_replaced_is_none(text):
    assert unescape(text) is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12).filter(
    lambda text: "${" not in text
)
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}(\.[a-z]{1,4})?", fullmatch=True)
VARIABLES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
COMMANDS = st.lists(TEXTS.filter(bool), min_size=1, max_size=3)
OWNERS = st.sampled_from(["0", "1000:1000", "0:1000"])
MODES = st.sampled_from(["0440", "400", "0600"])
SETTINGS = {"format": st.sampled_from(["dotenv", "json", "text"]), "mode": MODES, "owner": OWNERS}
FILES = st.fixed_dictionaries(
    {"name": NAMES, "contents": TEXTS | st.sampled_from(["x.j2", "A=${B}", "a\n.j2"])}, optional=SETTINGS
) | st.fixed_dictionaries({"template": NAMES.map("web/{}.j2".format) | NAMES}, optional={"name": NAMES, **SETTINGS})
NOTIFY = st.one_of(
    st.fixed_dictionaries(
        {"process": st.fixed_dictionaries({"name": TEXTS.filter(bool)})}, optional={"uid": st.just(5)}
    ),
    st.fixed_dictionaries({"container": st.fixed_dictionaries({"label": TEXTS.filter(bool)})}),
    st.fixed_dictionaries({"command": COMMANDS}, optional={"timeout": st.just("5s")}),
    st.fixed_dictionaries({"http": st.just({"url": "http://x/$y", "header_files": {"X-A": "/a.b"}})}),
    st.just({"http": "http://x"}),
    st.just({"child": True}),
)
ENTRIES = st.fixed_dictionaries(
    {"files": st.lists(FILES, min_size=1, max_size=3)},
    optional={
        "directory": st.just("/run/secrets/web/x"),
        "owner": OWNERS,
        "mode": MODES,
        "allow_disk": st.booleans(),
        "refresh_interval": st.just("5s"),
        # Sorted, as Compose sorts labels: a shell assigns the variables in their order.
        "env": st.dictionaries(VARIABLES, TEXTS | st.just("ref+vault://a#b"), max_size=3).map(
            lambda found: dict(sorted(found.items()))
        ),
        "env_file": st.just("app.env"),
        "public_variables": st.lists(VARIABLES, max_size=2),
        "check": COMMANDS | st.fixed_dictionaries({"command": COMMANDS, "timeout": st.just("3s")}),
        "notify": NOTIFY,
        "ready": st.sampled_from([{"tcp": "web:80", "timeout": "3s"}, {"command": ["a", "$b"]}, None]),
        "on_expiry": st.sampled_from(["keep", "remove", {"command": ["x"]}]),
        "fallback": st.sampled_from([{"env": {"a.b/c": {"k": "V"}}}, {"env": ["A"]}, {"last_known_good": "/x"}]),
        "vault": st.just({"address": "https://v", "auth": {"method": "jwt", "jwt_file": "/j", "role": "r"}}),
    },
)
ALLOW = f", allow: [{', '.join(Guarded.__args__)}]"


def shown(config):
    """The app with the texts of its templates instead of their names. Compose sorts labels."""
    app = config.apps["web"]
    texts = [
        (inline.text if (inline := config.inline_templates.get(file.template)) else file.template) for file in app.files
    ]
    files = [(text, file.name, file.format, file.mode, file.owner) for text, file in zip(texts, app.files, strict=True)]
    return sorted(files, key=repr), {key: getattr(app, key) for key in app.__struct_fields__ if key != "files"}


@given(ENTRIES)
def test_the_labels_of_an_app_have_the_same_app(entry):
    whole = {"directory": "/run/secrets/web", **entry}
    text = json.dumps({"environment": "testing", "apps": {"web": whole}})
    try:
        expected = parse(text, source="lessee.yaml", environ={})
    except ConfigError:
        with pytest.raises(ConfigError):
            read({"service": labels_of("web", entry)}, settings=ALLOW, own="")
        return
    labels = labels_of("web", entry)
    for form in (json.dumps, yaml.safe_dump):
        assert shown(read({"service": labels}, settings=ALLOW, own="", form=form)) == shown(expected)


@pytest.mark.parametrize(
    "entry",
    [
        {"directory": "${A}"},
        {"files": [{"template": "${A}.j2"}]},
        {"files": [{"template": "a", "name": "${A}"}]},
        {"check": ["${A}", 3]},
        {"env": {"a.b": {"c": "${A}"}}},
    ],
)
def test_a_text_that_would_be_expanded_has_no_label(entry):
    with pytest.raises(ValueError, match="variable"):
        labels_of("web", entry)


def test_labels_are_written_as_one_expects():
    entry = {
        "directory": "/run/secrets/web",
        "owner": "0:1000",
        "files": [{"name": "app.env", "contents": "A=$B\n"}, {"template": "web/n.conf.j2", "mode": "0400"}],
        "notify": {"process": {"cmdline": "gunicorn$"}, "action": "restart", "uid": 5},
        "ready": {"tcp": "web:80"},
        "public_variables": ["VITE_A"],
        "check": ["a", 3],
        "on_expiry": None,
        "allow_disk": False,
        "env": {},
    }
    assert labels_of("web", entry) == {
        "lessee.app": "web",
        "lessee.directory": "/run/secrets/web",
        "lessee.owner": "0:1000",
        "lessee.template.app.env": "A=$$B\n",
        "lessee.template.n.conf": "web/n.conf.j2",
        "lessee.mode.n.conf": "0400",
        "lessee.notify.process.cmdline": "gunicorn$$",
        "lessee.notify.action": "restart",
        "lessee.ready.tcp": "web:80",
        "lessee.public_variables": '["VITE_A"]',
        "lessee.check": '["a", 3]',
        "lessee.notify.uid": "5",
        "lessee.allow_disk": "false",
    }
    assert escape("$") == "$$"


@pytest.mark.no_cover
def test_compose_itself_passes_labels_on_unchanged(tmp_path):
    """What `docker compose config` prints of labels that labels_of has written; it needs no Engine."""
    entry = {"env": {"A": 'a$b $$ ${ "x" \\ \u00fc\u2028 # : ref+vault://a#b'.replace("${", "$ {")}, "owner": "0:1000"}
    model = {"services": {"web": {"image": "x", "labels": dict(labels_of("web", entry))}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(model))
    for options in (["--format", "json"], ["--format", "json", "--no-interpolate"], ["--no-interpolate"], []):
        command = ["docker", "compose", "-f", "compose.yaml", "config", *options]
        try:
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        except FileNotFoundError:
            pytest.skip("needs docker with Compose (Debian: docker-cli docker-compose)")
        if done.returncode:
            pytest.skip("needs docker with Compose (Debian: docker-cli docker-compose)")
        config = read(done.stdout)
        directory = {"directory": "/run/secrets/web"}
        whole = {"environment": "testing", "apps": {"web": entry | directory}}
        expected = parse(json.dumps(whole), source="lessee.yaml", environ={})
        assert shown(config) == shown(expected)
