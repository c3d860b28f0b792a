"""Errors of lessee.yaml: complete, with the right line, and without values of the file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lessee.config.grammar.problems import spell
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

EXAMPLE = Path(__file__).with_name("test_config_example.yaml").read_text()
VALID = """
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


@pytest.mark.no_cover
def test_a_file_with_every_key_has_no_problem():
    assert problems(EXAMPLE) == []


def test_all_problems_are_reported_together_in_the_order_of_their_lines():
    text = """
    environmet: production
    vault: {address: vault:8200, auth: {method: aprole}}
    secrets:
      refresh_interval: 1
    apps:
      web:
        directory: run/secrets
        owner: ro ot
        mode: 0440
        files:
          - tempate: web.env.j2
          - [web.env.j2]
        notify: {action: SIGHUB, process: {name: a}, pid_file: b}
      db: {files: []}
    """
    assert problems(text) == [
        "lessee.yaml:2: environmet: unknown key; did you mean `environment`?",
        ("lessee.yaml:3: vault.address: expected an address such as `https://vault:8200`, without user and query"),
        (
            "lessee.yaml:3: vault.auth.method: expected one of `token`, `approle`, `jwt`, `kubernetes`, "
            "`cert`, `userpass`, `ldap`, `radius`, `okta`, "
            "`github`, `aws`, `azure`, `gcp`, `cf`, `kerberos`, `oidc`; did you mean `approle`?"
        ),
        (
            "lessee.yaml:5: secrets.refresh_interval: expected a duration such as `500ms`, `30s`, `5m`, `24h` or "
            "`7d`, found a number; write its unit too, such as `30s`"
        ),
        "lessee.yaml:8: apps.web.directory: expected an absolute path",
        'lessee.yaml:9: apps.web.owner: expected an owner, "uid:gid", "user:group", "uid" or "user"',
        (
            'lessee.yaml:10: apps.web.mode: expected a mode such as "0440", found a number; '
            'quote it, as in "0440": YAML reads an unquoted mode as a number'
        ),
        "lessee.yaml:12: apps.web.files[0].tempate: unknown key; did you mean `template`?",
        "lessee.yaml:13: apps.web.files[1]: expected a mapping, found a list",
        "lessee.yaml:14: apps.web.notify.action: expected a signal such as `SIGHUP`, or `restart`",
        (
            "lessee.yaml:14: apps.web.notify: expected exactly one of `process`, `pid_file`, `container`, "
            "`child`, `command`, `http`, found `process`, `pid_file`"
        ),
        "lessee.yaml:15: apps.db.files: the list is empty; add an item, or remove the key",
        "lessee.yaml:15: apps.db.directory: missing; expected an absolute path",
    ]


def test_a_misspelled_key_is_not_also_reported_as_missing():
    assert problems(
        "environment: testing\napps: {web: {directory: /run/secrets/web, fils: [{template: web.env.j2}]}}"
    ) == ["lessee.yaml:2: apps.web.fils: unknown key; did you mean `files`?"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("events: {poll_interval: 1m}", "events: expected `redis`, `socket` or `vault`, found none; name where"),
        (
            "events: {redis: 'redis://r', socket: /s}",
            "events.socket: `redis` is set too, and both deliver the same events; remove one",
        ),
        ("monitor: {audit: {file: f}, publish: 'ftp://x'}", "monitor.publish: expected a URL such as"),
        ("monitor: {}", "monitor.audit: missing; expected a mapping"),
        ('monitor: {audit: {file: "${"}}', "monitor.audit.file: invalid variable after ${"),
        ("setup: {environments: [a, '${B}']}", "setup.environments[1]: ${B} is not set"),
        ("setup: {secrets: {a: {b: {generate: x}}}}", "expected an integer above 0, found a string"),
        ("allow_disk: 1", "allow_disk: expected true or false, found a number"),
        ("vault: {auth: {}}", "vault.auth.method: missing; expected one of `token`, `approle`"),
        (
            "vault: {auth: {method: approle}}",
            "vault.auth: expected exactly one of `role_id`, `role_id_file`, found none of them",
        ),
        (
            "vault: {auth: {method: approle, role_id: r, wrapped: true}}",
            "vault.auth.wrapped: `secret_id_file`, which would contain the wrapping token, is missing; write",
        ),
        (
            "vault: {auth: {method: aws, type: ec2}}",
            "vault.auth.type: `ec2` needs `nonce_file`, and `iam` has no nonce",
        ),
        ("vault: {auth: {method: aws, nonce_file: n}}", "vault.auth.type: `ec2` needs `nonce_file`"),
        (
            "vault: {address: https://a, addresses: [https://b]}",
            "vault.addresses: `address` is set too; remove one of them",
        ),
        ("vault: {addresses: []}", "vault.addresses: the list is empty"),
        ("vault: {addresses: [https://a, b]}", "vault.addresses[1]: expected an address"),
        (
            "vault: {auth: {method: jwt}}",
            "vault.auth: expected exactly one of `jwt_file`, `jwt_variable`, `jwt_command`, `jwt_from`, found none",
        ),
        (
            "vault: {auth: {method: jwt, jwt_variable: ID, audience: a}}",
            "vault.auth.audience: it applies only to `jwt_from`; an existing JWT has an audience already; remove it",
        ),
        ("vault: {auth: {method: jwt, jwt_from: gitlab}}", "vault.auth.jwt_from: expected one of `github`, `spiffe`"),
        (
            "vault: {auth: {method: jwt, jwt_from: spiffe}}",
            "vault.auth.jwt_from: `jwt_from: spiffe` needs an `audience`",
        ),
        (
            "vault: {auth: {method: userpass, username: ../x, password_file: f}}",
            "vault.auth.username: expected a user name, without `/`",
        ),
        (
            "vault: {client_cert_file: a, client_key_file: b, auth: {method: cert, cert_file: a, key_file: c}}",
            "vault.client_cert_file: a connection presents one certificate, but `auth` names other files; remove it",
        ),
        ("vault: {address: 'https://u:p@v'}", "vault.address: expected an address"),
        ("vault: {address: 'https://v:65536'}", "vault.address: expected an address"),
        ("status: {listen: 9105}", "status.listen: expected `host:port`, found a number; quote it"),
    ],
)
def test_a_problem_of_a_top_level_key_is_reported_once_with_its_line(line, expected):
    [problem] = problems(VALID.replace("secrets:", f"{line}\nsecrets:"))
    assert problem.startswith("lessee.yaml:3: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "",
            "1: environment: missing, but secrets.prefix contains {environment}; write `environment: NAME`",
        ),
        ("environment: null", "2: environment: missing, but secrets.prefix contains {environment}"),
        ("environment: a/b", "2: environment: expected a name of letters, digits, `_`, `.` and `-`"),
        ("environment: ${E}", "2: environment: ${E} is not set"),
        ("environment: ${E", "2: environment: invalid variable after ${"),
        (
            'environment: "a\\0"',
            "2: environment: it contains a NUL character or a surrogate, which no path and no argument can contain",
        ),
        (
            "environment: 2024-01-01",
            "2: environment: expected a name of letters, digits, `_`, `.` and `-`, found a date",
        ),
        ("environment: on", "found a boolean; quote it"),
        ("environment: 1.5", "found a number; quote it"),
        ("environment: {a: b}", "found a mapping"),
    ],
)
def test_a_problem_of_the_environment_is_reported_once(name, expected):
    [problem] = problems(VALID.replace("environment: production", name))
    assert expected in problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'prefix: "{other}/"',
            "secrets.prefix: expected a Vault path prefix, in which `{environment}` is the only placeholder",
        ),
        ("prefix: a/../b", "secrets.prefix: expected a Vault path prefix"),
        ("prefix: a//b", "without empty elements, `.` and `..`"),
        ("prefix: staging/x", "secrets.prefix: it begins with the name of another environment"),
        ("mount: staging/x", "secrets.mount: it begins with the name of another environment"),
        ("shared_prefixes: [a, staging]", "secrets.shared_prefixes[1]: it begins with the name of another environment"),
        ('shared_prefixes: ["/"]', "secrets.shared_prefixes[0]: expected a Vault path prefix"),
        ("refresh_interval: 99ms", "`7d`, at least 100ms"),
        ("refresh_interval: 2d", "`7d`, at most 1d"),
        ('refresh_interval: "${E:-1}"', "secrets.refresh_interval: expected a duration"),
    ],
)
def test_a_problem_in_secrets_is_reported_once(line, expected):
    [problem] = problems(VALID.replace('prefix: "{environment}/"', line))
    assert problem.startswith("lessee.yaml:3: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  web:", "  we b:", "5: apps.we b: expected a name of letters"),
        ("  web:", "  ${web}:", "5: apps.${web}: expected a name of letters"),
        ("  web:", "  ..:", "5: apps...: expected a name of letters"),
        ("  web:", f"  {'w' * 256}:", "expected a name of letters"),
        ("/run/secrets/web", "/run/../web", "6: apps.web.directory: expected an absolute path, without `..`"),
        (
            "/run/secrets/web",
            "/run/lessee",
            "6: apps.web.directory: state_dir is the same directory; give each its own",
        ),
        ("/run/secrets/web", "/run/lessee/web", "6: apps.web.directory: it is inside of state_dir"),
        ("/run/secrets/web", "/", "6: apps.web.directory: it is inside of state_dir, or contains it; only the agent"),
        ("directory: /run/secrets/web", "", "5: apps.web.directory: missing; expected an absolute path"),
        (
            "    files:\n      - template: web.env.j2\n",
            "",
            "5: apps.web.files: missing; expected a list of files; write `files:`, or `env_template:`",
        ),
        (
            "web.env.j2",
            "/etc/../web.env.j2",
            "8: apps.web.files[0].template: expected the path of a template in template_dir, without `..`",
        ),
        ("web.env.j2", "../web.env.j2", "8: apps.web.files[0].template: expected the path of a template"),
        (
            "web.env.j2",
            "a/.j2",
            "8: apps.web.files[0].name: missing, and the template's name does not yield a file name",
        ),
    ],
)
def test_a_problem_in_an_app_is_reported_once_with_its_line(old, new, expected):
    [problem] = problems(VALID.replace(old, new))
    assert expected in problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    name: ..data", "apps.web.files[0].name: expected a file name"),
        ("    name: tls/", "apps.web.files[0].name: expected a file name"),
        ("    name: /tls/server.pem", "apps.web.files[0].name: expected a file name"),
        ("    name: tls/../../server.pem", "with no element that begins with `..`"),
        ("    name: tls/..data/server.pem", "with no element that begins with `..`"),
        ("    name: tls/.", "apps.web.files[0].name: expected a file name"),
        (f"    name: {'ü' * 128}", "at most 255 bytes between slashes"),
        (f"    name: tls/{'ü' * 128}", "at most 255 bytes between slashes"),
        (f"    name: {'a/' * 32}b", "at most 1024 bytes and 32 elements"),
        (f"    name: {'/'.join(['x' * 200] * 6)}", "at most 1024 bytes and 32 elements"),
        ("    owner: '4294967295'", "numbers up to 4294967294"),
        (
            "    owner: 1000:33",
            'apps.web.files[0].owner: expected an owner, "uid:gid", "user:group", "uid" or "user", found a',
        ),
        ("    mode: '0880'", 'apps.web.files[0].mode: expected a mode such as "0440"'),
        ("    mode: '0646'", 'expected a mode such as "0440", without write permission for others'),
        ("    format: nginks", "did you mean `nginx`?"),
        ("    format: zzz", "expected one of `dotenv`, `dotenv-compose`"),
        ("    nope: 1", "unknown key; known keys: `template`, `contents`, `name`"),
        ("  - template: b/web.env.j2", "apps.web.files[1].name: apps.web.files[0] has the same name"),
        ("notify: {}", "apps.web.notify: expected exactly one of `process`"),
        ("notify: {proces: {name: a}}", "did you mean `process`?"),
        ("check: nginx", "apps.web.check: expected a list or a mapping, found a string"),
        ("on_expiry: []", "expected one of `keep`, `remove` or a mapping, found a list"),
    ],
)
def test_a_problem_after_the_files_is_reported_once_with_its_line(line, expected):
    [problem] = problems(f"{VALID}    {line}\n")
    assert problem.startswith("lessee.yaml:9: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("vault", "expected"),
    [
        ("{address: https://a, addresses: [https://b]}", "apps.web.vault.addresses: `address` is set too"),
        ("{auth: {method: approle, role_id: r, wrapped: on}}", "apps.web.vault.auth.wrapped: `secret_id_file`, which"),
        ("{client_cert_file: b.pem}", "apps.web.vault.client_cert_file: a connection presents one certificate"),
        ("{auth: {method: kubernetes}}", "apps.web.vault.auth.role: missing"),
    ],
)
def test_a_problem_in_an_apps_vault_block_is_reported_once_with_its_line(vault, expected):
    auth = "{method: cert, cert_file: a.pem, key_file: a.key}"
    top = VALID.replace("secrets:", f"vault: {{auth: {auth}}}\nsecrets:")
    [problem] = problems(f"{top}    vault: {vault}\n")
    assert problem.startswith(f"lessee.yaml:10: {expected}")


@pytest.mark.parametrize("block", ["exec", "programs"])
def test_a_user_of_programs_that_no_system_has_is_a_problem(block):
    [problem] = problems(VALID.replace("secrets:", f"{block}: {{user: '4294967295'}}\nsecrets:"))
    assert problem.startswith(f"lessee.yaml:3: {block}.user: ")
    assert "numbers up to 4294967294" in problem


def test_a_problem_in_the_top_level_vault_block_is_reported_once_though_apps_inherit_it():
    top = "vault: {client_cert_file: c.pem, auth: {method: cert, cert_file: a, key_file: b}}\nsecrets:"
    [problem] = problems(f"{VALID.replace('secrets:', top)}    vault: {{namespace: team}}\n")
    assert problem.startswith("lessee.yaml:3: vault.client_cert_file: ")


def test_two_apps_never_share_a_directory():
    [problem] = problems(f"{VALID}  db: {{directory: /run/secrets/web/, files: [{{template: a.j2}}]}}\n")
    assert problem.startswith("lessee.yaml:9: apps.db.directory: apps.web.directory is the same directory")


FILES = """environment: production
apps:
  web:
    directory: /run/secrets/web
    files:
      - template: a.j2
        name: {}
      - template: b.j2
        name: {}
"""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("tls", "tls/key.pem", "apps.web.files[0] is a file named tls, which cannot be a directory too; rename one"),
        ("a/b", "a/b/c/d", "apps.web.files[0] is a file named a/b, which cannot be a directory too"),
        ("tls/key.pem", "tls", "apps.web.files[0] is a file in the directory tls, which cannot be a file too; rename"),
        ("a/b/c", "a/b", "apps.web.files[0] is a file in the directory a/b, which cannot be a file too"),
        ("a/b", "./a//b", "apps.web.files[0] has the same name"),
    ],
)
def test_a_file_and_a_directory_of_an_app_never_have_one_name(first, second, expected):
    [problem] = problems(FILES.format(first, second))
    assert problem.startswith(f"lessee.yaml:9: apps.web.files[1].name: {expected}")


@pytest.mark.parametrize(("directory", "place"), [("tls", "tls/key.pem"), ("tls/a/b", "tls/key.pem"), ("env", "env")])
def test_no_app_has_its_directory_where_another_one_publishes_a_file_or_directory(directory, place):
    text = (
        FILES.format("tls/key.pem", "env")
        + f"  db: {{directory: /run/secrets/web/{directory}, files: [{{template: c.j2}}]}}\n"
    )
    [problem] = problems(text)
    assert problem == (
        f"lessee.yaml:10: apps.db.directory: another app publishes {place} in /run/secrets/web; "
        "name a directory outside of that one"
    )


def test_a_directory_beside_the_files_of_another_app_is_only_a_finding_of_check():
    text = FILES.format("tls/key.pem", "env")
    assert not problems(f"{text}  db: {{directory: /run/secrets/web/tl, files: [{{template: c.j2}}]}}\n")


def test_the_file_that_the_tests_alter_has_no_problem():
    assert not problems(VALID)


def test_a_prefix_of_another_environment_needs_the_own_one():
    [problem] = problems(VALID.replace("environment: production", "").replace("{environment}/", "staging/"))
    assert problem.startswith("lessee.yaml:1: environment: missing, but secrets.prefix begins with the name of an env")


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("VAULT_ADDR", "vault.address"),
        ("VAULT_NAMESPACE", "vault.namespace"),
        ("VAULT_CACERT", "vault.ca_file"),
        ("LESSEE_ENVIRONMENT", "environment"),
    ],
)
def test_an_invalid_variable_is_reported_by_name_and_without_its_value(variable, key):
    [problem] = problems("apps: {}", **{"LESSEE_ENVIRONMENT": "e", variable: "hunter2\n"})
    assert f"{key}: the file does not set it, and ${variable} is not " in problem
    assert "hunter2" not in problem


def test_an_unprintable_or_long_key_is_cut():
    [problem] = problems(VALID + f'? "\\e[31m{"k" * 999}"\n: 1\n')
    assert problem.startswith(f"lessee.yaml:9: ?[31m{'k' * 55}…: unknown key; known keys: `environment`")


def keys(node, path=()) -> Iterator[tuple[tuple[str | int, ...], yaml.ScalarNode]]:
    """All keys of a node, at every depth."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key
            yield from keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from keys(value, (*path, index))


def is_free(path):
    """Whether the key is a name that the user chooses."""
    match path:
        case ("apps" | "rotation", _) | ("setup", "secrets", *_) | ("setup", "components", _):
            free = path[-1] not in {"secrets", "generate", "env"}
        case ("apps", _, "fallback", "env", *rest):
            free = bool(rest)
        case (name, *_):
            free = name.startswith("x-")
    return free


@pytest.mark.long
def test_a_misspelled_key_is_reported_in_its_line_at_every_place():
    count = 0
    for path, key in keys(yaml.compose(EXAMPLE, Loader=yaml.SafeLoader)):
        if is_free(path):
            continue
        start, end = key.start_mark.index, key.end_mark.index
        problem = problems(f"{EXAMPLE[:start]}{key.value}zz{EXAMPLE[end:]}")
        spelt = spell(path)
        place = f"lessee.yaml:{key.start_mark.line + 1}: "
        expected = f"{spelt}: missing" if path[-1] in {"method", "kind"} else f"{place}{spelt}zz: unknown key"
        assert any(expected in line for line in problem), path
        count += 1
    assert count > 150


CANARY = "hunter2"


def scalars(node) -> Iterator[yaml.ScalarNode]:
    """All scalar values of a node, without keys."""
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
def test_an_error_never_repeats_a_value(misplaced):
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
                "lessee.yaml:7: apps.web.check: {file} is the only file of an app, but this app has 2; "
                "write {directory}/NAME"
            ),
        ),
        (
            ["notify: {command: ['true'], action: SIGHUP}", "files: [{template: a.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.notify.action: "
                "it does not apply to `command` and `http`, which send no signal; remove it"
            ),
        ),
        (
            ["notify: {child: true, uid: 1000}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.notify.uid: it applies only to `process` and `pid_file`; remove it",
        ),
        (
            ["notify: {pid_file: /run/a.pid, uid: 4294967295}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.notify.uid: expected a uid in numbers, such as 1000, at most 4294967294",
        ),
        (
            ["notify: {process: {cmdline: '*'}}", "files: [{template: a.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.notify.process.cmdline: expected a regular expression, "
                "found an invalid one: nothing to repeat at position 0"
            ),
        ),
        (
            ["ready: {tls: {address: 'web:443', certificate: tls.crt}}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.ready.tls.certificate: the app has no such file; its files are: a.env",
        ),
        (
            ["ready: {tcp: 'web:443', initial_delay: 5s, timeout: 5s}", "files: [{template: a.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.ready.initial_delay: "
                "the first probe would run after `timeout`; make it shorter than `timeout`"
            ),
        ),
        (
            ["fallback: {last_known_good: /run/secrets/web/saved}", "files: [{template: a.env.j2}]"],
            (
                "lessee.yaml:7: apps.web.fallback.last_known_good: "
                "the file is in the app's directory; name a file outside of it"
            ),
        ),
        (
            ["fallback: {env: [A], max_age: 7d}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.fallback.max_age: it applies only to `last_known_good`; remove it",
        ),
        (
            ["fallback: {env: []}", "files: [{template: a.env.j2}]"],
            "lessee.yaml:7: apps.web.fallback.env: it is empty; name variables, or remove `fallback`",
        ),
        (
            ["fallback: {env: [A]}", "files: [{template: a.env.j2, name: .degraded/a}]"],
            (
                "lessee.yaml:7: apps.web.fallback: a file of the app is named .degraded, "
                "which is the marker of a fallback; rename the file"
            ),
        ),
        (
            ["fallback: {env: [A]}", "files: [{template: a.env.j2, name: .degraded}]"],
            (
                "lessee.yaml:7: apps.web.fallback: a file of the app is named .degraded, "
                "which is the marker of a fallback; rename the file"
            ),
        ),
    ],
)
def test_a_check_notification_probe_or_fallback_that_cannot_work_is_reported(lines, problem):
    text = "environment: production\nsecrets: {prefix: ''}\napps:\n  web:\n    directory: /run/secrets/web\n\n"
    assert problems(text + "".join(f"    {line}\n" for line in lines)) == [problem]


def test_a_last_known_good_file_is_shared_by_no_apps_and_in_no_directory_of_another_app():
    block = "    fallback: {{last_known_good: {}}}\n"
    other = "  db: {directory: /run/secrets/db, files: [{template: a.j2}]}\n"
    valid = VALID + block.format("/var/lib/lessee/web") + other
    assert problems(valid) == []
    assert problems(valid.replace("a.j2}]", "a.j2}], fallback: {last_known_good: /var/lib//lessee/web}")) == [
        (
            "lessee.yaml:10: apps.db.fallback.last_known_good: apps.web.fallback.last_known_good is the same file; "
            "give each app a file of its own"
        )
    ]
    assert problems(VALID + block.format("/run/secrets/db/saved") + other) == [
        (
            "lessee.yaml:9: apps.web.fallback.last_known_good: the file is in the directory of apps.db; "
            "name a file outside of it"
        )
    ]


def test_a_signal_to_a_child_with_an_env_template_is_rejected():
    text = VALID + "    env_template: web.env.j2\n    notify: {child: true}\n"
    assert problems(text) == []
    assert problems(text, for_child=True) == [
        (
            "lessee.yaml:10: apps.web.notify.action: a signal cannot change the environment of a process, "
            "and that of `env_template` may change; write `action: restart`"
        )
    ]


# -- problems of single apps -----------------------------------------------------------------------------------------


def parse_around_problems(text):
    refused = {}
    config = parse(text, source="lessee.yaml", environ={}, refused=refused)
    return list(config.apps), {name: [str(problem) for problem in error.problems] for name, error in refused.items()}


SIBLINGS = """
environment: production
apps:
  good: {directory: /run/good, files: [{template: a}]}
  typo: {directory: /run/typo, files: [{template: a}], mod: 0440}
  late: {directory: /run/late, files: [{template: a, name: "/"}], mode: 9999}
  same: {directory: /run/good, files: [{template: a}]}
  none: {}
"""


REFUSED = ("typo", "late", "same", "none")


def test_the_problems_of_single_apps_are_theirs_alone():
    assert parse_around_problems(SIBLINGS) == (
        ["good"],
        {name: [line for line in problems(SIBLINGS) if f" apps.{name}." in line] for name in REFUSED},
    )
    assert parse_around_problems(VALID) == (["web"], {})


def test_a_problem_that_concerns_all_is_reported_with_those_of_single_apps():
    text = f"{SIBLINGS}\nvault: {{adress: x}}"
    with pytest.raises(ConfigError) as caught:
        parse_around_problems(text)
    assert [str(problem) for problem in caught.value.problems] == problems(text)
    for text in ("apps: []", "apps: 3"):
        with pytest.raises(ConfigError):
            parse_around_problems(text)
