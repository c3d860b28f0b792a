"""A project is read as Compose reads it, with the place of each byte of its values, and without an Engine."""

import os
import shutil
import subprocess

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.adopt.policy.model import Origin
from lessee.ops.adopt.project import find_files, read_project
from support.needs import need


@pytest.fixture(scope="module", autouse=True)
def compose():
    version = ["docker", "compose", "version"]
    found = shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0
    need(found, "docker with Compose (Debian: docker-cli docker-compose)")


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_env", ".env")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def read(folder, files=(), environ=(), **options):
    # No Engine: a socket that does not exist.
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"} | dict(environ)
    return read_project(files, environ, folder=str(folder), **options)


def place(folder, source):
    span = source.span
    content = (folder / span.file).read_bytes()
    assert content[: span.start].count(b"\n") + 1 == span.line
    return source.origin, span.file, content[span.start : span.end].decode()


def places(folder, project, service, name):
    [use] = [use for use in project.uses if (use.service, use.name) == (service, name)]
    return use.value, [place(folder, source) for source in use.sources if source.span is not None]


COMPOSE, DEFAULT, ENV, FILE = Origin.COMPOSE, Origin.DEFAULT, Origin.PROJECT_ENV, Origin.ENV_FILE


def test_each_value_has_the_bytes_that_it_consists_of(tmp_path):
    write(
        tmp_path,
        compose_yaml="""\
# ünïcödé before every place
services:
  web:
    image: nginx
    environment:
      PLAIN: pläin value   # comment
      SINGLE: 'it''s'
      DOUBLE: "a$$b\\"ü"
      BLOCK: |
        one
        two
      FOLDED: >-
        three
      URL: postgres://app:${PASSWORD}@db/${NAME:-shop}
      FROM_ENV:
      BARE: $PASSWORD
      NONE:
      EMPTY: ""
  list:
    image: nginx
    environment:
      - PLAIN=a=b
      - "QUOTED=c d"
      - PASSWORD
      - UNSET
""",
        _env="PASSWORD='p$w' # comment\nFROM_ENV=\"x ${PASSWORD}\"\n",
    )
    project = read(tmp_path)
    assert project.folder == str(tmp_path)
    assert (project.files, project.project_env) == (("compose.yaml",), (".env",))
    found = {use.name: places(tmp_path, project, "web", use.name) for use in project.uses if use.service == "web"}
    password = (ENV, ".env", "p$w")
    assert found == {
        "PLAIN": ("pläin value", [(COMPOSE, "compose.yaml", "pläin value")]),
        "SINGLE": ("it's", [(COMPOSE, "compose.yaml", "it''s")]),
        "DOUBLE": ('a$b"ü', [(COMPOSE, "compose.yaml", 'a$$b\\"ü')]),
        "BLOCK": ("one\ntwo\n", [(COMPOSE, "compose.yaml", "|\n        one\n        two")]),
        "FOLDED": ("three", [(COMPOSE, "compose.yaml", ">-\n        three")]),
        "URL": (
            "postgres://app:p$w@db/shop",
            [
                (COMPOSE, "compose.yaml", "postgres://app:${PASSWORD}@db/${NAME:-shop}"),
                password,
                (DEFAULT, "compose.yaml", "shop"),
            ],
        ),
        "FROM_ENV": ("x p$w", [(ENV, ".env", "x ${PASSWORD}"), password]),
        "BARE": ("p$w", [password]),
        "EMPTY": ("", []),
    }
    assert places(tmp_path, project, "list", "PLAIN") == ("a=b", [(COMPOSE, "compose.yaml", "a=b")])
    assert places(tmp_path, project, "list", "QUOTED") == ("c d", [(COMPOSE, "compose.yaml", "c d")])
    assert places(tmp_path, project, "list", "PASSWORD") == ("p$w", [password])


def test_places_after_a_byte_order_mark_and_with_other_line_ends(tmp_path):
    text = "\ufeff" + "services:\n  web:\n    image: x\n    env_file: app.env\n    environment: {A: one}\n"
    write(tmp_path, compose_yaml=text, app_env="\ufeffB=two\nC='three'\n".replace("\n", "\r\n"))
    project = read(tmp_path)
    assert places(tmp_path, project, "web", "A") == ("one", [(COMPOSE, "compose.yaml", "one")])
    assert places(tmp_path, project, "web", "B") == ("two", [(FILE, "app.env", "two")])
    assert places(tmp_path, project, "web", "C") == ("three", [(FILE, "app.env", "three")])


def test_all_files_that_a_value_may_be_in_are_found(tmp_path):
    write(
        tmp_path,
        compose_yaml="""\
include: [sub/compose.yaml]
x-common: &common
  SHARED: shared
services:
  web:
    extends: {file: base.yaml, service: base}
    env_file: [one.env, {path: two.env, required: false}, {path: none.env, required: false}]
    environment:
      <<: *common
      OWN: own
""",
        base_yaml="services:\n  base:\n    image: nginx\n    environment: {OWN: first, BASE: base}\n",
        sub__compose_yaml="services: {other: {image: x, env_file: [app.env], environment: {A: '${SUB}'}}}\n",
        sub__app_env="B=b\n",
        sub___env="SUB=sub\n",
        one_env="ENV=one\nTWICE=1\n",
        two_env="TWICE=2\nREF=${ENV}\n",
        more_yaml="services:\n  web:\n    environment: [OWN=last]\n",
    )
    project = read(tmp_path, ["compose.yaml", "more.yaml"])
    assert project.files == ("compose.yaml", "more.yaml", "sub/compose.yaml", "base.yaml")
    assert places(tmp_path, project, "web", "OWN") == (
        "last",
        [(COMPOSE, "base.yaml", "first"), (COMPOSE, "compose.yaml", "own"), (COMPOSE, "more.yaml", "last")],
    )
    assert places(tmp_path, project, "web", "SHARED")[1] == [(COMPOSE, "compose.yaml", "shared")]
    assert places(tmp_path, project, "web", "BASE")[1] == [(COMPOSE, "base.yaml", "base")]
    assert places(tmp_path, project, "web", "TWICE") == ("2", [(FILE, "one.env", "1"), (FILE, "two.env", "2")])
    assert places(tmp_path, project, "other", "A") == ("sub", [(ENV, "sub/.env", "sub")])
    assert places(tmp_path, project, "other", "B") == ("b", [(FILE, "sub/app.env", "b")])


def test_words_labels_arguments_and_files_have_places_too(tmp_path):
    write(
        tmp_path,
        compose_yaml="""\
services:
  cache:
    image: redis
    command: redis-server --requirepass "${REDIS_PASSWORD:-default}" --save 'a b'
    healthcheck: {test: redis-cli -a $REDIS_PASSWORD ping}
    labels: [a=b, "c=d"]
    secrets: [file, variable]
    configs: [inline]
    profiles: [never]
  built:
    build: {context: ./app, args: {TOKEN: "t${N}"}}
    command: [run, "--key=k"]
    deploy: {replicas: 3, restart_policy: {condition: on-failure}}
    depends_on: [cache]
    user: "1:2"
secrets:
  file: {file: secret.txt}
  variable: {environment: N}
configs:
  inline: {content: "password=${N}"}
""",
        _env="N=nn\nREDIS_PASSWORD=rr\n",
        secret_txt="whole\n",
    )
    (tmp_path / "secret_txt").rename(tmp_path / "secret.txt")
    project = read(tmp_path)
    rr = (ENV, ".env", "rr")
    assert places(tmp_path, project, "cache", "command[2]") == ("rr", [rr])
    assert places(tmp_path, project, "cache", "command[0]") == (
        "redis-server",
        [(COMPOSE, "compose.yaml", "redis-server")],
    )
    assert places(tmp_path, project, "cache", "command[4]")[0] == "a b"
    assert rr in places(tmp_path, project, "cache", "healthcheck.test[1]")[1]
    assert places(tmp_path, project, "cache", "labels.c") == ("d", [(COMPOSE, "compose.yaml", "d")])
    assert places(tmp_path, project, "cache", "secrets.file") == (
        "whole",
        [(Origin.SECRET_FILE, "secret.txt", "whole")],
    )
    assert places(tmp_path, project, "cache", "secrets.variable") == ("nn", [(ENV, ".env", "nn")])
    assert places(tmp_path, project, "cache", "configs.inline")[0] == "password=nn"
    assert (ENV, ".env", "nn") in places(tmp_path, project, "cache", "configs.inline")[1]
    assert places(tmp_path, project, "built", "build.args.TOKEN")[0] == "tnn"
    assert places(tmp_path, project, "built", "command[1]") == ("--key=k", [(COMPOSE, "compose.yaml", "--key=k")])
    cache, built = project.services["cache"], project.services["built"]
    assert cache.image.reference == "redis"
    assert (built.replicas, built.restart, built.depends_on, built.user) == (3, "on-failure", ("cache",), "1:2")
    assert (built.build_context, built.image.reference) == ("app", f"{project.name}-built")


def test_the_shell_takes_precedence_and_its_values_have_no_place(tmp_path):
    write(
        tmp_path, compose_yaml="services: {web: {image: x, environment: {A: '${A}', B: '${B:-b}'}}}\n", _env="A=file\n"
    )
    project = read(tmp_path, environ={"A": "shell", "B": "shell"})
    [a, b] = project.uses
    assert (a.value, [source.origin for source in a.sources]) == ("shell", [Origin.SHELL, ENV])
    assert (b.value, [source.origin for source in b.sources]) == ("shell", [Origin.SHELL])


def test_files_are_found_as_compose_finds_them(tmp_path):
    environ = {"PATH": os.environ["PATH"]}
    with pytest.raises(ConfigError, match="has no Compose file"):
        find_files(tmp_path, environ)
    text = "services: {web: {image: x}}\n"
    (tmp_path / "docker-compose.yml").write_text(text)
    (tmp_path / "docker-compose.override.yml").write_text(text)
    assert [path.name for path in find_files(tmp_path, environ)] == [
        "docker-compose.yml",
        "docker-compose.override.yml",
    ]
    (tmp_path / "compose.yaml").write_text(text)
    assert next(path.name for path in find_files(tmp_path, environ)) == "compose.yaml"
    (tmp_path / ".env").write_text("COMPOSE_FILE=a.yaml:b.yaml\n")
    assert [path.name for path in find_files(tmp_path, environ)] == ["a.yaml", "b.yaml"]
    assert [path.name for path in find_files(tmp_path, environ | {"COMPOSE_FILE": "c.yaml"})] == ["c.yaml"]


def test_chosen_env_files_replace_the_projects_own(tmp_path):
    write(
        tmp_path,
        compose_yaml="services: {web: {image: x, environment: {A: '${A:-}'}}}\n",
        _env="A=1\n",
        other_env="A=2\n",
    )
    assert places(tmp_path, read(tmp_path, env_files=["other.env"]), "web", "A") == ("2", [(ENV, "other.env", "2")])
    chosen = read(tmp_path, environ={"COMPOSE_ENV_FILES": "other.env"})
    assert places(tmp_path, chosen, "web", "A") == ("2", [(ENV, "other.env", "2")])


CANARY = "c4n4ry"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", f"services: {{web: {{image: x, environment: {{A: 'x${{{CANARY}'}}}}}}\n"),
        ("compose.yaml", f"services: {{web: {{image: x, environment: {CANARY}}}}}\n"),
        ("compose.yaml", f"services: {{web: {{image: x, environment: {{A: *{CANARY}}}}}}}\n"),
        (".env", f"A={CANARY}\n'{CANARY}\n"),
        (".env", f'A="{CANARY}\n'),
        (".env", f"A={CANARY}\n{CANARY} {CANARY}!\n"),
    ],
)
def test_what_compose_rejects_is_reported_without_a_value(tmp_path, name, text):
    (tmp_path / "compose.yaml").write_text("services: {web: {image: x}}\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="cannot") as caught:
        read(tmp_path)
    assert CANARY not in str(caught.value)
    assert str(tmp_path) in str(caught.value) or "compose.yaml" in str(caught.value)


def test_what_is_missing_is_named(tmp_path):
    write(tmp_path, compose_yaml="services: {web: {image: x, environment: {A: '${A:?set it}'}}}\n")
    with pytest.raises(ConfigError, match="required variable A is missing a value"):
        read(tmp_path)
    write(tmp_path, compose_yaml="services: {web: {image: x, env_file: nothing.env}}\n")
    with pytest.raises(ConfigError, match=r"nothing\.env"):
        read(tmp_path)


def test_a_machine_without_compose_is_reported(tmp_path):
    write(tmp_path, compose_yaml="services: {web: {image: x}}\n")
    with pytest.raises(ConfigError, match="there is no `docker compose`"):
        read(tmp_path, environ={"PATH": str(tmp_path)})


def test_no_repr_has_a_value(tmp_path):
    write(tmp_path, compose_yaml=f"services: {{web: {{image: x, environment: {{A: {CANARY}}}}}}}\n")
    project = read(tmp_path)
    assert project.uses[0].value == CANARY
    assert CANARY not in repr(project)
