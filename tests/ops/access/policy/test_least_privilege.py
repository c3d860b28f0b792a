"""The smallest policy: what each word of a template is granted, and nothing else."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import TemplateError
from lessee.ops.access.policy.least_privilege import ASSUMED, Engine, identities, kv_mounts, policy, rotated_by, text_of
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

OLD, DETAILED = Engine(1, detailed=False), Engine(2, detailed=True)
TOKEN = {"auth/token/lookup-self": "read", "auth/token/renew-self": "update", "auth/token/revoke-self": "update"}
LEASES = {"sys/leases/lookup": "update", "sys/leases/renew": "update", "sys/leases/revoke": "update"}
VALUES = {"kind": "vault", "secret": "db/one", "keys": {"a": {}}}
APPROLE = {"method": "approle", "role_id_file": "/run/role_id"}


NOTHING = {"other": {"kind": "vault", "secret": "rotated/elsewhere", "keys": {"a": {}}}}
"""Rotates nothing that an app here reads."""


def policies(apps, engine=ASSUMED, auth=APPROLE, rotation=NOTHING, sources=None, **more):
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
        "rotation": rotation,
        "sources": sources or {},
    }
    config = parse(json.dumps(said), source="lessee.yaml", environ={}, blocks=("rotation",))
    texts = {name: text for _, templates in blocks.values() for name, text in templates.items()}
    compiled_apps = compile_apps(config, Compiler(texts.__getitem__, path_scope_of(config)))
    rotated = rotated_by(config)
    return [
        policy(vault, some, engine, rotated) for vault, some in identities(compiled_apps.values(), config.vault).items()
    ]


def granted(*calls, engine=ASSUMED, auth=APPROLE):
    """The capabilities by path that a template of these calls adds to the common ones."""
    text = "".join(f"{{{{ {call} | length }}}}\n" for call in calls)
    (made,) = policies({"web": {"a.txt": text}}, engine, auth)
    assert [rule.path for rule in made.rules] == sorted({rule.path for rule in made.rules})
    found = {rule.path: ", ".join(rule.capabilities) for rule in made.rules}
    return {path: said for path, said in found.items() if path not in TOKEN}


def test_a_secret_needs_data_and_metadata_and_a_pinned_one_only_data():
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
    assert granted('secret("db/old", version=3)', 'secret("db/one")') == both | {"kv/data/production/db/old": "read"}


def test_several_secrets_of_a_folder_are_polled_with_one_detailed_listing():
    calls = 'secret("db/one")', 'secret("db/two")', 'secret("db/old", version=1)'
    read = {f"kv/data/production/db/{name}": "read" for name in ("one", "two", "old")}
    assert granted(*calls, engine=DETAILED) == read | {"kv/detailed-metadata/production/db/": "list"}
    looked = {f"kv/metadata/production/db/{name}": "read" for name in ("one", "two")}
    assert granted(*calls) == read | looked


def test_a_folder_is_listed_and_its_secrets_read_but_no_subfolder():
    calls = 'secrets("keys")', 'secret("keys/one")', 'secret("keys/two", version=1)'
    read = {"kv/data/production/keys/+": "read"}
    assert granted(*calls, engine=DETAILED) == read | {"kv/detailed-metadata/production/keys/": "list"}
    looked = {"kv/metadata/production/keys/": "list", "kv/metadata/production/keys/+": "read"}
    assert granted(*calls) == read | looked


def test_kv_version_1_has_no_metadata():
    assert granted('secret("db/one")', 'secret("db/two")', engine=OLD) == {
        "kv/production/db/one": "read",
        "kv/production/db/two": "read",
    }
    assert granted('secrets("")', engine=OLD) == {"kv/production/": "list", "kv/production/+": "read"}


def test_dynamic_secrets_are_read_or_updated_with_parameters():
    made = granted('dynamic("database/creds/simba")', 'dynamic("kubernetes/creds/x", kubernetes_namespace="y")')
    assert made == {"database/creds/simba": "read", "kubernetes/creds/x": "update"} | LEASES
    both = granted('dynamic("aws/sts/x")', 'dynamic("aws/sts/x", ttl="1h")')
    assert both == {"aws/sts/x": "read, update"} | LEASES


def test_a_certificate_is_issued_or_signed_with_a_local_key():
    assert granted('certificate("pki/issue/web")') == {"pki/issue/web": "update"}
    call = 'certificate("team/pki/issuer/main/issue/web", key="local", common_name="web")'
    assert granted(call) == {"team/pki/issuer/main/sign/web": "update"}


def test_a_static_role_has_no_lease():
    calls = 'dynamic("database/static-creds/x")', 'dynamic("ldap/static-cred/x")'
    assert granted(*calls) == {"database/static-creds/x": "read", "ldap/static-cred/x": "read"}


def test_any_other_path_has_the_capability_of_its_request():
    assert granted(
        'vault("transit/decrypt/a", ciphertext="c", every="1h")',
        'vault("team-b/data/a", every="1h")',
        'vault("team-b/metadata/", method="LIST", every="1h")',
        'vault("ssh/issue/a", key_type="rsa")',
        'vault("ssh/sign/a", public_key="k")',
        'vault("totp/code/a")',
        'vault("identity/oidc/token/a")',
    ) == {
        "transit/decrypt/a": "update",
        "team-b/data/a": "read",
        "team-b/metadata/": "list",
        "ssh/issue/a": "update",
        "ssh/sign/a": "update",
        "totp/code/a": "read",
        "identity/oidc/token/a": "read",
    }
    assert granted('vault("ssh/creds/a", ip="10.0.0.1", every="1h")') == {"ssh/creds/a": "update"} | LEASES


def test_a_configured_token_is_not_revoked():
    (made,) = policies({"web": {"a.txt": ""}})
    assert {rule.path: rule.capabilities[0] for rule in made.rules} == TOKEN
    (made,) = policies({"web": {"a.txt": ""}}, auth={"method": "token"})
    assert [rule.path for rule in made.rules] == ["auth/token/lookup-self", "auth/token/renew-self"]


def test_a_rule_names_its_apps_and_templates():
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


def test_each_login_has_its_own_policy_and_counts_its_own_secrets():
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
        ({"method": "ldap", "username": "u", "password_file": "/p", "mount": "auth/corp"}, "auth/corp, user 'u'"),
        ({"method": "github", "token_file": "/t"}, "auth/github, the user of the token in '/t'"),
        ({"method": "aws"}, "auth/aws, the role named after the IAM identity"),
        ({"method": "aws", "role": "web"}, "auth/aws, role 'web'"),
        ({"method": "gcp", "role": "web"}, "auth/gcp, role 'web'"),
        ({"method": "oidc"}, "auth/oidc, default role"),
        (
            {"method": "kerberos", "username": "u", "service": "HTTP/v", "realm": "R", "keytab_file": "/k"},
            "auth/kerberos, user 'u'",
        ),
    ],
)
def test_the_heading_names_the_login(auth, login):
    (made,) = policies({"web": {"a.txt": ""}}, auth=auth)
    heading = text_of(made).partition("\n\n")[0]
    assert heading == f"# Policy for web\n# Login: http://vault:8200, {login}"


def test_the_heading_names_the_mount_and_the_namespace():
    apps = {"web": {"a.txt": '{{ secret("x").y }}'}}
    said = {engine: text_of(policies(apps, engine, namespace="team-a")[0]) for engine in (ASSUMED, DETAILED, OLD)}
    assert all("\n# Namespace: team-a;" in text for text in said.values())
    assert (
        "\n# KV: kv, version 2 without detailed-metadata (assumed; --online reads it from Vault)\n\n" in said[ASSUMED]
    )
    assert "\n# KV: kv, version 2 with detailed-metadata\n\n" in said[DETAILED]
    assert "\n# KV: kv, version 1 without detailed-metadata\n\n" in said[OLD]


def test_without_kv_secrets_the_heading_has_no_mount():
    (made,) = policies({"web": {"a.txt": '{{ dynamic("database/creds/x").y }}'}})
    assert not kv_mounts(made.vault, made.compiled_apps)
    assert "# KV" not in text_of(made)


def test_the_policy_is_hcl_with_literal_paths():
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
def test_a_path_that_no_policy_can_contain_is_refused_with_its_template(call):
    with pytest.raises(TemplateError, match=r"web: a\.txt: a policy cannot contain '.*rename it"):
        granted(call)


def test_all_such_paths_are_reported_together():
    with pytest.raises(TemplateError) as caught:
        granted('secret("a*")', 'secret("b*")')
    assert str(caught.value).count("a policy cannot contain") == 2


def test_characters_that_are_no_pattern_in_their_place_are_allowed():
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
@pytest.mark.parametrize("verifier", [False, True])
def test_an_app_that_reads_a_rotated_secret_may_confirm_it(call, confirms, verifier):
    apps = {"web": {"a.txt": f"{{{{ {call} }}}}\n"}, "other": {"b.txt": '{{ secret("db/else").x }}\n'}}
    target = {"kind": "totp", "secret": "totp/one", "verifier_secret": "db/one"} if verifier else VALUES
    [made] = policies(apps, rotation={"one": target})
    found = {rule.path: (rule.capabilities, rule.comments) for rule in made.rules if "consumers" in rule.path}
    if not confirms:
        assert not found
        return
    [(path, (capabilities, comments))] = found.items()
    assert path == "kv/metadata/production/lessee/consumers/web/*"
    assert capabilities == ("create", "delete", "update")
    assert comments[-1] == "web: a.txt"


@pytest.mark.parametrize(
    ("call", "engine", "confirms"),
    [
        ('secret("db/one")', ASSUMED, True),
        ('secrets("db/")', DETAILED, True),
        ('secret("db/one")', OLD, False),
        ('dynamic("database/creds/one")', ASSUMED, False),
    ],
)
def test_without_a_rotation_block_another_file_may_rotate_whatever_an_app_reads(call, engine, confirms):
    [made] = policies({"web": {"a.txt": f"{{{{ {call} }}}}\n"}}, engine, rotation={})
    found = [rule for rule in made.rules if rule.path == "kv/metadata/production/lessee/consumers/web/*"]
    assert [rule.capabilities for rule in found] == [("create", "delete", "update")] * confirms
    for rule in found:
        assert rule.comments[0].endswith("omit it where nothing rotates what the app reads")


@pytest.mark.parametrize(("engine", "paths"), [(OLD, {"kv/production/a"}), (DETAILED, {"kv/data/production/a"})])
def test_with_vault_events_an_agent_may_subscribe_to_its_secrets(engine, paths):
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


def test_without_kv_secrets_an_agent_subscribes_to_nothing():
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


TWO = {
    "identities": {
        "team-b": {
            "address": "https://vault-b:8200",
            "namespace": "b",
            "auth": {"method": "approle", "role_id": "team-b"},
            "secrets": {"mount": "kv-b", "prefix": "", "mounts": {"old": {"prefix": "x/"}}},
        }
    },
    "secrets": {"mount": "kv", "mounts": {"shared-kv": {"prefix": ""}}},
}


def several(text, engines=None):
    """The policies of one app whose template may name `team-b`."""
    said = {
        "environment": "production",
        "vault": {"address": "http://vault:8200", "auth": APPROLE},
        "apps": {"web": {"directory": "/run/web", "files": [{"template": "a.txt"}]}},
        **TWO,
    }
    config = parse(json.dumps(said), source="lessee.yaml", environ={})
    compiled_apps = compile_apps(config, Compiler({"a.txt": text}.__getitem__, path_scope_of(config)))
    return [
        policy(vault, some, ASSUMED, engines=engines)
        for vault, some in identities(compiled_apps.values(), config.vault).items()
    ]


def paths(made):
    return {rule.path for rule in made.rules if rule.path not in TOKEN}


def test_each_identity_has_the_rules_for_what_templates_read_under_it():
    text = (
        '{{ secret("a").x }} {{ secret("b", identity="team-b").x }} {{ secret("c", mount="shared-kv").x }}'
        '{{ secret("d", identity="team-b", mount="old", namespace="child").x }}'
        '{{ dynamic("database/creds/x", identity="team-b").username }}'
    )
    own, other = several(text, {"child/old": OLD})
    assert paths(own) == {
        "kv/data/production/a",
        "kv/metadata/production/a",
        "shared-kv/data/c",
        "shared-kv/metadata/c",
    }
    assert paths(other) == {"kv-b/data/b", "kv-b/metadata/b", "child/old/x/d", "database/creds/x", *LEASES}
    text = text_of(other)
    identity = "# Identity: team-b; create the policy on its server\n"
    login = "# Login: https://vault-b:8200, auth/approle, role_id 'team-b'\n"
    assert f"# Policy for web\n{login}{identity}# Namespace: b" in text
    assert "# KV: child/old, version 1 without detailed-metadata\n" in text
    assert "# KV: kv-b, version 2 without detailed-metadata (assumed" in text


def test_an_app_that_reads_only_under_another_identity_needs_no_policy_for_its_own_login():
    (made,) = several('{{ secret("b", identity="team-b").x }}')
    assert made.vault.address == "https://vault-b:8200"


def test_a_source_needs_no_policy_of_vault():
    text = '{{ secret("db").x }}{{ secret("a", source="files").value }}'
    sources = {"files": {"kind": "directory", "directory": "/run/files"}}
    (made,) = policies({"web": {"a.txt": text}}, sources=sources)
    assert "kv/data/production/db" in {rule.path for rule in made.rules}
    assert not any("files" in rule.path or rule.path.endswith("/a") for rule in made.rules)
