"""What a template reads with vault(): every kind of path that `bao agent` renders, each with its own end."""

import base64
import hmac
import json
import re
import signal
import struct
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.host.openbao import OpenBao, find_bao
from support.programs.sidecar import Sidecar, eventually

FORKED_AGENTS = True
PLAINTEXT = base64.b64encode(b"correct horse battery staple").decode()
PERIOD = 5
TOTP_KEY = "JBSWY3DPEHPK3PXP"
PUBLIC_KEY = (
    Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    .decode()
)
POLICY = """
path "transit/*" { capabilities = ["create", "update", "read", "list"] }
path "secret/*" { capabilities = ["read", "list"] }
path "totp/code/*" { capabilities = ["read"] }
path "ssh/*" { capabilities = ["update"] }
path "pki/*" { capabilities = ["update"] }
path "identity/oidc/token/*" { capabilities = ["read"] }
path "team-a/*" { capabilities = ["read", "list"] }
path "team-b/*" { capabilities = ["read", "list"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("engines")) as bao:
        for path, kind in {"transit": "transit", "totp": "totp", "ssh": "ssh", "pki": "pki"}.items():
            bao.ask("POST", f"sys/mounts/{path}", {"type": kind})
        for path, version in {"team-a": "1", "team-b": "2"}.items():
            bao.ask("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": version}})
        bao.ask("POST", "transit/keys/app", {"type": "aes256-gcm96"})
        bao.ask("POST", "transit/keys/signer", {"type": "ed25519"})
        for name, period in {"mail": 30, "quick": PERIOD}.items():
            key = {"key": TOTP_KEY, "issuer": "test", "account_name": name, "period": period}
            bao.ask("POST", f"totp/keys/{name}", key)
        bao.ask("POST", "ssh/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
        user = {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "*", "default_user": "deploy"}
        bao.ask("POST", "ssh/roles/deploy", {**user, "ttl": "30m"})
        bao.ask("POST", "ssh/roles/brief", {**user, "ttl": "12s", "not_before_duration": "1s"})
        bao.ask("POST", "ssh/roles/otp", {"key_type": "otp", "default_user": "deploy", "cidr_list": "0.0.0.0/0"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h"})
        bao.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h"})
        bao.ask("POST", "identity/oidc/key/app", {"allowed_client_ids": "*"})
        bao.ask("POST", "identity/oidc/role/app", {"key": "app", "ttl": "10m"})
        bao.ask("POST", "team-a/db/main", {"user": "one", "password": "of-version-one"})
        bao.ask("POST", "team-b/data/db/main", {"data": {"password": "of-version-two", "port": 5432}})
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory):
    agent = Sidecar(server.address, tmp_path, memory)
    agent.log_in_by_approle(server, POLICY)
    yield agent
    agent.close()


@pytest.fixture
def database(server, postgres):
    """PostgreSQL with a role `any` in the server, and without users of it after the test."""
    postgres.attach(server, role="any")
    yield postgres
    for role in postgres.roles("v-approle-any-%"):  # Those of the other agent, unless the server revokes them.
        postgres.sql(f'DROP ROLE IF EXISTS "{role}"', database="simba")


def ciphertext(server):
    return server.ask("POST", "transit/encrypt/app", {"plaintext": PLAINTEXT})["data"]["ciphertext"]


def totp_code(counter):
    """The code of this key, https://www.rfc-editor.org/rfc/rfc6238."""
    digest = hmac.digest(base64.b32decode(TOTP_KEY), struct.pack(">Q", counter), "sha1")
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def recent_codes(period):
    """The codes of the last ten minutes, and the next one: the server has its own clock."""
    now = int(time.time() // period)
    return [totp_code(counter) for counter in range(now - 600 // period, now + 2)]


def certified(text):
    return serialization.load_ssh_public_identity(text.encode())


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def is_pair(text):
    """Whether a private key and a certificate belong together."""
    found = json.loads(text)
    key = serialization.load_ssh_private_key(found["private_key"].encode(), None)
    return key.public_key() == certified(found["signed_key"]).public_key()


def is_token(server, token):
    return server.ask("POST", "identity/oidc/introspect", {"token": token})["active"] is True


PEM = '{"private_key": "PRIVATE", "signed_key": "SIGNED"}'
GO_PEM = PEM.replace("PRIVATE", '{{ .Data.private_key | replaceAll "\\n" "\\\\n" }}').replace(
    "SIGNED", '{{ .Data.signed_key | replaceAll "\\n" "" }}'
)
SSH = '{% set key = vault("ssh/issue/deploy", key_type="ed25519") %}' + PEM.replace(
    "PRIVATE", "{{ key.private_key }}"
).replace("SIGNED", "{{ key.signed_key }}")

KINDS = {
    "encrypt": (
        f'vault("transit/encrypt/app", plaintext="{PLAINTEXT}", every="1h").ciphertext',
        f'"transit/encrypt/app" "plaintext={PLAINTEXT}"',
        ".Data.ciphertext",
    ),
    "decrypt": (
        'vault("transit/decrypt/app", ciphertext="@CIPHERTEXT@", every="1h").plaintext',
        '"transit/decrypt/app" "ciphertext=@CIPHERTEXT@"',
        ".Data.plaintext",
    ),
    "sign": (
        f'vault("transit/sign/signer", input="{PLAINTEXT}", every="1h").signature',
        f'"transit/sign/signer" "input={PLAINTEXT}"',
        ".Data.signature",
    ),
    "hmac": (
        f'vault("transit/hmac/app", input="{PLAINTEXT}", every="1h").hmac',
        f'"transit/hmac/app" "input={PLAINTEXT}"',
        ".Data.hmac",
    ),
    "totp": ('vault("totp/code/mail").code', '"totp/code/mail"', ".Data.code"),
    "ssh-sign": (
        f'vault("ssh/sign/deploy", public_key="{PUBLIC_KEY}").signed_key',
        f'"ssh/sign/deploy" "public_key={PUBLIC_KEY}"',
        ".Data.signed_key",
    ),
    "ssh-issue": (SSH, '"ssh/issue/deploy" "key_type=ed25519"', GO_PEM),
    "identity": ('vault("identity/oidc/token/app").token', '"identity/oidc/token/app"', ".Data.token"),
    "kv": (
        'vault("team-a/db/main", every="5m").password ~ vault("team-b/data/db/main", every="5m").data.password',
        '"team-a/db/main"',
        '.Data.password }}{{ end }}{{ with secret "team-b/data/db/main" }}{{ .Data.data.password',
    ),
    "leased-post": ('vault("ssh/creds/otp", ip="10.0.0.1").key', '"ssh/creds/otp" "ip=10.0.0.1"', ".Data.key"),
    "leased-get": ('vault("database/creds/any").username', '"database/creds/any"', ".Data.username"),
    "generic": ('vault("transit/keys/app", every="1h").type', '"transit/keys/app"', ".Data.type"),
}
"""A template of lessee, and the request and the field of the agent's. Kubernetes' credentials are leased by a POST, and
RabbitMQ's by a GET: other engines that do the same stand for them."""


def same(server, kind, mine, theirs):
    """Whether both have what the server makes for this path."""
    match kind:
        case "encrypt":
            found = [server.ask("POST", "transit/decrypt/app", {"ciphertext": one})["data"] for one in (mine, theirs)]
            return found == [{"plaintext": PLAINTEXT}] * 2
        case "totp":
            return {mine, theirs} <= set(recent_codes(30))
        case "ssh-sign":
            return certified(mine).public_key() == certified(theirs).public_key()
        case "ssh-issue":
            return is_pair(mine) and is_pair(theirs)
        case "identity":
            return all(is_token(server, one) for one in (mine, theirs)) and claims(mine)["aud"] == claims(theirs)["aud"]
        case "leased-post":
            return bool(re.fullmatch("[0-9a-f-]{36}", mine)) and len(mine) == len(theirs) and mine != theirs
        case "leased-get":
            return mine.startswith("v-approle-any-") and theirs.startswith("v-approle-any-") and mine != theirs
        case _:
            return mine == theirs


def rendered_by_bao_agent(sidecar, files):
    """What `bao agent` makes of these templates in one run."""
    out = sidecar.memory / "out"
    parts = [f'vault {{ address = "{sidecar.config["vault"]["address"]}" }}', "exit_after_auth = true"]
    parts.append(
        'auto_auth { method "approle" { config = {'
        f' role_id_file_path = "{sidecar.disk}/role_id", secret_id_file_path = "{sidecar.disk}/secret_id",'
        " remove_secret_id_file_after_reading = false } } }"
    )
    for name, text in files.items():
        parts.append(f'template {{ destination = "{out}/{name}"\n contents = <<EOT\n{text}\nEOT\n}}')
    config = sidecar.disk / "bao-agent.hcl"
    config.write_text("\n".join(parts))
    command = [find_bao(), "agent", f"-config={config}"]
    done = subprocess.run(
        command, env={"PATH": "/bin", "HOME": str(sidecar.disk)}, capture_output=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (out / name).read_text().strip() for name in files}


@pytest.mark.usefixtures("database")
def test_each_kind_of_path_that_bao_agent_renders_is_rendered_in_one_run_beside_it(server, sidecar):
    there = ciphertext(server)
    go = {
        kind: f"{{{{ with secret {path} }}}}{in_braces(field)}{{{{ end }}}}" for kind, (_, path, field) in KINDS.items()
    }
    theirs = rendered_by_bao_agent(sidecar, {kind: text.replace("@CIPHERTEXT@", there) for kind, text in go.items()})
    for kind, (text, _, _) in KINDS.items():
        template = in_braces(text).replace("@CIPHERTEXT@", there)
        sidecar.template(f"{kind}.j2", template, format="json" if kind == "ssh-issue" else "text")
    sidecar.start("--revoke")
    checked = sidecar.command("check")
    mine = {kind: (sidecar.directory / kind).read_text().strip() for kind in KINDS}
    assert [kind for kind in KINDS if not same(server, kind, mine[kind], theirs[kind])] == []
    assert len(mine) == 12
    assert checked.returncode == 0, checked.stdout
    said = sidecar.log.read_text() + json.dumps(sidecar.status()) + checked.stdout
    assert [kind for kind in KINDS if kind != "generic" and mine[kind] in said] == []
    assert sidecar.stop() == 0


def in_braces(text):
    return text if text.startswith("{") else f"{{{{ {text} }}}}"


@pytest.mark.usefixtures("database")
def test_a_configuration_of_bao_agent_with_each_kind_of_path_is_imported_and_renders_the_same(server, sidecar):
    there = ciphertext(server)
    # The agents' KV mounts differ: lessee's configuration has one, which another test shows.
    kinds = {kind: (path, field) for kind, (_, path, field) in KINDS.items() if kind not in {"kv", "ssh-issue"}}
    go = {kind: f"{{{{ with secret {path} }}}}{in_braces(field)}{{{{ end }}}}" for kind, (path, field) in kinds.items()}
    go["ssh-issue"] = '{{ with secret "ssh/issue/deploy" "key_type=ed25519" }}{{ .Data.signed_key }}{{ end }}'
    theirs = rendered_by_bao_agent(sidecar, {kind: text.replace("@CIPHERTEXT@", there) for kind, text in go.items()})
    done = sidecar.command("import", "bao-agent.hcl", "--output", "imported")
    assert done.returncode == 0, done.stdout + done.stderr
    done = sidecar.command("render", "--config", "imported/lessee.yaml", "--output", "rendered")
    assert done.returncode == 0, done.stdout + done.stderr
    mine = {file.name: file.read_text().strip() for file in (sidecar.disk / "rendered").glob("*/*")}
    assert mine.keys() == theirs.keys()
    assert [kind for kind in kinds if not same(server, kind, mine[kind], theirs[kind])] == []
    assert certified(mine["ssh-issue"]).valid_principals == certified(theirs["ssh-issue"]).valid_principals


MADE = (
    f'{{{{ vault("transit/encrypt/app", plaintext="{PLAINTEXT}", every="never").ciphertext }}}}\n'
    '{% set key = vault("ssh/issue/deploy", key_type="ed25519") %}{{ key.signed_key }}{{ key.private_key }}\n'
    '{{ vault("identity/oidc/token/app").token }}\n'
    '{{ vault("pki/issue/web", common_name="web.local", alt_names="a.local").private_key }}\n'
    '{{ vault("transit/random/16", format="hex", every="1d").random_bytes }}\n'
)


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_made_for_a_call_is_made_once_and_remains_over_restarts(sidecar, number):
    sidecar.template("made.txt.j2", MADE, format="text")
    sidecar.start()
    first = (sidecar.directory / "made.txt").read_text()
    assert sidecar.status()["totals"]["leases_issued"] == 5
    for _ in range(2):
        sidecar.stop(number)
        sidecar.start()
        assert sidecar.status()["totals"]["leases_issued"] == 0
        assert (sidecar.directory / "made.txt").read_text() == first
    assert {file.stat().st_mode & 0o777 for file in sidecar.state.glob("lease-*")} == {0o600}


def test_what_is_made_is_made_again_when_its_call_says_so_or_changes(server, sidecar):
    call = '{{{{ vault("transit/encrypt/app", plaintext="{}", every="{}").ciphertext }}}}\n'
    sidecar.template("it.txt.j2", call.format(PLAINTEXT, "1s"), format="text")
    sidecar.start()
    file, found = sidecar.directory / "it.txt", set()

    def enough():
        found.add(file.read_text().strip())
        return len(found) >= 3

    eventually(enough, "three ciphertexts")
    assert {server.ask("POST", "transit/decrypt/app", {"ciphertext": one})["data"]["plaintext"] for one in found} == {
        PLAINTEXT
    }
    other = base64.b64encode(b"another").decode()
    sidecar.template("it.txt.j2", call.format(other, "1d"), format="text")
    eventually(
        lambda: (
            server.ask("POST", "transit/decrypt/app", {"ciphertext": file.read_text().strip()})["data"]
            == {"plaintext": other}
        ),
        "the other text",
    )


@pytest.mark.thorough
def test_an_ssh_certificate_is_replaced_before_its_own_end(sidecar):
    text = '{% set key = vault("ssh/issue/brief", key_type="ed25519") %}' + PEM.replace(
        "PRIVATE", "{{ key.private_key }}"
    ).replace("SIGNED", "{{ key.signed_key }}")
    sidecar.template("key.json.j2", text)
    sidecar.start()
    serials = set()

    def is_valid():
        read_at, text = time.time(), (sidecar.directory / "key.json").read_text()
        certificate = certified(json.loads(text)["signed_key"])
        assert is_pair(text)
        assert certificate.valid_before > read_at
        serials.add(certificate.serial)
        return len(serials) >= 3

    eventually(is_valid, "three certificates")
    ends = [lease["expires_at"] for lease in sidecar.status()["leases"]]
    assert all(ends)


@pytest.mark.thorough
def test_a_code_is_replaced_at_the_end_of_each_period(sidecar):
    sidecar.template("code.txt.j2", '{{ vault("totp/code/quick").code }}\n', format="text")
    sidecar.start()
    seen = []

    def enough():
        code = (sidecar.directory / "code.txt").read_text().strip()
        if code not in seen:
            seen.append(code)
        return len(seen) >= 4

    eventually(enough, "four codes")
    codes = recent_codes(PERIOD)
    numbers = [codes.index(code) for code in seen]
    assert numbers == sorted(numbers)
    assert sidecar.status()["totals"]["leases_issued"] == 0


def test_a_secret_of_another_mount_is_read_as_often_as_its_call_says(server, sidecar):
    server.ask("POST", "team-b/data/changing", {"data": {"n": 1, "names": ["a", "b"]}})
    sidecar.template(
        "it.json.j2",
        '{% set s = vault("team-b/data/changing", every="1s") %}'
        '{"n": {{ s.data.n }}, "all": {{ s.data | json }}, "version": {{ s.metadata.version }},'
        ' "paths": {{ vault("team-b/metadata/", method="LIST", every="1h")["keys"] | json }}}',
    )
    sidecar.start()

    def read():
        return json.loads((sidecar.directory / "it.json").read_text())

    expected = {"n": 1, "all": {"n": 1, "names": ["a", "b"]}, "version": 1, "paths": ["changing", "db/"]}
    assert read() == expected
    server.ask("POST", "team-b/data/changing", {"data": {"n": 2, "names": []}})
    eventually(lambda: read() == {**expected, "n": 2, "all": {"n": 2, "names": []}, "version": 2}, "the new version")
    before = (sidecar.directory / "it.json").read_text()
    server.ask("DELETE", "team-b/data/changing")
    status = sidecar.until(lambda s: any("team-b/data/changing" in line for line in s["problems"]))
    assert [line for line in status["problems"] if "not read: not found (404)" in line]
    assert (sidecar.directory / "it.json").read_text() == before
    server.ask("POST", "team-b/undelete/changing", {"versions": [2]})
    server.ask("POST", "team-b/data/changing", {"data": {"n": 3, "names": []}})
    eventually(lambda: read()["n"] == 3, "the third version")
    sidecar.until(lambda s: s["fresh"] and not s["problems"])


def test_a_parameter_may_be_a_field_of_a_secret_and_another_value_makes_another_request(server, sidecar):
    server.put("testing/sealed", text=ciphertext(server), clear="clear text")
    sidecar.config["secrets"] = {"prefix": "testing/"}
    sidecar.template(
        "it.txt.j2",
        '{% set a = vault("transit/decrypt/app", ciphertext=secret("sealed").text, every="never") %}'
        '{% set b = vault("transit/encrypt/app", plaintext=secret("sealed")["clear"] | b64encode, every="never") %}'
        "{{ a.plaintext | b64decode }} {{ b.ciphertext }}\n",
        format="text",
    )
    sidecar.start()

    def read():
        clear, _, sealed = (sidecar.directory / "it.txt").read_text().rpartition(" ")
        answer = server.ask("POST", "transit/decrypt/app", {"ciphertext": sealed.strip()})
        return clear, base64.b64decode(answer["data"]["plaintext"]).decode()

    before = (sidecar.directory / "it.txt").read_text()
    assert read() == ("correct horse battery staple", "clear text")
    assert sidecar.status()["totals"]["leases_issued"] == 2
    for number in (signal.SIGTERM, signal.SIGKILL):
        sidecar.stop(number)
        sidecar.start()
        assert (sidecar.directory / "it.txt").read_text() == before
        assert sidecar.status()["totals"]["leases_issued"] == 0
    sidecar.stop()
    other = base64.b64encode(b"another text").decode()
    sealed = server.ask("POST", "transit/encrypt/app", {"plaintext": other})["data"]["ciphertext"]
    server.put("testing/sealed", text=sealed, clear="other clear text")
    sidecar.start(wait=False)
    eventually(lambda: read() == ("another text", "other clear text"), "the new values")
    server.put("testing/sealed", text="vault:v1:not-a-ciphertext", clear="other clear text")
    status = sidecar.until(lambda s: any("transit/decrypt/app" in line for line in s["problems"]))
    assert read() == ("another text", "other clear text")
    server.put("testing/sealed", text=7, clear=8)
    sidecar.until(lambda s: any("secret/testing/sealed has no text in clear" in line for line in s["problems"]))
    assert "not-a-ciphertext" not in json.dumps(status) + sidecar.log.read_text()
    server.put("testing/sealed", text=sealed, clear="third")
    eventually(lambda: read() == ("another text", "third"), "the third values")


def test_a_path_that_a_template_can_do_without_appears_when_it_exists(server, sidecar):
    sidecar.template(
        "it.txt.j2",
        '{% set s = vault("team-b/data/later", every="1s", optional=true) %}{{ s.data.x if s else "none" }}\n',
        format="text",
    )
    sidecar.start()
    sidecar.until_file("it.txt", "none\n")
    server.ask("POST", "team-b/data/later", {"data": {"x": "there"}})
    sidecar.until_file("it.txt", "there\n")


def test_parameters_may_be_lists_and_mappings_and_fields_keep_their_types(server, sidecar):
    there = ciphertext(server)
    batch = f'[{{"ciphertext": "{there}", "reference": "one"}}, {{"ciphertext": "{there}"}}]'
    sidecar.template(
        "it.json.j2",
        f'{{% set found = vault("transit/decrypt/app", batch_input={batch}, every="1h").batch_results %}}'
        '{"all": {{ found | json }}, "first": {{ found[0].plaintext }}, "random": '
        '{{ vault("transit/random", {"bytes": 4, "format": "hex"}, every="1h").random_bytes }},'
        ' "key": {{ vault("transit/keys/app", every="1h").latest_version }},'
        ' "exportable": {{ vault("transit/keys/app", every="1h").exportable }}}',
    )
    sidecar.start()
    found = json.loads((sidecar.directory / "it.json").read_text())
    assert re.fullmatch("[0-9a-f]{8}", found.pop("random"))
    assert [one["plaintext"] for one in found.pop("all")] == [PLAINTEXT] * 2
    assert found == {"first": PLAINTEXT, "key": 1, "exportable": False}


def test_a_command_that_runs_once_reads_any_path_whose_answer_does_not_end(server, sidecar):
    text = f'A={{{{ vault("transit/decrypt/app", ciphertext="{ciphertext(server)}", every="1h").plaintext }}}}\n'
    sidecar.web.pop("files")
    sidecar.web["env_template"] = "it.env.j2"
    (sidecar.disk / "it.env.j2").write_text(text + 'B={{ vault("team-a/db/main", every="5m").user }}\n')
    sidecar.write_config()
    done = sidecar.command("exec", "--app", "web", "--once", "--", "sh", "-c", 'echo "$A $B"')
    assert (done.returncode, done.stdout) == (0, f"{PLAINTEXT} one\n"), done.stderr
    (sidecar.disk / "it.env.j2").write_text('A={{ vault("identity/oidc/token/app").token }}\n')
    done = sidecar.command("exec", "--app", "web", "--once", "--", "true")
    assert (done.returncode, "no agent remains to renew leases: identity/oidc/token/app" in done.stderr) == (64, True)


def test_check_demands_when_to_read_again_where_nothing_else_tells(sidecar):
    sidecar.template("it.txt.j2", f'\n{{{{ vault("transit/hmac/app", input="{PLAINTEXT}").hmac }}}}\n')
    sidecar.write_config()
    for command in ("check", "render"):
        done = sidecar.command(command)
        assert done.returncode == 65
        assert "it.txt.j2:2: 'transit/hmac/app' does not say when it is read again; add every=\"5m\"" in (
            done.stdout + done.stderr
        )


def test_an_answer_that_does_not_say_when_it_ends_is_an_error_that_says_what_to_write(server, sidecar):
    server.ask("POST", "team-a/creds/app", {"password": "of-a-kv-secret"})
    sidecar.template("it.txt.j2", '{{ vault("team-a/creds/app").password }}\n')
    sidecar.start(wait=False)
    status = sidecar.until(lambda s: s["problems"])
    assert any("nor an end of its own; read KV secrets with secret()" in line for line in status["problems"])
    sidecar.template("it.txt.j2", '{{ vault("team-a/creds/app", every="5m").password }}\n')
    sidecar.until_file("it.txt", "of-a-kv-secret\n")


@pytest.mark.parametrize(
    "path",
    [
        "auth/token/lookup-self",
        "sys/wrapping/wrap",
        "cubbyhole/a",
        "team-b/../auth/token/lookup-self",
        "team-b/%2e%2e/auth/token/lookup-self",
        "team-b%2f..%2fauth/token/lookup-self",
        "team-b/data/production/db",
        "secret/data/testing/x",
    ],
)
def test_no_call_reads_credentials_of_the_agent_or_of_another_environment(sidecar, path):
    sidecar.config["environment"] = "testing"
    sidecar.config["setup"] = {"environments": ["testing", "production"]}
    sidecar.template("it.txt.j2", f'{{{{ vault("{path}", every="5m") | json }}}}\n')
    sidecar.write_config()
    done = sidecar.command("check")
    assert done.returncode == 65
    assert f"it.txt.j2:1: '{path}'" in done.stdout + done.stderr


def test_the_policy_of_check_suffices_for_each_kind_of_path(server, sidecar, database, tmp_path):
    before, there = len(database.roles("v-approle-any-%")), ciphertext(server)
    for kind, (text, _, _) in KINDS.items():
        template = in_braces(text).replace("@CIPHERTEXT@", there)
        sidecar.template(f"{kind}.j2", template, format="json" if kind == "ssh-issue" else "text")
    sidecar.template(
        "list.j2", '{{ vault("team-b/metadata/db/", method="LIST", every="5m")["keys"] | join }}', format="text"
    )
    sidecar.write_config()
    done = sidecar.command("check", "--policy")
    assert done.returncode == 0, done.stderr
    files = zip(
        ("role_id", "secret_id"),
        server.approle(f"{tmp_path.name}-least", done.stdout, token_no_default_policy=True),
        strict=True,
    )
    for name, value in files:
        (tmp_path / name).write_text(value)
    sidecar.start("--revoke")
    assert sidecar.status()["problems"] == []
    assert len(database.roles("v-approle-any-%")) == before + 1
    assert sidecar.stop() == 0
    eventually(lambda: len(database.roles("v-approle-any-%")) == before, "the end of the lease")
