"""Compose files are parsed and merged as by Compose, as far as they concern an agent and its apps."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.lint.policy.compose.model import EnvFile, Mount, Place, Variable, Words
from lessee.ops.lint.policy.compose.reader import ComposeReader


def read(text, path="compose.yaml", paths=None, **others):
    files = {path: text} | {f"{name}.yaml": other for name, other in others.items()}

    def load(name):
        if name not in files:
            raise ConfigError([LesseeError("cannot be read: No such file or directory", where=name)])
        return files[name]

    reader = ComposeReader(load)
    return reader.services(paths or [path]), reader.findings


def service(text, **more):
    services, findings = read(f"services:\n  web:\n{text}", **more)
    assert not findings
    return services["web"]


def at(line, file="compose.yaml"):
    return Place(file, line)


def test_commands_are_split_into_words():
    assert service("    command: [a, 'b c', '$$x']\n").command == Words(("a", "b c", "$x"), at(3))
    assert service("    entrypoint: a 'b c' \"d\"\n").entrypoint == Words(("a", "b c", "d"), at(3))
    assert service("    command: a 'b\n").command.words == ("a", "'b")
    assert service("    command:\n").command is None
    assert service("    command: []\n").command.words == ()
    assert service("    entrypoint: [a]\n    command: [b]\n").words == ("a", "b")


def test_an_environment_is_a_list_or_a_mapping():
    expected = {"A": Variable("1", at(4)), "B": Variable("", at(5)), "C": Variable(None, at(6))}
    assert service("    environment:\n      A: 1\n      B: ''\n      C:\n").environment == expected
    assert service("    environment:\n      - A=1\n      - B=\n      - C\n").environment == expected


def test_an_env_file_is_a_path_a_list_or_a_mapping():
    item, two = EnvFile("../a.env", at(3)), EnvFile("b/c.env", at(3))
    assert service("    env_file: ../a.env\n").env_files == (item,)
    assert service("    env_file: [../a.env, {path: ./b/c.env, required: false}]\n").env_files == (item, two)
    assert service("    env_file: {path: b/c.env, format: raw}\n").env_files == (two,)
    assert service("    env_file: [[]]\n").env_files == ()


def test_a_mount_has_a_volume_or_a_host_directory():
    assert service("    volumes: ['files:/a:ro', './x/../y:/b/:rw,z', '/srv:/c', /d, '${S:-/s}:/e:ro']\n").mounts == (
        Mount("files", "/", "/a", True, at(3)),
        Mount("", "y", "/b", False, at(3)),
        Mount("", "/srv", "/c", False, at(3)),
        Mount("", "${S:-/s}", "/e", True, at(3)),
    )
    text = (
        "    volumes:\n"
        "      - {type: volume, source: files, target: /a, read_only: true, volume: {subpath: web}}\n"
        "      - {type: bind, source: ./x, target: /b}\n"
        "      - {type: tmpfs, target: /c}\n"
        "      - {type: volume, target: /d}\n"
        "      - {type: bind, source: ./x}\n"
    )
    assert service(text).mounts == (
        Mount("files", "/web", "/a", True, at(4)),
        Mount("", "x", "/b", False, at(5)),
        Mount("", "/", "/d", False, at(7)),
    )


def test_secrets_are_mounted_where_compose_puts_them():
    text = "    secrets: [a, {source: b}, {source: c, target: d}, {source: e, target: /f}, []]\n"
    assert [target for target, _ in service(text).secrets] == [
        "/run/secrets/a",
        "/run/secrets/b",
        "/run/secrets/d",
        "/f",
    ]


def test_values_of_an_anchor_have_the_anchor_s_line():
    text = "x-env: &env {A: 1}\nservices:\n  web:\n    environment: {<<: *env, B: 2}\n    build: {args: *env}\n"
    services, _ = read(text)
    assert services["web"].environment == {"A": Variable("1", at(1)), "B": Variable("2", at(4))}
    assert services["web"].build_args == {"A": Variable("1", at(1))}


def test_an_extending_service_inherits_the_rest():
    base = (
        "services:\n  base:\n    extends: {service: deep}\n    image: i\n    command: [c]\n"
        "    environment: {A: 1, B: 2}\n"
        "    volumes: ['./x:/a', 'v:/b']\n    env_file: a.env\n    secrets: [s]\n    stop_signal: SIGTERM\n"
        "  deep:\n    pid: host\n    restart: always\n"
    )
    text = (
        "    extends: {file: ../up/base.yaml, service: base}\n    command: [d]\n    environment: [B=3]\n"
        "    volumes: ['./y:/a:ro']\n    env_file: b.env\n"
    )
    services, findings = read(
        f"services:\n  web:\n{text}", path="in/compose.yaml", paths=["in/compose.yaml"], **{"up/base": base}
    )
    assert not findings
    web = services["web"]
    assert (web.name, web.place, web.image) == ("web", at(2, "in/compose.yaml"), "i")
    assert (web.command.words, web.pid, web.restart, web.stop_signal) == (("d",), "host", "always", "SIGTERM")
    assert {name: variable.value for name, variable in web.environment.items()} == {"A": "1", "B": "3"}
    assert [(mount.source, mount.target) for mount in web.mounts] == [("/", "/b"), ("in/y", "/a")]
    assert [file.path for file in web.env_files] == ["up/a.env", "in/b.env"]
    assert web.secrets == (("/run/secrets/s", at(9, "up/base.yaml")),)


def test_a_user_is_inherited_and_root_has_the_uid_0():
    text = "services: {a: {user: 'root:app'}, b: {extends: a}, c: {extends: a, user: 7}, d: {user: '${U:-1:2}:3'}}"
    services, _ = read(text)
    assert [service.user for service in services.values()] == ["root:app", "root:app", "7", "${U:-1:2}:3"]
    assert [service.uid for service in services.values()] == ["0", "0", "7", None]


def test_services_extend_within_a_file_and_cycles_end():
    services, findings = read(
        "services:\n  a: {extends: b}\n  b: {extends: a, image: i}\n  c: {extends: nope, pid: host}\n"
    )
    assert not findings
    assert (services["a"].image, services["b"].image, services["c"].pid) == ("i", "i", "host")


def test_later_files_win_and_includes_are_read():
    services, findings = read(
        "include: [{path: [b.yaml, c.yaml]}, d.yaml, [], compose.yaml]\nservices:\n  web: {image: a}\n",
        paths=["compose.yaml", "over.yaml"],
        b="services: {b: {image: b}}",
        c="services: {c: {image: c}}",
        d="services: {d: {image: d}}",
        over="services: {web: {image: over}}",
    )
    assert not findings
    assert {name: item.image for name, item in services.items()} == {
        "web": "over", "b": "b", "c": "c", "d": "d",
    }  # fmt: skip


def test_fields_reset_or_overridden_by_a_later_file_are_removed():
    base = "    environment: {A: 1}\n    volumes: ['v:/a']\n    command: [a]\n    pid: host\n    restart: always\n"
    base += "    user: '1:1'\n"
    over = "    environment: !override {B: 2}\n    volumes: !reset []\n    command: !reset null\n    pid: !reset null\n"
    over += "    user: !reset null\n"
    services, _ = read(
        f"services:\n  web:\n{base}", paths=["compose.yaml", "over.yaml"], over=f"services:\n  web:\n{over}"
    )
    web = services["web"]
    assert list(web.environment) == ["B"]
    assert (web.mounts, web.command, web.pid, web.restart) == ((), None, None, "always")
    assert (web.user, web.uid) == (None, None)


def test_a_file_may_have_several_documents_and_a_byte_order_mark():
    first = "\ufeffservices: {a: {image: i, environment: {A: 1}}, b: {image: j}}\n"
    services, findings = read(f"{first}---\nservices: {{a: {{environment: {{A: 2}}}}, c: {{extends: b}}}}\n")
    assert not findings
    assert services["a"].environment["A"] == Variable("2", at(3))
    assert (services["a"].image, services["b"].image, services["c"].image) == ("i", "j", None)
    for more, line in (("- 1\n", 3), ("---\n{}\n", 3)):
        services, findings = read(f"{first}---\n{more}")
        assert (services, [finding.line for finding in findings]) == ({}, [line])
    assert [finding.message for finding in read("# nothing")[1]] == ["the file is empty"]


def test_paths_are_relative_to_the_project_directory():
    text = "include: [{path: [in/a.yaml, b.yaml], project_directory: p}]\nservices: {a: {image: i}}\n"
    inner = "services: {b: {image: i, volumes: ['./x:/x'], env_file: e}, c: {extends: {file: d.yaml, service: s}}}"
    others = {"in/a": inner, "p/d": "services: {s: {image: d, volumes: ['./y:/y']}}", "b": "include: []"}
    services, findings = read(text, **others)
    assert not findings
    assert services["b"].mounts[0].source == "p/x"
    assert services["b"].env_files[0].path == "p/e"
    assert (services["c"].image, services["c"].mounts[0].source) == ("d", "p/y")


def test_single_names_reset_by_a_later_file_are_removed():
    text = (
        "services: {a: {image: i}, b: {image: j, command: x}, c: {command: x, environment: {A: 1, B: 2},"
        " build: {args: {A: 1, B: 2}}, secrets: [s]}, d: {build: {args: {A: 1}}}, e: {volumes: ['v:/v']}}"
    )
    over = (
        "services: {a: !reset null, b: !override {image: k}, c: {command: , environment: {A: !reset }, secrets: [s],"
        " build: {args: {B: !reset }}}, d: {build: {args: !override {B: 1}}},"
        " e: {volumes: !reset [], extends: {file: none.yaml, service: f}}}"
    )
    none = "services: {f: {volumes: ['w:/w']}}"
    services, _ = read(text, paths=["compose.yaml", "over.yaml"], over=over, none=none)
    assert list(services) == ["c", "d", "e", "b"]
    assert (services["b"].image, services["b"].command) == ("k", None)
    assert (services["c"].command, list(services["c"].environment), list(services["c"].build_args)) == (
        None,
        ["B"],
        ["A"],
    )
    assert [target for target, _ in services["c"].secrets] == ["/run/secrets/s"]
    assert list(services["d"].build_args) == ["B"]
    services, _ = read(text, paths=["compose.yaml", "over.yaml"], over="services: !reset {a: {image: i}}")
    assert not services


def test_a_service_that_extends_an_unknown_one_has_only_its_own_fields():
    text = "services: {a: {image: i, extends: {file: b.yaml, service: x}}, b: {image: j, extends: x}}"
    services, _ = read(text, b="services: {y: {image: k}}")
    assert (services["a"].image, services["b"].image) == ("i", "j")


def test_an_unreadable_file_is_reported_once_and_the_rest_is_read():
    gone = "extends: {file: gone.yaml, service: a}"
    text = f"services:\n  a: {{{gone}, image: i}}\n  b: {{{gone}}}\n"
    services, findings = read(text)
    assert services["a"].image == "i"
    assert [(item.rule, item.file, item.line) for item in findings] == [("compose-unreadable", "gone.yaml", 0)]
    _, findings = read("services:\n  a: [\n")
    assert [(item.rule, item.file, item.line) for item in findings] == [("compose-unreadable", "compose.yaml", 3)]
    assert read("services: 1\n") == ({}, [])


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab:/.$", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["path", "file", "service", "source", "target", "type", "args", "a"]), inner, max_size=3
        )
    ),
)
KEYS = ("command", "entrypoint", "environment", "env_file", "build", "volumes", "secrets", "extends", "pid", "image")


@pytest.mark.no_cover
@given(st.dictionaries(st.sampled_from(KEYS), junk), junk)
def test_arbitrary_content_is_read_without_errors(node, include):
    services, _ = read(yaml.safe_dump({"services": {"web": node}, "include": include}))
    assert "web" in services


def test_the_parts_of_a_service_are_in_the_order_of_their_merge():
    files = {
        "compose.yaml": "include: [sub/c.yaml, {path: d.yaml, env_file: [x.env]}]\n"
        "services: {web: {extends: {file: base.yaml, service: b}}}\n",
        "sub/c.yaml": "services: {other: {}}\n",
        "d.yaml": "services: {web: {}}\n",
        "base.yaml": "services: {b: {extends: a}, a: {}}\n",
    }
    reader = ComposeReader(files.__getitem__)
    roots = list(reader.roots(["compose.yaml"]))
    assert [(root.origin.file, root.env_files) for root in roots] == [
        ("sub/c.yaml", ("sub/.env",)),
        ("d.yaml", ("x.env",)),
        ("compose.yaml", None),
    ]
    parts = [(name, part.origin.file, part.name) for root in roots for name, part in reader.definitions(*root[:2])]
    assert parts == [
        ("other", "sub/c.yaml", "other"),
        ("web", "d.yaml", "web"),
        ("web", "base.yaml", "a"),
        ("web", "base.yaml", "b"),
        ("web", "compose.yaml", "web"),
    ]
    assert reader.files == ("compose.yaml", "sub/c.yaml", "d.yaml", "base.yaml")
