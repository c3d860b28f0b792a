"""Compiling and rendering the templates of a configuration's apps."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from dotenv import dotenv_values

from lessee.config.parsing import parse
from lessee.core.errors import FormatError, TemplateError
from lessee.core.generation import File, Generation
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.rendering.app_templates import compile_apps, needs_of, path_scope_of
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

CANARY = "HUNTER2-c4n4ry"
SECRETS = {Ref("kv", "production/db"): Secret({"password": CANARY, "odd": "\ud800", "user": "simba"})}


def config(files, more=""):
    return parse(
        "environment: production\nsecrets: {mount: kv, shared_prefixes: [shared/]}\n"
        f"apps:\n  web:\n    directory: /run/secrets/web\n    files: [{files}]\n{more}",
        source="lessee.yaml",
        environ={},
    )


def compiled_apps(config, **templates):
    load = {f"{name}.j2": text for name, text in templates.items()}.__getitem__
    return compile_apps(config, Compiler(load, path_scope_of(config)))


def test_unprepared_code_is_generated_when_it_is_rendered():
    text = "{% block a %}{% endblock %}{% block a %}{% endblock %}"
    parsed = config("{template: a.j2}")
    later = compile_apps(parsed, Compiler({"a.j2": text}.__getitem__, path_scope_of(parsed)), prepare=False)
    with pytest.raises(TemplateError, match="defined twice"):
        files_of(later["web"])
    with pytest.raises(TemplateError, match="defined twice"):
        compiled_apps(parsed, a=text)


def files_of(compiled_app, dynamic=None):
    return render(compiled_app, Inputs(SECRETS, {}, dynamic or {}, {"HOST": "h"})).generation


def test_the_path_scope_is_that_of_the_configuration():
    foreign = frozenset({"development", "testing", "staging"})
    assert path_scope_of(config("{template: a.j2}")) == PathScope(
        "kv", "production/", ("shared/",), foreign, "production"
    )


def test_an_app_has_the_references_of_all_its_templates():
    app = compiled_apps(
        config("{template: a.j2, name: a}, {template: b.j2, name: b}"),
        a='{{ secret("db").password }}{% include "c.j2" %}',
        b='{{ secret("shared/x").y }}{{ dynamic("database/creds/web").password }}',
        c='{{ secrets("keys/")|length }}',
    )["web"]
    assert app.references == {
        Ref("kv", "production/db"),
        Ref("kv", "shared/x"),
        Folder("kv", "production/keys/"),
        DynamicSecret("database/creds/web"),
    }


def test_files_have_their_grammar_mode_and_owner():
    files = '{template: a.j2, name: app.env, owner: "7:8"}, {template: a.j2, name: a.txt, mode: "0400", owner: "9"}'
    files += ", {template: a.j2, name: b.txt}"
    app = compiled_apps(config(files), a='P={{ secret("db").password ~ " x" }}\nH={{ env("HOST") }}\n')["web"]
    generation = files_of(app)
    plain = f"P={CANARY} x\nH=h\n".encode()
    quoted, *rest = generation.files
    assert rest == [File("a.txt", plain, 0o400, 9, None), File("b.txt", plain, 0o440)]
    assert (quoted.name, quoted.mode, quoted.uid, quoted.gid) == ("app.env", 0o440, 7, 8)
    assert quoted.content != plain
    assert CANARY.encode() in quoted.content
    assert CANARY not in repr(generation)


def test_the_same_inputs_give_the_same_generation():
    app = compiled_apps(config("{template: a.j2}"), a='{{ secret("db").user }}')["web"]
    assert files_of(app) == files_of(app) == Generation("web", (File("a", b"simba", 0o440),))


def test_compiled_apps_differ_if_a_template_or_a_setting_differs():
    def compile_one(text="a", more=""):
        return compiled_apps(config("{template: a.j2}", more), a='{% include "b.j2" %}', b=text)["web"]

    assert compile_one() == compile_one()
    assert compile_one() != compile_one(text="b")
    assert compile_one() != compile_one(more="    refresh_interval: 5s\n")


def test_each_error_of_all_templates_is_reported_once():
    more = "  api:\n    directory: /run/secrets/api\n    files: [{template: b.j2, name: x}, {template: c.j2}]\n"
    with pytest.raises(TemplateError) as caught:
        compiled_apps(
            config("{template: a.j2}, {template: b.j2}", more),
            a="{{ nope }}",
            b='\n{% include "c.j2" %}',
            c="{{ 1|no }}",
        )
    first, second = str(caught.value).splitlines()
    assert first.startswith("a.j2:1: unknown variable or function 'nope'")
    assert second == "c.j2:1: unknown filter 'no'"
    assert caught.value.exit_code == 65


def test_a_configuration_for_operators_has_no_apps():
    assert compiled_apps(parse("environment: production", source="lessee.yaml", environ={})) == {}


def test_text_that_is_not_utf8_is_rejected_without_its_content():
    app = compiled_apps(config("{template: a.j2, name: a.txt}"), a='{{ secret("db").password }}{{ secret("db").odd }}')[
        "web"
    ]
    with pytest.raises(FormatError) as caught:
        files_of(app)
    assert CANARY not in str(caught.value)
    assert "a." in str(caught.value)


def test_a_file_that_fails_leaves_no_incomplete_generation():
    app = compiled_apps(config("{template: a.j2}, {template: b.j2}"), a="fine", b='\n{{ secret("db").nope }}')["web"]
    with pytest.raises(TemplateError, match=r"^b\.j2:2: db has no such key: 'nope'"):
        files_of(app)


def test_one_lease_serves_all_files_of_an_app():
    text = '{{ dynamic("database/creds/web").password }}'
    app = compiled_apps(config("{template: a.j2, name: a}, {template: b.j2, name: b}"), a=text, b=text)["web"]
    generation = files_of(app, {DynamicSecret("database/creds/web"): Secret({"password": CANARY})})
    assert [file.content for file in generation.files] == [CANARY.encode()] * 2
    assert CANARY not in repr(generation)


def issued():
    """Vault's response for a certificate: PEM without a final line end."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = []
    for common_name in ("web", "intermediate", "root"):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, SHA256())
        chain.append(certificate.public_bytes(Encoding.PEM).decode().strip())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode().strip()
    leaf, *ca_chain = chain
    return {"certificate": leaf, "private_key": private, "issuing_ca": ca_chain[0], "ca_chain": ca_chain}


CERTIFICATE = '{% set c = certificate("pki/issue/web", common_name="web", ttl="1h") %}'
NEED = DynamicSecret("pki/issue/web", (("common_name", "web"), ("ttl", "1h")), "POST", certificate=True)


def test_a_certificate_its_key_and_its_chain_are_files_that_a_tls_library_reads():
    data = issued()
    parsed = config("{template: tls.crt.j2}, {template: ca.pem.j2}, {template: tls.key.j2}")
    app = compiled_apps(
        parsed,
        **{
            "tls.crt": CERTIFICATE + '{{ c.certificate }}\n{{ c.ca_chain | join("\n") }}\n',
            "ca.pem": CERTIFICATE + "{% for one in c.ca_chain %}{{ one }}\n{% endfor %}",
            "tls.key": CERTIFICATE + "{{ c.private_key }}\n",
        },
    )["web"]
    assert {file.format for file, _ in app.files} == {"text"}
    crt, ca, key = (file.content for file in files_of(app, {NEED: Secret(data)}).files)
    names = [one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(crt)]
    assert names == ["CN=web", "CN=intermediate", "CN=root"]
    assert len(x509.load_pem_x509_certificates(ca)) == 2
    public = load_pem_private_key(key, None).public_key()
    assert public == x509.load_pem_x509_certificate(crt).public_key()


def test_a_pem_of_many_lines_comes_back_unchanged_from_every_format():
    data = issued()
    chain = 'c.ca_chain | join("\n")'
    app = compiled_apps(
        config("{template: a.env.j2}, {template: a.json.j2}, {template: a.yaml.j2}, {template: a.pem.j2}"),
        **{
            "a.env": CERTIFICATE + f"KEY={{{{ c.private_key }}}}\nCHAIN={{{{ {chain} }}}}\n",
            "a.json": CERTIFICATE + f'{{"key": {{{{ c.private_key }}}}, "chain": {{{{ {chain} }}}}, '
            '"list": {{ c.ca_chain }}}',
            "a.yaml": CERTIFICATE
            + f"key: {{{{ c.private_key }}}}\nchain: {{{{ {chain} }}}}\nlist: {{{{ c.ca_chain }}}}\n",
            "a.pem": CERTIFICATE + f"{{{{ {chain} }}}}",
        },
    )["web"]
    env, as_json, as_yaml, pem = (file.content.decode() for file in files_of(app, {NEED: Secret(data)}).files)
    key, chain = data["private_key"], "\n".join(data["ca_chain"])
    assert dotenv_values(stream=io.StringIO(env)) == {"KEY": key, "CHAIN": chain}
    assert json.loads(as_json) == yaml.safe_load(as_yaml) == {"key": key, "chain": chain, "list": data["ca_chain"]}
    assert pem == chain


def test_an_env_template_is_not_a_file_but_its_references_are_the_apps():
    parsed = config("{template: a.j2, name: a.txt}", "    env_template: e.j2\n")
    compiled_app = compiled_apps(
        parsed, a="x", e='USER={{ secret("db").user }}\nPASSWORD={{ secret("db").password }}\nAT=${HOST}'
    )["web"]
    assert compiled_app.references == {Ref("kv", "production/db")}
    generation = files_of(compiled_app)
    assert generation.environ == (("AT", "h"), ("PASSWORD", CANARY), ("USER", "simba"))
    assert [file.name for file in generation.files] == ["a.txt"]
    assert CANARY not in repr(generation)


def test_another_environment_has_another_fingerprint():
    file = File("a", b"1", 0o400)
    plain = Generation("web", (file,))
    others = [
        Generation("web", (file,), (("A", "1"),)),
        Generation("web", (file,), ()),
        Generation("web", (File("a", b"2", 0o400),)),
        Generation("web", (File("a", b"1", 0o440),)),
        Generation("web", (File("b", b"1", 0o400),)),
    ]
    assert len({one.fingerprint for one in [plain, *others]}) == len(others) + 1
    assert plain.fingerprint == Generation("web", (file,)).fingerprint


def test_an_app_with_a_wrong_template_can_be_left_out():
    parsed = config("{template: a.j2}, {template: b.j2}", "  other: {directory: /run/other, files: [{template: c.j2}]}")
    load = {"a.j2": "{{ x", "b.j2": "{{ y", "c.j2": "fine"}.__getitem__
    refused = {}
    assert list(compile_apps(parsed, Compiler(load, path_scope_of(parsed)), refused=refused)) == ["other"]
    assert [len(error.problems) for error in refused.values()] == [2]
    with pytest.raises(TemplateError) as caught:
        compile_apps(parsed, Compiler(load, path_scope_of(parsed)))
    assert str(caught.value) == str(refused["web"])


@pytest.mark.parametrize(
    ("auth", "names"),
    [
        ("{method: token}", set()),
        ("{method: jwt, jwt_variable: CI_JWT, role: a}", {"CI_JWT"}),
        (
            "{method: jwt, jwt_from: github, role: a}",
            {"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
        ),
    ],
)
def test_no_template_may_read_the_variables_of_a_login_or_of_another_apps_fallback(auth, names):
    other = (
        "  other:\n    directory: /run/secrets/other\n    env_template: b.j2\n"
        f"    vault: {{auth: {auth}}}\n    fallback: {{env: [DB_PASSWORD]}}\n"
    )
    scope = path_scope_of(config("{template: a.j2}", other)).variables
    assert (scope.credentials, scope.fallbacks) == (names, {"DB_PASSWORD"})
    for name in (*names, "DB_PASSWORD"):
        with pytest.raises(TemplateError, match=rf"^a.j2:1: templates cannot read the variable '{name}'"):
            compiled_apps(config("{template: a.j2}", other), a=f'{{{{ env("{name}") }}}}', b="")


SEVERAL = """environment: production
vault: {address: "https://vault:8200"}
secrets: {mount: kv, mounts: {kv2: {prefix: "p/"}}}
identities:
  team-b: {address: "https://vault-b:8200", auth: {method: token},
    secrets: {prefix: "{environment}/b/", mounts: {}}}
  team-c: {namespace: c}
apps:
  web: {directory: /run/secrets/web, files: [{template: a.j2, name: a.txt}, {template: b.j2, name: b.txt}]}
"""


def needs(a, b="nothing"):
    parsed = parse(SEVERAL, source="lessee.yaml", environ={})
    compiled_app = compiled_apps(parsed, a=a, b=b)["web"]
    return parsed, needs_of(compiled_app)


def test_each_login_reads_what_the_templates_name():
    parsed, found = needs('{{ secret("a").x }}{{ secret("a", identity="team-b").x }}{{ secret("c", optional=true) }}')
    assert found.vault == parsed.vault
    assert found.own == {Ref("kv", "production/a")}
    assert found.supplied == {
        "team-b": {Ref("kv", "production/b/a", None, "team-b")},
        "": {Ref("kv", "production/c")},
    }
    assert found.optional == {Ref("kv", "production/c")}


def test_what_one_file_needs_is_not_optional_for_the_app():
    _, found = needs('{{ secret("c", optional=true) }}', '{{ secret("c").x }}')
    assert (found.own, found.supplied, found.optional) == ({Ref("kv", "production/c")}, {}, frozenset())


def test_an_app_without_own_secrets_is_served_by_the_first_identity_that_it_names():
    parsed, found = needs('{{ secret("a", identity="team-c").x }}{{ secret("a", identity="team-b").x }}')
    assert found.own == frozenset()
    assert found.vault == parsed.identities["team-b"].vault
    assert needs("nothing")[1].vault == parsed.vault


def test_the_scope_of_an_identity_is_that_of_its_block_over_the_top_level():
    scope = path_scope_of(parse(SEVERAL, source="lessee.yaml", environ={}))
    assert scope.mounts == {"kv2": MountScope("p/")}
    team_b, team_c = scope.identities["team-b"], scope.identities["team-c"]
    assert (team_b.mount, team_b.prefix, team_b.mounts, team_b.identity) == ("kv", "production/b/", {}, "team-b")
    assert (team_c.mount, team_c.prefix, team_c.mounts) == ("kv", "production/", {"kv2": MountScope("p/")})
    assert team_b.foreign == scope.foreign
