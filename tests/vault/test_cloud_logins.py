"""Logins whose methods OpenBao does not have, against a substitute that checks what the real server checks."""

import json
import sys
import urllib.error
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lessee.core.failures import Kind
from lessee.host.openbao import free_port
from support.servers.certificate_authority import Authority
from support.servers.cloud_vault import CloudVault
from support.servers.jwt_signer import Signer
from support.servers.metadata_service import MetadataService

ARN = "arn:aws:iam::123456789012:user/web"
KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")  # Of AWS's documentation.


@pytest.fixture
def vault(bao):
    with CloudVault(bao) as vault:
        yield vault


@pytest.fixture
def metadata():
    with MetadataService() as service:
        yield service


@pytest.fixture
def identity(vault, identities):
    """An identity of a method, at the mount as Vault Agent's mount_path names it."""

    def make(method, **auth):
        return identities({"method": method, "mount": f"auth/team/{method}", **auth}, address=vault.address)

    return make


def is_valid(bao, grant):
    return bao.ask("POST", "auth/token/lookup", {"token": grant.value})["data"]["ttl"] > 0


def repeat(vault):
    """Send the last login once more, as another process that has seen it would. Returns the status."""
    last = next(one for one in reversed(vault.requests) if one.path.endswith("/login"))
    request = urllib.request.Request(vault.address + last.path, method="POST", data=last.body)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as exc:
        return exc.code


def test_an_okta_password_is_sent_to_the_path_of_its_user(bao, vault, identity, tmp_path):
    vault.okta_users["app@example.com"] = "right"
    (tmp_path / "password").write_text("right\n")
    one = identity("okta", username="app@example.com", password_file=str(tmp_path / "password"))
    assert is_valid(bao, one.login())
    (tmp_path / "password").write_text("canary")
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert f"does not accept {tmp_path / 'password'} at auth/team/okta/login/app@example.com" in failure.text
    assert "canary" not in failure.text
    vault.okta_users["app@example.com"] = "canary"
    assert is_valid(bao, one.login())


def test_a_github_token_is_read_again_at_each_login(bao, vault, identity, tmp_path):
    vault.github_tokens["ghp_first"] = "app"
    (tmp_path / "token").write_text("ghp_first\n")
    one = identity("github", token_file=str(tmp_path / "token"))
    assert is_valid(bao, one.login())
    (tmp_path / "token").write_text("ghp_canary")
    assert one.failure().kind is Kind.DENIED
    assert "canary" not in one.failure().text
    vault.github_tokens["ghp_canary"] = "app"
    assert is_valid(bao, one.login())


@pytest.fixture
def aws(vault, identity, tmp_path, monkeypatch):
    """An identity whose keys are in `tmp_path/credentials`."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    vault.aws_keys[KEYS[0]] = (KEYS[1], None, ARN)
    vault.aws_roles["web"] = ARN
    write_keys(tmp_path / "credentials", *KEYS)

    def make(**auth):
        return identity("aws", **{"credentials_file": str(tmp_path / "credentials"), **auth})

    return make


def write_keys(file, key, secret, session=None, profile="default"):
    lines = [f"[{profile}]", f"aws_access_key_id = {key}", f"aws_secret_access_key = {secret}"]
    file.write_text("\n".join([*lines, *([f"aws_session_token = {session}"] if session else []), ""]))


@pytest.mark.parametrize("region", [{}, {"region": "eu-central-1"}])
def test_an_iam_identity_signs_a_request(bao, vault, aws, region):
    assert is_valid(bao, aws(role="web", **region).login())
    assert is_valid(bao, aws(**region).login())  # Vault takes the name of the user as the role.
    assert not vault.refusals


def test_a_login_of_aws_is_bound_to_its_server(bao, vault, aws):
    vault.aws_server_id = "vault.example.com"
    assert is_valid(bao, aws(role="web", header_value="vault.example.com").login())
    assert aws(role="web", header_value="elsewhere").failure().kind is Kind.DENIED
    assert aws(role="web").failure().kind is Kind.DENIED
    assert vault.refusals == ["RefusedError: another server ID"] * 2


def test_new_keys_in_the_credentials_file_are_used_at_the_next_login(bao, vault, aws, tmp_path):
    one = aws(role="web")
    one.login()
    before = one.method.fingerprint()
    vault.aws_keys.clear()
    vault.aws_keys["AKIANEW"] = ("newer", "session", ARN)
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert failure.text.startswith("Vault does not accept the IAM identity at auth/team/aws/login, role web")
    write_keys(tmp_path / "credentials", "AKIANEW", "newer", "session")
    assert one.method.fingerprint() != before
    assert is_valid(bao, one.login())
    write_keys(tmp_path / "credentials", "AKIANEW", "canary-secret", "session")
    assert "canary" not in one.failure().text
    assert vault.refusals[-1] == "RefusedError: the signature"


def test_a_profile_selects_keys_in_the_file(bao, aws, tmp_path):
    write_keys(tmp_path / "credentials", *KEYS, profile="app")
    assert is_valid(bao, aws(role="web", profile="app").login())
    failure = aws(role="web").failure()
    assert (failure.kind, str(tmp_path / "credentials") in failure.text) == (Kind.DENIED, True)


def test_a_service_of_aws_that_does_not_answer_is_no_refusal(aws, tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        f"[profile app]\nregion = eu-central-1\nrole_arn = {ARN}\nsource_profile = default\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    failure = aws(role="web", profile="app", credentials_file=None).failure()
    assert failure.kind is Kind.UNAVAILABLE, failure.text


def test_a_credentials_file_that_is_gone_is_not_replaced_by_other_credentials(aws, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    (tmp_path / "credentials").unlink()
    failure = aws(role="web").failure()
    assert failure.kind is Kind.DENIED
    assert f"there are no AWS credentials in {tmp_path / 'credentials'}" in failure.text


def test_the_credentials_of_a_machine_s_role_come_from_its_metadata_service(bao, vault, aws, metadata):
    metadata.aws = ("ASIAMACHINE", "of-the-machine", "session")
    vault.aws_keys["ASIAMACHINE"] = ("of-the-machine", "session", ARN)
    one = aws(role="web", credentials_file=None, metadata_address=metadata.address)
    assert is_valid(bao, one.login())
    metadata.aws = ("ASIANEXT", "next", "next-session")
    vault.aws_keys = {"ASIANEXT": ("next", "next-session", ARN)}
    assert is_valid(bao, one.login())
    metadata.aws = None
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert "no AWS credentials in the environment, ~/.aws, and the metadata service" in failure.text


def test_an_ec2_instance_is_bound_to_the_nonce_of_its_first_login(bao, vault, metadata, identity, tmp_path):
    vault.aws_key = metadata.signer.public_key
    (tmp_path / "nonce").write_text("first-nonce\n")
    settings = {"type": "ec2", "nonce_file": str(tmp_path / "nonce"), "metadata_address": metadata.address}
    one = identity("aws", role="web", **settings)
    assert is_valid(bao, one.login())
    assert is_valid(bao, one.login())
    (tmp_path / "nonce").write_text("canary-nonce")
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert f"the EC2 instance with the nonce in {tmp_path / 'nonce'} at auth/team/aws/login, role web" in failure.text
    assert "canary" not in failure.text
    assert vault.refusals == ["RefusedError: client nonce"]
    metadata.signer = Signer()
    (tmp_path / "nonce").write_text("first-nonce")
    assert one.failure().kind is Kind.DENIED
    assert vault.refusals[-1].startswith("InvalidSignature")


@pytest.mark.parametrize(("method", "library"), [("aws", "botocore"), ("kerberos", "gssapi")])
def test_a_missing_library_is_named_with_its_extra(method, library, identity, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "keytab").write_bytes(b"")
    settings = {"username": "u", "service": "s", "realm": "r", "keytab_file": str(tmp_path / "keytab")}
    failure = identity(method, **({} if method == "aws" else settings)).failure()
    assert (failure.kind, failure.text) == (
        Kind.DENIED,
        f"the library {library} is missing; pip install 'lessee[{method}]'",
    )


@pytest.fixture
def google(vault, identity, metadata):
    vault.google_key = metadata.signer.public_key
    return lambda **auth: identity("gcp", **{"role": "web", "metadata_address": metadata.address, **auth})


def test_a_machine_of_google_has_a_jwt_for_this_role_alone(bao, vault, google, metadata):
    assert is_valid(bao, google().login())
    assert is_valid(bao, google(service_account="default").login())
    assert "audience=http%3A%2F%2Fvault%2Fweb" in metadata.requests[0]
    metadata.signer = Signer()
    failure = google().failure()
    assert failure.kind is Kind.DENIED
    assert failure.text.startswith(
        "Vault does not accept the machine's service account default at auth/team/gcp/login, role web;"
        " its claims: sub '1', aud 'http://vault/web'"
    )
    assert vault.refusals[-1].startswith("InvalidSignature")


def test_an_unknown_service_account_is_an_error_of_the_metadata_server_that_is_tried_again(google):
    failure = google(service_account="other").failure()
    assert failure.kind is Kind.PATH_ERROR
    assert "service-accounts/other/identity" in failure.text


@pytest.fixture
def account(tmp_path, vault):
    """The JSON key of a service account, in `tmp_path/key.json`."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    text = {"type": "service_account", "client_email": "web@project.iam.gserviceaccount.com", "private_key_id": "k1"}
    (tmp_path / "key.json").write_text(json.dumps({**text, "private_key": pem}))
    vault.google_accounts["k1"] = public_pem(key)
    return tmp_path / "key.json"


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_the_key_of_a_service_account_signs_a_jwt_of_its_own(bao, vault, google, account):
    one = google(credentials_file=str(account))
    assert is_valid(bao, one.login())
    vault.google_accounts["k1"] = public_pem(rsa.generate_private_key(65537, 2048))
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert f"the service account in {account} at auth/team/gcp/login" in failure.text
    account.write_text("{}")
    assert one.failure().text.startswith(f"{account} is not the JSON key of a service account")
    account.write_text(json.dumps({"client_email": "e", "private_key_id": "k", "private_key": "canary"}))
    assert one.failure().text.startswith(f"{account} has no RSA private key")


@pytest.fixture
def azure(vault, identity, metadata):
    vault.azure_key = metadata.signer.public_key
    vault.azure_machines["sub", "group", "vm"] = "object-of-the-machine"
    return lambda **auth: identity("azure", **{"role": "web", "metadata_address": metadata.address, **auth})


def test_a_machine_of_azure_has_the_token_of_its_identity(bao, vault, azure, metadata):
    assert is_valid(bao, azure().login())
    metadata.azure_identities["client"] = "object-of-another"
    assert azure(client_id="client").failure().kind is Kind.DENIED
    assert vault.refusals == ["RefusedError: the machine has another identity"]
    assert azure(resource="https://elsewhere/").failure().kind is Kind.DENIED
    assert vault.refusals[-1] == "RefusedError: audience"
    failure = azure(client_id="none").failure()
    assert failure.kind is Kind.DENIED
    assert "does the machine have the identity that vault.auth names?" in failure.text


def test_a_machine_of_a_scale_set_names_the_set(bao, vault, azure, metadata):
    metadata.compute = {**metadata.compute, "vmScaleSetName": "set", "name": "set_0"}
    vault.azure_machines = {("sub", "group", "set"): "object-of-the-machine"}
    assert is_valid(bao, azure().login())


@pytest.fixture
def cf(vault, identity, tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    vault.cf_authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    write_instance(authority, tmp_path)
    files = {"cert_file": str(tmp_path / "instance.crt"), "key_file": str(tmp_path / "instance.key")}
    return lambda **auth: identity("cf", **{"role": "web", **files, **auth})


def write_instance(authority, folder):
    key = rsa.generate_private_key(65537, 2048)
    authority.issue(folder / "both.pem", 1, key=key)
    certificate, begin, _ = (folder / "both.pem").read_text().partition("-----BEGIN PRIVATE KEY")
    assert begin
    (folder / "instance.crt").write_text(certificate)
    # As Cloud Foundry writes it.
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "instance.key").write_bytes(pem)


def test_an_instance_of_cloud_foundry_signs_each_login_again(bao, vault, cf):
    one = cf()
    first, second = one.login(), one.login()
    assert is_valid(bao, first)
    assert first.value != second.value
    assert repeat(vault) == 400
    assert vault.refusals == ["RefusedError: replayed"]


def test_a_certificate_of_another_authority_or_another_key_is_refused(vault, cf, tmp_path):
    write_instance(Authority(tmp_path / "other.pem"), tmp_path)
    failure = cf().failure()
    assert failure.kind is Kind.DENIED
    assert (
        f"does not accept {tmp_path / 'instance.crt'} and {tmp_path / 'instance.key'} at auth/team/cf" in failure.text
    )
    assert vault.refusals == ["InvalidSignature: "]
    (tmp_path / "instance.key").write_text("canary")
    failure = cf().failure()
    assert "has no RSA private key in PEM" in failure.text
    assert "canary" not in failure.text


@pytest.mark.parametrize("method", ["aws", "google", "azure", "cf"])
def test_a_recorded_login_is_useless_an_hour_later(request, vault, method):
    make = request.getfixturevalue(method)
    make(role="web").login()
    now = vault.now
    vault.now = lambda: now() + 3600
    if method == "cf":
        vault._cf_signatures.clear()  # As the method's cache of five minutes.
    assert repeat(vault) == 400
    assert vault.refusals == [
        f"RefusedError: {'expired' if method in {'google', 'azure'} else f'the {_TIMES[method]}'}"
    ]


_TIMES = {"aws": "date", "cf": "time"}
ANSWERS = {
    "redirect": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "large": (200, {"Metadata-Flavor": "Google"}, b"x" * (1 << 17)),
    "binary": (200, {"Metadata-Flavor": "Google"}, b"\xff" * 100),
    "error": (503, {}, b""),
    "denied": (403, {}, b"no"),
    "empty": (200, {}, b""),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", ["gcp", "azure"])
def test_whatever_a_metadata_server_answers_is_no_proof(method, answer, identity, metadata):
    metadata.answer = ANSWERS[answer]
    failure = identity(method, role="web", metadata_address=metadata.address).failure()
    assert failure.text.startswith(f"the metadata server {metadata.address} gave no proof of identity: ")
    expected = {"error": Kind.PATH_ERROR, "large": Kind.UNAVAILABLE}
    assert failure.kind is expected.get(answer, Kind.DENIED)
    assert len(metadata.requests) == 1


@pytest.mark.parametrize("answer", ["redirect", "large", "error"])
def test_whatever_aws_s_metadata_service_answers_is_no_proof(answer, aws, metadata):
    metadata.answer = ANSWERS[answer]
    failure = aws(role="web", credentials_file=None, metadata_address=metadata.address).failure()
    assert failure.kind in {Kind.DENIED, Kind.UNAVAILABLE}
    assert len(metadata.requests) < 10


def test_no_metadata_server_is_an_outage(identity):
    failure = identity("gcp", role="web", metadata_address="http://127.0.0.1:1").failure()
    assert failure.kind is Kind.UNAVAILABLE
    assert failure.text.endswith("connection refused")


def test_a_proof_never_appears_in_a_text(vault, aws, google, azure):
    vault.aws_roles.clear()
    vault.google_key = vault.azure_key = Signer().public_key
    texts = [one.failure().text for one in (aws(role="web"), google(), azure())]
    proofs = [json.loads(request.body) for request in vault.requests]
    assert len(proofs) == len(texts)
    for proof in proofs:
        for key in proof.keys() & {"jwt", "iam_request_headers"}:
            assert not any(part in text for text in texts for part in proof[key].split("."))
