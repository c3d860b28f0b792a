"""What Compose resolves is joined with the places in the files."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.adopt.policy.compose_model import Place, project_of, safe_reason
from lessee.ops.adopt.policy.model import Origin
from lessee.ops.adopt.policy.sources import Text


def project(resolved, files, environ=(), project_env=()):
    texts = {name: Text(name, text) for name, text in files.items()}
    given = tuple(name for name in files if name.endswith(".yaml"))[:1]
    return project_of(resolved, Place("/p", given, project_env), dict(environ), texts.get)


def places(found, files, name):
    [use] = [use for use in found.uses if use.name == name]
    return use.value, [
        (one.origin, one.span and files[one.span.file][one.span.start : one.span.end]) for one in use.sources
    ]


COMPOSE, ENV = Origin.COMPOSE, Origin.PROJECT_ENV


def test_values_of_every_field_have_their_places():
    files = {
        "c.yaml": """\
services:
  web:
    environment: [A=a, "${N}=n", BARE, {odd: 1}]
    env_file: app.env
    command: run "x y" --z=${Z}
    entrypoint: [sh, -c]
    healthcheck: {test: curl secret}
    labels: {l: lv, n: }
    build: {args: [B=b]}
    secrets: [file, env, text, gone, outside]
    configs: [conf]
  other:
    env_file: [{path: app.env}, {required: false}]
secrets:
  file: {file: s.txt}
  pem: {file: pem}
  env: {environment: Z}
  text: {}
  gone: {file: gone}
  outside: {external: true}
configs:
  conf: {content: "c=${Z}"}
""",
        "app.env": "E=e${Z}\n",
        ".env": "Z=zz\nN=NAMED\nBARE=bare\n",
        "s.txt": "whole\n",
        "pem": "one\ntwo\n",
    }
    web = {
        "environment": {"A": "a", "NAMED": "n", "BARE": "bare", "E": "ezz", "UNSET": None},
        "command": ["run", "x y", "--z=zz"],
        "entrypoint": ["sh", "-c"],
        "healthcheck": {"test": ["CMD-SHELL", "curl secret"]},
        "labels": {"l": "lv", "n": ""},
        "build": {"context": "/p/app", "args": {"B": "b"}},
        "secrets": [{"source": name} for name in ("file", "pem", "env", "text", "gone", "outside", "missing")],
        "configs": [{"source": "conf"}],
        "networks": {"a": None},
        "deploy": {"replicas": 2, "restart_policy": {"condition": "any"}},
        "stop_signal": "SIGQUIT",
    }
    resolved = {
        "name": "p",
        "services": {
            "web": web,
            "other": {"environment": {"E": "ezz"}, "image": "x", "build": {"context": "https://g"}},
        },
        "secrets": {"file": {"file": "s.txt"}, "pem": {"file": "pem"}, "gone": {"file": "gone"}, "env": {}, "text": {}},
        "configs": {"conf": {"content": "c=zz"}},
    }
    found = project(resolved, files, project_env=(".env",))
    web_alone = project(resolved | {"services": {"web": web}}, files, project_env=(".env",))
    of = {use.name: places(web_alone, files, use.name) for use in web_alone.uses}
    zz = (ENV, "zz")
    assert of == {
        "A": ("a", [(COMPOSE, "a")]),
        "NAMED": ("n", [(COMPOSE, "n")]),
        "BARE": ("bare", [(ENV, "bare")]),
        "E": ("ezz", [(Origin.ENV_FILE, "e${Z}"), zz]),
        "labels.l": ("lv", [(COMPOSE, "lv")]),
        "labels.n": ("", []),
        "build.args.B": ("b", [(COMPOSE, "b")]),
        "command[0]": ("run", [(COMPOSE, "run")]),
        "command[1]": ("x y", [(COMPOSE, "x y")]),
        "command[2]": ("--z=zz", [(COMPOSE, "--z=${Z}"), zz]),
        "entrypoint[0]": ("sh", [(COMPOSE, "sh")]),
        "entrypoint[1]": ("-c", [(COMPOSE, "-c")]),
        "healthcheck.test[0]": ("CMD-SHELL", []),
        "healthcheck.test[1]": ("curl secret", [(COMPOSE, "curl secret")]),
        "secrets.file": ("whole", [(Origin.SECRET_FILE, "whole")]),
        "secrets.pem": ("one\ntwo\n", [(Origin.SECRET_FILE, "one\ntwo\n")]),
        "secrets.env": ("zz", [zz]),
        "configs.conf": ("c=zz", [(COMPOSE, "c=${Z}"), zz]),
    }
    service = found.services["web"]
    assert (service.image.reference, service.build_context, service.replicas) == ("p-web", "app", 2)
    assert (service.networks, service.restart, service.stop_signal) == (("a",), "always", "SIGQUIT")
    assert found.services["other"].build_context == "https://g"
    assert found.files == ("c.yaml",)


@pytest.mark.parametrize("written", ["a 'b", "a b c"])
def test_indistinguishable_words_have_the_place_of_the_whole(written):
    files = {"c.yaml": f'services: {{web: {{command: "{written}"}}}}\n'}
    resolved = {"services": {"web": {"command": ["a", "b"]}}}
    found = project(resolved, files)
    assert [places(found, files, f"command[{at}]")[1] for at in (0, 1)] == [[(COMPOSE, written)]] * 2


def test_a_later_command_is_the_one_that_counts():
    files = {
        "c.yaml": "include: [d.yaml]\nservices: {web: {extends: {file: e.yaml, service: web}, command: }}\n",
        "d.yaml": "services: {}\n",
        "e.yaml": "services: {web: {command: [old]}}\n",
    }
    found = project({"services": {"web": {"command": ["old"], "restart": "no"}}}, files)
    assert places(found, files, "command[0]") == ("old", [(COMPOSE, "old")])
    assert found.files == ("c.yaml", "d.yaml", "e.yaml")


def test_a_service_that_others_wait_for_until_it_ends_is_known():
    waiting = {"depends_on": {"job": {"condition": "service_completed_successfully"}, "web": None}}
    found = project({"services": {"web": waiting, "job": {}}}, {"c.yaml": "services: {web: {}, job: {}}\n"})
    assert [one.runs_once for one in (found.services["web"], found.services["job"])] == [False, True]


def test_a_file_that_cannot_be_read_is_reported():
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        project({}, {"c.yaml": "include: [gone.yaml]\n"})
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        project_of({}, Place("/p", ("c.yaml",), ()), {}, lambda _: None)
    with pytest.raises(ConfigError, match=r"c\.yaml:2"):
        project({}, {"c.yaml": "a: [\n"})


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("", "it gives no reason"),
        ('time="x" level=warning msg="canary"\n', "it gives no reason"),
        ('failed to read .env: line 2: unexpected character "!" in variable name "canary!"\n', None),
        ("yaml: cannot unmarshal `canary`\n", None),
        ('service "web" refers to undefined network canary-net: invalid\n', None),
        ("bad near canary\n", "bad"),
        ("x" * 999, "x" * 300),
    ],
)
def test_a_reason_of_compose_quotes_nothing(stderr, expected):
    reason = safe_reason(stderr)
    assert '"' not in reason
    assert "canary" not in reason.replace("network canary-net", "")
    assert expected is None or reason == expected


def test_a_service_in_a_reason_keeps_its_name():
    assert safe_reason('service "web" has neither an image nor a build context\n').startswith("service web has")
