"""What is wrong with a lessee.yaml is told whole, in the right line, and without the file's values."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lessee.config.grammar.problems import spell
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

EXAMPLE = Path(__file__).with_name("test_config_example.yaml").read_text()
SOUND = """
environment: production
secrets: {prefix: "{environment}/"}
apps:
  web:
    directory: /run/secrets/web
    files:
      - template: web.env.j2
"""


def problems(text, *, for_child=False, **environ):
    try:
        parse(text, source="lessee.yaml", environ=environ, for_child=for_child)
    except ConfigError as exc:
        return [str(problem) for problem in exc.problems]
    return []


def test_of_a_file_that_says_everything_nothing_is_told():
    assert problems(EXAMPLE) == []


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines():
    text = """
    environmet: production
    vault: {address: vault:8200, auth: {method: aprole}}
    secrets:
      refresh: 1
    apps:
      web:
        directory: run/secrets
        owner: root
        mode: 0440
        files:
          - tempate: web.env.j2
          - [web.env.j2]
        notify: {action: SIGHUB, process: {name: a}, pid_file: b}
      db: {files: []}
    """
    assert problems(text) == [
        "lessee.yaml:2: environmet: unknown key; did you mean `environment`?",
        ("lessee.yaml:3: vault.address: expected an address such as `https://vault:8200`, without user or query"),
        (
            "lessee.yaml:3: vault.auth.method: expected one of `token`, `approle`, `jwt`, `kubernetes`, "
            "`cert`, `userpass`; did you mean `approle`?"
        ),
        (
            "lessee.yaml:5: secrets.refresh: expected a duration such as `500ms`, `30s`, `5m`, `24h` or "
            "`7d`, found a number; write its unit too, such as `30s`"
        ),
        "lessee.yaml:8: apps.web.directory: expected an absolute path",
        'lessee.yaml:9: apps.web.owner: expected an owner in numbers, "uid:gid" or "uid"',
        (
            'lessee.yaml:10: apps.web.mode: expected a mode such as "0440", found a number; '
            'quote it, as "0440": YAML takes an unquoted mode for a number'
        ),
        "lessee.yaml:12: apps.web.files[0].tempate: unknown key; did you mean `template`?",
        "lessee.yaml:13: apps.web.files[1]: expected a mapping, found a list",
        "lessee.yaml:14: apps.web.notify.action: expected a signal such as `SIGHUP`, or `restart`",
        (
            "lessee.yaml:14: apps.web.notify: expected exactly one of `process`, `pid_file`, `container`, "
            "`child`, `command`, `http`, found `process`, `pid_file`"
        ),
        "lessee.yaml:15: apps.db.files: the list is empty",
        "lessee.yaml:15: apps.db.directory: missing; expected an absolute path",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("events: {poll: 1m}", "events: expected `redis`, `socket` or `vault`"),
        ("events: {redis: 'redis://r', socket: /s}", "events.socket: `redis` stands there too, and both tell the same"),
        ("monitor: {audit: {file: f}, publish: 'ftp://x'}", "monitor.publish: expected a URL such as"),
        ("monitor: {}", "monitor.audit: missing; expected a mapping"),
        ('monitor: {audit: {file: "${"}}', "monitor.audit.file: a ${ begins no variable"),
        ("setup: {environments: [a, '${B}']}", "setup.environments[1]: ${B} is not set"),
        ("setup: {secrets: {a: {b: {generate: x}}}}", "expected a whole number above 0, found a text"),
        ("allow_disk: 1", "allow_disk: expected true or false, found a number"),
        ("vault: {auth: {}}", "vault.auth.method: missing; expected one of `token`, `approle`"),
        (
            "vault: {auth: {method: approle}}",
            "vault.auth: expected exactly one of `role_id`, `role_id_file`, found none",
        ),
        (
            "vault: {auth: {method: approle, role_id: r, wrapped: true}}",
            "vault.auth.wrapped: there is no secret_id_file",
        ),
        (
            "vault: {address: https://a, addresses: [https://b]}",
            "vault.addresses: `address` stands there too; leave one of them out",
        ),
        ("vault: {addresses: []}", "vault.addresses: the list is empty"),
        ("vault: {addresses: [https://a, b]}", "vault.addresses[1]: expected an address"),
        (
            "vault: {auth: {method: jwt}}",
            "vault.auth: expected exactly one of `jwt_file`, `jwt_variable`, `jwt_from`, found none",
        ),
        (
            "vault: {auth: {method: jwt, jwt_variable: ID, audience: a}}",
            "vault.auth.audience: the JWT is there already, with an audience of its own; leave it out",
        ),
        ("vault: {auth: {method: jwt, jwt_from: gitlab}}", "vault.auth.jwt_from: expected `github`"),
        (
            "vault: {auth: {method: userpass, username: ../x, password_file: f}}",
            "vault.auth.username: expected a user's name, without `/`",
        ),
        (
            "vault: {client_cert_file: a, client_key_file: b, auth: {method: cert, cert_file: a, key_file: c}}",
            "vault.client_cert_file: a connection shows one certificate, and auth names another pair of files; leave",
        ),
        ("vault: {address: 'https://u:p@v'}", "vault.address: expected an address"),
        ("vault: {address: 'https://v:65536'}", "vault.address: expected an address"),
        ("status: {listen: 9105}", "status.listen: expected `host:port`, found a number; quote it"),
    ],
)
def test_a_mistake_at_the_top_is_told_once_with_its_line(line, expected):
    [told] = problems(SOUND.replace("secrets:", f"{line}\nsecrets:"))
    assert told.startswith("lessee.yaml:3: ")
    assert expected in told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "",
            "1: environment: missing, and secrets.prefix holds {environment}; write `environment: NAME`",
        ),
        ("environment: null", "2: environment: missing, and secrets.prefix holds {environment}"),
        ("environment: a/b", "2: environment: expected a name of letters, digits, `_`, `.` and `-`"),
        ("environment: ${E}", "2: environment: ${E} is not set"),
        ("environment: ${E", "2: environment: a ${ begins no variable"),
        ('environment: "a\\0"', "2: environment: it holds a character that no path and no argument can hold"),
        (
            "environment: 2024-01-01",
            "2: environment: expected a name of letters, digits, `_`, `.` and `-`, found a date",
        ),
        ("environment: on", "found a yes or no; quote it"),
        ("environment: 1.5", "found a number; quote it"),
        ("environment: {a: b}", "found a mapping"),
    ],
)
def test_a_mistake_in_the_environments_name_is_told_once(name, expected):
    [told] = problems(SOUND.replace("environment: production", name))
    assert expected in told


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('prefix: "{other}/"', "secrets.prefix: expected a folder in Vault; of `{…}` only `{environment}`"),
        ("prefix: a/../b", "secrets.prefix: expected a folder in Vault"),
        ("prefix: a//b", "without empty elements, `.` or `..`"),
        ("prefix: staging/x", "secrets.prefix: it begins with another environment's name"),
        ("mount: staging/x", "secrets.mount: it begins with another environment's name"),
        ("shared: [a, staging]", "secrets.shared[1]: it begins with another environment's name"),
        ('shared: ["/"]', "secrets.shared[0]: expected a folder in Vault"),
        ("refresh: 99ms", "`7d`, at least 100ms"),
        ("refresh: 2d", "`7d`, at most 1d"),
        ('refresh: "${E:-1}"', "secrets.refresh: expected a duration"),
    ],
)
def test_a_mistake_in_secrets_is_told_once(line, expected):
    [told] = problems(SOUND.replace('prefix: "{environment}/"', line))
    assert told.startswith("lessee.yaml:3: ")
    assert expected in told


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  web:", "  we b:", "5: apps.we b: expected a name of letters"),
        ("  web:", "  ${web}:", "5: apps.${web}: expected a name of letters"),
        ("  web:", "  ..:", "5: apps...: expected a name of letters"),
        ("  web:", f"  {'w' * 256}:", "expected a name of letters"),
        ("/run/secrets/web", "/run/../web", "6: apps.web.directory: expected an absolute path, without `..`"),
        ("/run/secrets/web", "/run/lessee", "6: apps.web.directory: state is the same directory; give each"),
        ("/run/secrets/web", "/run/lessee/web", "6: apps.web.directory: it lies in state"),
        ("/run/secrets/web", "/", "6: apps.web.directory: it lies in state, or state in it"),
        ("directory: /run/secrets/web", "", "5: apps.web.directory: missing; expected an absolute path"),
        ("    files:\n      - template: web.env.j2\n", "", "5: apps.web.files: missing"),
        (
            "web.env.j2",
            "/web.env.j2",
            "8: apps.web.files[0].template: expected a path below the templates' folder",
        ),
        ("web.env.j2", "../web.env.j2", "8: apps.web.files[0].template: expected a path below"),
        ("web.env.j2", "a/.j2", "8: apps.web.files[0].name: the template's name gives none"),
    ],
)
def test_a_mistake_in_an_app_is_told_once_with_its_line(old, new, expected):
    [told] = problems(SOUND.replace(old, new))
    assert expected in told


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    name: a/b", "apps.web.files[0].name: expected a file's name"),
        ("    name: ..data", "apps.web.files[0].name: expected a file's name"),
        (f"    name: {'ü' * 128}", "at most 255 bytes"),
        ("    owner: '4294967295'", "numbers up to 4294967294"),
        (
            "    owner: 1000:33",
            'apps.web.files[0].owner: expected an owner in numbers, "uid:gid" or "uid", found a',
        ),
        ("    mode: '0880'", 'apps.web.files[0].mode: expected a mode such as "0440"'),
        ("    format: nginks", "did you mean `nginx`?"),
        ("    format: zzz", "expected one of `dotenv`, `dotenv-compose`"),
        ("    nope: 1", "unknown key; known here: `template`, `name`"),
        ("  - template: b/web.env.j2", "apps.web.files[1].name: apps.web.files[0] has the same name"),
        ("notify: {}", "apps.web.notify: expected exactly one of `process`"),
        ("notify: {proces: {name: a}}", "did you mean `process`?"),
        ("check: nginx", "apps.web.check: expected a list or a mapping, found a text"),
        ("on_expiry: []", "expected one of `keep`, `remove` or a mapping, found a list"),
    ],
)
def test_a_mistake_below_a_file_is_told_once_with_its_line(line, expected):
    [told] = problems(f"{SOUND}    {line}\n")
    assert told.startswith("lessee.yaml:9: ")
    assert expected in told


@pytest.mark.parametrize(
    ("vault", "expected"),
    [
        ("{address: https://a, addresses: [https://b]}", "apps.web.vault.addresses: `address` stands there too"),
        ("{auth: {method: approle, role_id: r, wrapped: on}}", "apps.web.vault.auth.wrapped: there is no secret_id"),
        ("{client_cert_file: b.pem}", "apps.web.vault.client_cert_file: a connection shows one certificate"),
        ("{auth: {method: kubernetes}}", "apps.web.vault.auth.role: missing"),
    ],
)
def test_a_mistake_in_an_apps_identity_is_told_once_with_its_line(vault, expected):
    auth = "{method: cert, cert_file: a.pem, key_file: a.key}"
    top = SOUND.replace("secrets:", f"vault: {{auth: {auth}}}\nsecrets:")
    [told] = problems(f"{top}    vault: {vault}\n")
    assert told.startswith(f"lessee.yaml:10: {expected}")


def test_a_mistake_in_the_identity_of_all_is_told_once_though_apps_inherit_it():
    top = "vault: {client_cert_file: c.pem, auth: {method: cert, cert_file: a, key_file: b}}\nsecrets:"
    [told] = problems(f"{SOUND.replace('secrets:', top)}    vault: {{namespace: team}}\n")
    assert told.startswith("lessee.yaml:3: vault.client_cert_file: ")


def test_two_apps_never_share_a_directory():
    [told] = problems(f"{SOUND}  db: {{directory: /run/secrets/web/, files: [{{template: a.j2}}]}}\n")
    assert told.startswith("lessee.yaml:9: apps.db.directory: apps.web.directory is the same directory")


def test_the_file_that_the_mistakes_are_put_into_has_none():
    assert not problems(SOUND)


def test_a_prefix_of_some_environment_without_an_own_one_is_told():
    [told] = problems(SOUND.replace("environment: production", "").replace("{environment}/", "staging/"))
    assert told.startswith("lessee.yaml:1: environment: missing, and secrets.prefix begins with an env")


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("VAULT_ADDR", "vault.address"),
        ("VAULT_NAMESPACE", "vault.namespace"),
        ("VAULT_CACERT", "vault.ca_file"),
        ("LESSEE_ENVIRONMENT", "environment"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name_and_without_its_value(variable, key):
    [told] = problems("apps: {}", **{"LESSEE_ENVIRONMENT": "e", variable: "hunter2\n"})
    assert f"{key}: it is not in the file, and ${variable} is not " in told
    assert "hunter2" not in told


def test_a_key_that_would_not_print_is_cut():
    [told] = problems(SOUND + f'? "\\e[31m{"k" * 999}"\n: 1\n')
    assert told.startswith(f"lessee.yaml:9: ?[31m{'k' * 55}…: unknown key; known here: `environment`")


def keys(node, path=()) -> Iterator[tuple[tuple[str | int, ...], yaml.ScalarNode]]:
    """The keys of a block, with theirs in turn."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key
            yield from keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from keys(value, (*path, index))


def is_free(path):
    """Whether the file's author chose the name."""
    match path:
        case ("apps" | "rotation", _) | ("setup", "secrets", *_) | ("setup", "components", _):
            free = path[-1] not in {"secrets", "generate", "env"}
        case ("apps", _, "fallback", "env", *rest):
            free = bool(rest)
        case (name, *_):
            free = name.startswith("x-")
    return free


@pytest.mark.long
def test_a_misspelt_key_is_told_in_its_line_wherever_it_stands():
    renamed = 0
    for path, key in keys(yaml.compose(EXAMPLE, Loader=yaml.SafeLoader)):
        if is_free(path):
            continue
        start, end = key.start_mark.index, key.end_mark.index
        told = problems(f"{EXAMPLE[:start]}{key.value}zz{EXAMPLE[end:]}")
        spelt = spell(path)
        place = f"lessee.yaml:{key.start_mark.line + 1}: "
        expected = f"{spelt}: missing" if path[-1] in {"method", "kind"} else f"{place}{spelt}zz: unknown key"
        assert any(expected in line for line in told), path
        renamed += 1
    assert renamed > 150


CANARY = "hunter2"


def scalars(node) -> Iterator[yaml.ScalarNode]:
    """The values below a node that are no keys."""
    match node:
        case yaml.ScalarNode():
            yield node
        case yaml.SequenceNode():
            for item in node.value:
                yield from scalars(item)
        case yaml.MappingNode():
            for _, value in node.value:
                yield from scalars(value)


@pytest.mark.long
@pytest.mark.parametrize("misplaced", [CANARY, f"'{CANARY}/../{{{CANARY}}}'", f"[{CANARY}]", f"'${{A:?{{{CANARY}'"])
def test_a_value_in_a_wrong_place_is_never_repeated(misplaced):
    tried = 0
    for node in scalars(yaml.compose(EXAMPLE, Loader=yaml.SafeLoader)):
        start, end = node.start_mark.index, node.end_mark.index
        text = f"{EXAMPLE[:start]}{misplaced}{EXAMPLE[end:]}"
        assert CANARY not in "\n".join(problems(text)), text.splitlines()[node.start_mark.line]
        tried += 1
    assert tried > 150


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["check: [sh, '{file}', '{directory}']", "files: [{template: a.env.j2}, {template: b.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.check: {file} stands for an app's one file, and this app has 2; "
                "write {directory}/NAME"
            ),
        ),
        (
            ["notify: {command: ['true'], action: SIGHUP}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.notify.action: a command or a request tells the app in its own way; leave it out",
        ),
        (
            ["notify: {process: {cmdline: '*'}}", "files: [{template: a.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.notify.process.cmdline: expected a regular expression, "
                "which this is not: nothing to repeat at 0"
            ),
        ),
        (
            ["ready: {tls: {address: 'web:443', certificate: tls.crt}}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.ready.tls.certificate: the app has no such file; its files are: a.env",
        ),
        (
            ["ready: {tcp: 'web:443', after: 5s, within: 5s}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.ready.after: the first look would come after `within`; make it shorter",
        ),
        (
            ["fallback: {last_good: /run/secrets/web/kept}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.fallback.last_good: it lies in the app's directory; name a file elsewhere",
        ),
        (
            ["fallback: {env: [A], max_age: 7d}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.fallback.max_age: only what is kept in a file grows old; leave it out",
        ),
        (
            ["fallback: {env: []}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.fallback.env: it names no variable; name some, or leave `fallback` out",
        ),
        (
            ["fallback: {env: [A]}", "files: [{template: a.env.j2, name: .degraded}]"],
            (
                "lessee.yaml:7: apps.web.fallback: a file of the app is called .degraded, "
                "as the marker of a fallback is; rename it"
            ),
        ),
    ],
)
def test_what_cannot_tell_judge_or_prove_is_told(lines, problem):
    text = "environment: production\nsecrets: {prefix: ''}\napps:\n  web:\n    directory: /run/secrets/web\n\n"
    assert problems(text + "".join(f"    {line}\n" for line in lines)) == [problem]


def test_two_apps_never_keep_their_last_good_in_one_file_nor_one_beside_the_files_of_another():
    kept = "    fallback: {{last_good: {}}}\n"
    other = "  db: {directory: /run/secrets/db, files: [{template: a.j2}]}\n"
    sound = SOUND + kept.format("/var/lib/lessee/web") + other
    assert problems(sound) == []
    assert problems(sound.replace("a.j2}]", "a.j2}], fallback: {last_good: /var/lib//lessee/web}")) == [
        "lessee.yaml:10: apps.db.fallback.last_good: apps.web.fallback.last_good is the same file; give each its own"
    ]
    assert problems(SOUND + kept.format("/run/secrets/db/kept") + other) == [
        "lessee.yaml:9: apps.web.fallback.last_good: it lies in the directory of apps.db; name a file elsewhere"
    ]


def test_a_signal_for_what_is_in_the_environment_is_refused_where_there_is_a_child():
    text = SOUND + "    environ: web.env.j2\n    notify: {child: true}\n"
    assert problems(text) == []
    assert problems(text, for_child=True) == [
        (
            "lessee.yaml:10: apps.web.notify.action: no signal changes a process's environment, "
            "and `environ` may change; write `action: restart`"
        )
    ]
