"""The smallest policy: what each word of a template is granted, and nothing else."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import TemplateError
from lessee.ops.access.policy.least_privilege import ASSUMED, Engine, identities, policy, reads_kv, rotated_by, text_of
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

OLD, DETAILED = Engine(1, detailed=False), Engine(2, detailed=True)
TOKEN = {"auth/token/lookup-self": "read", "auth/token/renew-self": "update", "auth/token/revoke-self": "update"}
LEASES = {"sys/leases/lookup": "update", "sys/leases/renew": "update", "sys/leases/revoke": "update"}
APPROLE = {"method": "approle", "role_id_file": "/run/role_id"}


def policies(apps, engine=ASSUMED, auth=APPROLE, rotation=None, **more):
    """Of apps with templates by name; an app may also be a pair of its `vault:` block and its templates."""
    blocks = {app: said if isinstance(said, tuple) else (None, said) for app, said in apps.items()}
    said = {
        "environment": "production",
        "vault": {"address": "http://vault:8200", "auth": auth, **more},
        "secrets": {"mount": "kv", "shared_prefixes": ["shared/"]},
        "apps": {
            app: {"directory": f"/run/{app}", "files": [{"template": name} for name in templates]}
            | ({"vault": vault} if vault else {})
            for app, (vault, templates) in blocks.items()
        },
        "rotation": rotation or {},
    }
    config = parse(json.dumps(said), source="lessee.yaml", environ={}, blocks=("rotation",))
    texts = {name: text for _, templates in blocks.values() for name, text in templates.items()}
    compiled_apps = compile_apps(config, Compiler(texts.__getitem__, path_scope_of(config)))
    rotated = rotated_by(config)
    return [policy(vault, some, engine, rotated) for vault, some in identities(compiled_apps.values(), config.vault).items()]


def granted(*calls, engine=ASSUMED, auth=APPROLE):
    """What a template of these calls is granted beside what any is: capabilities by path."""
    text = "".join(f"{{{{ {call} | length }}}}\n" for call in calls)
    (made,) = policies({"web": {"a.txt": text}}, engine, auth)
    assert [rule.path for rule in made.rules] == sorted({rule.path for rule in made.rules})
    found = {rule.path: ", ".join(rule.capabilities) for rule in made.rules}
    return {path: said for path, said in found.items() if path not in TOKEN}


def test_a_secret_is_read_and_looked_at_and_a_pinned_one_is_read_alone():
    assert granted('secret("db/one")') == {
        "kv/data/production/db/one": "read",
        "kv/metadata/production/db/one": "read",
    }
    assert granted('secret("shared/one")', engine=DETAILED) == {
        "kv/data/shared/one": "read",
        "kv/metadata/shared/one": "read",
    }
    assert granted('secret("db/one", version=3)') == {"kv/data/production/db/one": "read"}
    both = granted('secret("db/one", version=3)', 'secret("db/one")', engine=DETAILED)
    assert both == granted('secret("db/one")')


def test_several_secrets_of_a_folder_are_looked_at_by_one_listing_where_the_server_has_it():
    calls = 'secret("db/one")', 'secret("db/two")', 'secret("db/old", version=1)'
    read = {f"kv/data/production/db/{name}": "read" for name in ("one", "two", "old")}
    assert granted(*calls, engine=DETAILED) == read | {"kv/detailed-metadata/production/db/": "list"}
    looked = {f"kv/metadata/production/db/{name}": "read" for name in ("one", "two")}
    assert granted(*calls) == read | looked


def test_a_folder_is_listed_and_all_that_is_in_it_is_read_and_no_sub_folder():
    calls = 'secrets("keys")', 'secret("keys/one")', 'secret("keys/two", version=1)'
    read = {"kv/data/production/keys/+": "read"}
    assert granted(*calls, engine=DETAILED) == read | {"kv/detailed-metadata/production/keys/": "list"}
    looked = {"kv/metadata/production/keys/": "list", "kv/metadata/production/keys/+": "read"}
    assert granted(*calls) == read | looked


def test_version_one_has_no_metadata():
    assert granted('secret("db/one")', 'secret("db/two")', engine=OLD) == {
        "kv/production/db/one": "read",
        "kv/production/db/two": "read",
    }
    assert granted('secrets("")', engine=OLD) == {"kv/production/": "list", "kv/production/+": "read"}


def test_what_vault_makes_is_read_or_with_parameters_asked_for():
    made = granted('dynamic("database/creds/simba")', 'dynamic("kubernetes/creds/x", kubernetes_namespace="y")')
    assert made == {"database/creds/simba": "read", "kubernetes/creds/x": "update"} | LEASES
    both = granted('dynamic("aws/sts/x")', 'dynamic("aws/sts/x", ttl="1h")')
    assert both == {"aws/sts/x": "read, update"} | LEASES


def test_a_certificate_is_issued_or_with_a_key_of_ours_signed():
    assert granted('certificate("pki/issue/web")') == {"pki/issue/web": "update"}
    call = 'certificate("team/pki/issuer/main/issue/web", key="local", common_name="web")'
    assert granted(call) == {"team/pki/issuer/main/sign/web": "update"}


def test_a_static_role_has_no_lease():
    calls = 'dynamic("database/static-creds/x")', 'dynamic("ldap/static-cred/x")'
    assert granted(*calls) == {"database/static-creds/x": "read", "ldap/static-cred/x": "read"}


def test_a_token_that_somebody_else_made_is_not_revoked():
    (made,) = policies({"web": {"a.txt": ""}})
    assert {rule.path: rule.capabilities[0] for rule in made.rules} == TOKEN
    (made,) = policies({"web": {"a.txt": ""}}, auth={"method": "token"})
    assert [rule.path for rule in made.rules] == ["auth/token/lookup-self", "auth/token/renew-self"]


def test_a_rule_says_which_apps_and_templates_want_it():
    apps = {
        "web": {
            "b.txt": '{{ secret("db/one").x }}{{ dynamic("database/creds/x").y }}',
            "a.txt": '{{ secret("db/one").x }}',
        },
        "api": {"c.txt": '{{ secret("db/two").x }}{{ dynamic("database/creds/x").y }}'},
    }
    (made,) = policies(apps, DETAILED)
    comments = {rule.path: rule.comments for rule in made.rules}
    assert comments["kv/data/production/db/one"] == ("web: a.txt, b.txt",)
    together = comments["kv/detailed-metadata/production/db/"]
    assert together[1:] == ("api: c.txt", "web: a.txt, b.txt")
    assert "one request" in together[0]
    assert comments["sys/leases/revoke"][1:] == ("api: c.txt", "web: b.txt")
    in_default = {path for path, lines in comments.items() if "`default` grants it too" in lines[0]}
    assert in_default == {*TOKEN, "sys/leases/lookup", "sys/leases/renew"}


def test_each_way_to_log_in_has_a_policy_of_its_own_and_a_folder_s_secrets_count_by_policy():
    apps = {
        "zebra": {"z.txt": '{{ secret("db/one").x }}'},
        "ant": ({"auth": {"method": "kubernetes", "role": "ant"}}, {"a.txt": '{{ secret("db/two").x }}'}),
        "bee": ({"auth": {"method": "kubernetes", "role": "ant"}}, {"b.txt": '{{ dynamic("database/creds/x").y }}'}),
        "yak": {"y.txt": ""},
    }
    one, two = policies(apps, DETAILED)
    assert [compiled_app.app.name for compiled_app in one.compiled_apps] == ["yak", "zebra"]
    assert {rule.path for rule in one.rules} == {*TOKEN, "kv/data/production/db/one", "kv/metadata/production/db/one"}
    assert [compiled_app.app.name for compiled_app in two.compiled_apps] == ["ant", "bee"]
    assert "kv/metadata/production/db/two" in {rule.path for rule in two.rules}
    assert "sys/leases/revoke" in {rule.path for rule in two.rules}
    assert text_of(one).startswith(
        "# Policy for yak, zebra\n# Login: http://vault:8200, auth/approle, role_id in /run/role_id\n"
    )
    assert text_of(two).startswith("# Policy for ant, bee\n# Login: http://vault:8200, auth/kubernetes, role 'ant'\n")


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ({"method": "token"}, "the token in $VAULT_TOKEN"),
        ({"method": "token", "token_file": "/run/token"}, "the token in /run/token"),
        ({"method": "approle", "role_id": "a\nb", "mount": "team"}, r"auth/team, role_id 'a\nb'"),
        ({"method": "jwt", "jwt_file": "/run/jwt"}, "auth/jwt, default role"),
        ({"method": "cert", "cert_file": "/c", "key_file": "/k"}, "auth/cert, any role"),
        ({"method": "cert", "cert_file": "/c", "key_file": "/k", "role": "web"}, "auth/cert, role 'web'"),
        ({"method": "userpass", "username": "u", "password_file": "/p"}, "auth/userpass, user 'u'"),
    ],
)
def test_the_heading_says_how_the_policy_s_owner_logs_in(auth, login):
    (made,) = policies({"web": {"a.txt": ""}}, auth=auth)
    heading = text_of(made).partition("\n\n")[0]
    assert heading == f"# Policy for web\n# Login: http://vault:8200, {login}"


def test_the_heading_says_what_was_found_or_assumed_of_the_mount_and_whose_namespace_it_is():
    apps = {"web": {"a.txt": '{{ secret("x").y }}'}}
    said = {engine: text_of(policies(apps, engine, namespace="team-a")[0]) for engine in (ASSUMED, DETAILED, OLD)}
    assert all("\n# Namespace: team-a;" in text for text in said.values())
    assert "\n# KV: kv, version 2 without detailed-metadata is assumed; `--online` asks\n\n" in said[ASSUMED]
    assert "\n# KV: kv, version 2 with detailed-metadata\n\n" in said[DETAILED]
    assert "\n# KV: kv, version 1 without detailed-metadata\n\n" in said[OLD]


def test_who_reads_no_secret_need_not_know_the_mount():
    (made,) = policies({"web": {"a.txt": '{{ dynamic("database/creds/x").y }}'}})
    assert not reads_kv(made.compiled_apps)
    assert "# KV" not in text_of(made)


def test_the_text_is_hcl_that_says_the_path_as_it_is():
    call = r"""{{ secret('a"b\\c${d').x }}"""
    (made,) = policies({"web": {"a.txt": call}}, OLD)
    assert text_of(made).endswith(
        '\n\n# web: a.txt\npath "kv/production/a\\"b\\\\c\\u0024{d" {\n  capabilities = ["read"]\n}\n'
    )


@pytest.mark.parametrize(
    "call",
    [
        'secret("a*")',
        'secret("a/+/b")',
        'secret("a+*b")',
        'secret("a{{b")',
        'secrets("a}}b")',
        'secrets("+")',
        'dynamic("database/creds/+")',
        'dynamic("database/creds/*")',
    ],
)
def test_a_path_that_no_policy_can_name_is_refused_with_its_template(call):
    with pytest.raises(TemplateError, match=r"web: a\.txt: '.*' cannot stand in a policy.*rename it"):
        granted(call)


def test_all_such_paths_are_told_at_once():
    with pytest.raises(TemplateError) as caught:
        granted('secret("a*")', 'secret("b*")')
    assert str(caught.value).count("cannot stand") == 2


def test_signs_that_are_no_pattern_where_they_stand_are_a_path_s_own():
    calls = 'secret("a*b")', 'secret("a+b")', 'secret("+b")', 'secrets("x*")', 'secret("x*/y*")', 'secret("a{b}")'
    assert set(granted(*calls, engine=OLD)) == {
        f"kv/production/{path}" for path in ("a*b", "a+b", "+b", "x*/", "x*/+", "a{b}")
    }


@pytest.mark.parametrize(
    ("call", "confirms"),
    [
        ('secret("db/one")', True),
        ('secret("db/one", version=3)', True),
        ('secrets("db/")', True),
        ('secret("db/two")', False),
        ('secrets("db/one/")', False),
        ('dynamic("database/creds/one")', False),
    ],
)
def test_who_reads_what_is_rotated_may_confirm_it_for_its_own_app(call, confirms):
    apps = {"web": {"a.txt": f"{{{{ {call} }}}}\n"}, "other": {"b.txt": '{{ secret("db/else").x }}\n'}}
    rotation = {"one": {"kind": "vault", "secret": "db/one", "keys": {"a": {}}}}
    [made] = policies(apps, rotation=rotation)
    found = {rule.path: (rule.capabilities, rule.comments) for rule in made.rules if "consumers" in rule.path}
    if not confirms:
        assert not found
        return
    [(path, (capabilities, comments))] = found.items()
    assert path == "kv/metadata/production/lessee/consumers/web/*"
    assert capabilities == ("create", "delete", "update")
    assert comments[-1] == "web: a.txt"


@pytest.mark.parametrize(("engine", "paths"), [(OLD, {"kv/production/a"}), (DETAILED, {"kv/data/production/a"})])
def test_whoever_hears_of_changes_from_vault_itself_may_subscribe_to_what_it_reads(engine, paths):
    text = """{{ secret("a").x }}{{ dynamic("database/creds/y").username }}"""
    said = {
        "environment": "production",
        "vault": {"address": "http://vault:8200", "auth": APPROLE},
        "secrets": {"mount": "kv"},
        "apps": {"web": {"directory": "/run/web", "files": [{"template": "t"}]}},
    }
    config = parse(json.dumps(said), source="lessee.yaml", environ={})
    compiled_apps = tuple(compile_apps(config, Compiler({"t": text}.__getitem__, path_scope_of(config))).values())
    found = policy(config.vault, compiled_apps, engine, subscribes=True)
    assert {rule.path for rule in found.rules if "subscribe" in rule.capabilities} == paths
    assert ("sys/events/subscribe/kv*", ("read",)) in [(rule.path, rule.capabilities) for rule in found.rules]
    assert text_of(found).count('subscribe_event_types = ["kv*"]') == 1
    assert "subscribe" not in text_of(policy(config.vault, compiled_apps, engine))


def test_whoever_reads_no_secret_subscribes_to_nothing():
    config = parse(
        json.dumps(
            {
                "environment": "production",
                "vault": {"address": "http://vault:8200", "auth": APPROLE},
                "apps": {"web": {"directory": "/run/web", "files": [{"template": "t"}]}},
            }
        ),
        source="lessee.yaml",
        environ={},
    )
    text = '{{ dynamic("database/creds/y").username }}'
    compiled_apps = tuple(compile_apps(config, Compiler({"t": text}.__getitem__, path_scope_of(config))).values())
    assert "subscribe" not in text_of(policy(config.vault, compiled_apps, ASSUMED, subscribes=True))
