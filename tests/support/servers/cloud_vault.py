"""A substitute for HashiCorp Vault's auth methods that OpenBao does not have, in front of a real OpenBao.

HashiCorp Vault does not run here without its license, nor do the clouds. Each method checks what the real one checks,
in Vault and in the cloud behind it: signatures are computed again, and audience, time, replay and names are compared.
An accepted login gets a real token of the OpenBao. No test here verifies that Vault itself accepts such a login.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from support.servers.fault_proxy import Proxy, Reply, Status

AWS_SKEW = 900
"""Seconds that STS tolerates, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html."""
CF_PAST, CF_FUTURE = 300, 30
"""Seconds, as in vault-plugin-auth-cf."""
_AUTHORIZATION = re.compile(
    "AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/sts/aws4_request, SignedHeaders=([a-z0-9;-]+), "
    "Signature=([0-9a-f]{64})"
)
# Vault's default allowed_sts_header_values, and the one that binds the request to a server.
_AWS_HEADERS = {
    "authorization", "content-length", "content-type", "host", "x-amz-date", "x-amz-security-token", "user-agent",
    "x-vault-aws-iam-server-id",
}  # fmt: skip


class RefusedError(Exception):
    """Why a login is refused."""


class CloudVault(Proxy):
    """`policies`: those of each token. The other attributes are what each method knows and requires."""

    def __init__(self, bao, policies=("default",), ttl="1h"):
        self._bao, self._settings = bao, {"policies": list(policies), "ttl": ttl}
        self.refusals, self.now = [], time.time
        self.okta_users, self.github_tokens = {}, {}
        self.aws_keys, self.aws_roles, self.aws_server_id = {}, {}, None
        self.aws_key, self.aws_nonces = None, {}
        """By access key: the secret key, the session token or None, and the ARN. By role: the ARN."""
        self.google_key, self.google_accounts = None, {}
        """Google's PEM, and by key ID the PEM of a service account."""
        self.azure_key, self.azure_machines, self.azure_resource = None, {}, "https://management.azure.com/"
        """Azure's PEM, and by subscription, group and name the object ID of the machine's identity."""
        self.cf_authority, self._cf_signatures = None, set()
        super().__init__(bao.port)
        for method in ("okta", "github", "aws", "azure", "gcp", "cf"):
            check = getattr(self, f"_{method}")
            self.on_path(
                f"/v1/auth/team/{method}/login", Reply(lambda request, check=check: self._answer(request, check))
            )

    def _answer(self, request, check):
        try:
            assert request.method == "POST"
            check(request, json.loads(request.body))
        except (RefusedError, KeyError, ValueError, InvalidSignature) as exc:
            self.refusals.append(f"{type(exc).__name__}: {exc}")
            return Status(400, body=json.dumps({"errors": ["authentication failed"]}).encode())
        auth = self._bao.ask("POST", "auth/token/create", self._settings)["auth"]
        return Status(200, body=json.dumps({"request_id": "1", "auth": auth}).encode())

    def _okta(self, request, body):
        user = unquote(request.path.rpartition("/login/")[2])
        _require(body.keys() == {"password"}, "another body")
        _require(user in self.okta_users and self.okta_users[user] == body["password"], "user or password")

    def _github(self, request, body):
        _require(request.path.endswith("/login") and body.keys() == {"token"}, "another path or body")
        _require(body["token"] in self.github_tokens, "token")

    def _ec2(self, body):
        """The signature of AWS, and the nonce of the instance's first login: "trust on first use"."""
        document = base64.b64decode(body["identity"], validate=True)
        key = load_pem_public_key(self.aws_key.encode())
        key.verify(base64.b64decode(body["signature"], validate=True), document, padding.PKCS1v15(), SHA256())
        instance = json.loads(document)
        _require(instance["accountId"] == "123456789012" and body["role"] == "web", "role")
        _require(self.aws_nonces.setdefault(instance["instanceId"], body["nonce"]) == body["nonce"], "client nonce")

    def _aws(self, _request, body):
        if "identity" in body:
            self._ec2(body)
            return
        method, url, sent = (
            body["iam_http_request_method"],
            *map(_decoded, (body["iam_request_url"], body["iam_request_body"])),
        )
        parts = urlsplit(url)
        _require(method == "POST" and parts.path == "/" and not parts.query, "another request")
        _require(parse_qs(sent) == {"Action": ["GetCallerIdentity"], "Version": ["2011-06-15"]}, "another action")
        headers = {name.lower(): values for name, values in json.loads(_decoded(body["iam_request_headers"])).items()}
        _require(headers.keys() <= _AWS_HEADERS, "a header that is not allowed")
        _require(all(isinstance(values, list) and len(values) == 1 for values in headers.values()), "header lists")
        headers = {name: values[0] for name, values in headers.items()}
        found = _AUTHORIZATION.fullmatch(headers["authorization"])
        _require(found is not None, "no signature")
        key, day, region, signed, signature = found.groups()
        if self.aws_server_id is not None:
            _require(headers.get("x-vault-aws-iam-server-id") == self.aws_server_id, "another server ID")
            _require("x-vault-aws-iam-server-id" in signed.split(";"), "the server ID is not signed")
        arn = self._caller(headers, sent, (key, day, region, signed, signature), parts.netloc)
        role = body.get("role") or arn.rpartition("/")[2]
        _require(self.aws_roles.get(role) == arn, "role")

    def _caller(self, headers, sent, parsed, endpoint):
        """What STS does: recompute the signature, and say whose it is."""
        key, day, region, signed, signature = parsed
        stamp = headers["x-amz-date"]
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        _require(abs(self.now() - at) <= AWS_SKEW and stamp.startswith(day), "the date")
        host = "sts.amazonaws.com" if region == "us-east-1" else f"sts.{region}.amazonaws.com"
        _require(headers["host"] == host == endpoint, "the region is not the endpoint's")
        _require({"host", "x-amz-date"} <= set(signed.split(";")), "not signed")
        secret, session, arn = self.aws_keys[key]
        _require(headers.get("x-amz-security-token") == session, "the session token")
        _require(session is None or "x-amz-security-token" in signed.split(";"), "the session token is not signed")
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed.split(";"))
        request = "\n".join(["POST", "/", "", lines, signed, hashlib.sha256(sent.encode()).hexdigest()])
        scope = f"{day}/{region}/sts/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        derived = f"AWS4{secret}".encode()
        for part in (day, region, "sts", "aws4_request"):
            derived = hmac.digest(derived, part.encode(), "sha256")
        _require(hmac.new(derived, text.encode(), "sha256").hexdigest() == signature, "the signature")
        return arn

    def _gcp(self, _request, body):
        _require(body.keys() == {"role", "jwt"}, "another body")
        head = _part(body["jwt"], 0)
        account = self.google_accounts.get(head["kid"])
        claims = self._verified(body["jwt"], account or self.google_key)
        _require(claims["aud"].endswith(f"vault/{body['role']}"), "audience")
        if account is None:
            _require(claims["iss"] == "https://accounts.google.com", "issuer")
            _require(claims["google"]["compute_engine"].keys() >= {"project_id", "zone", "instance_id"}, "no machine")
        else:
            _require(claims["exp"] <= self.now() + 900, "it is valid for too long")
            _require(claims["sub"].endswith(".iam.gserviceaccount.com"), "subject")

    def _azure(self, _request, body):
        claims = self._verified(body["jwt"], self.azure_key)
        _require(claims["aud"] == self.azure_resource, "audience")
        _require(claims["iss"].startswith("https://sts.windows.net/"), "issuer")
        _require(claims["nbf"] <= self.now() + 60, "not valid yet")
        _require(bool(body.get("vm_name")) != bool(body.get("vmss_name")), "one name")
        name = body.get("vm_name") or body["vmss_name"]
        machine = (body["subscription_id"], body["resource_group_name"], name)
        _require(self.azure_machines.get(machine) == claims["oid"], "the machine has another identity")
        _require(body["role"] == "web", "role")

    def _cf(self, _request, body):
        _require(body.keys() == {"role", "cf_instance_cert", "signing_time", "signature"}, "another body")
        version, _, signature = body["signature"].partition(":")
        _require(version == "v1" and signature not in self._cf_signatures, "replayed")
        self._cf_signatures.add(signature)
        at = datetime.strptime(body["signing_time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        _require(-CF_PAST <= at - self.now() <= CF_FUTURE, "the time")
        certificate = x509.load_pem_x509_certificates(body["cf_instance_cert"].encode())[0]
        signed = f"{body['signing_time']}{body['cf_instance_cert']}{body['role']}".encode()
        pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)
        certificate.public_key().verify(base64.b64decode(signature, validate=True), signed, pss, SHA256())
        certificate.verify_directly_issued_by(self.cf_authority)
        _require(body["role"] == "web", "role")

    def _verified(self, jwt, pem):
        """The claims of a JWT that this key has signed, and that is valid now."""
        signed, _, signature = jwt.rpartition(".")
        _require(_part(jwt, 0)["alg"] == "RS256", "algorithm")
        load_pem_public_key(pem.encode()).verify(_bytes(signature), signed.encode(), padding.PKCS1v15(), SHA256())
        claims = _part(jwt, 1)
        _require(claims["exp"] > self.now(), "expired")
        return claims


def _part(jwt, index):
    return json.loads(_bytes(jwt.split(".")[index]))


def _bytes(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _decoded(text):
    return base64.b64decode(text, validate=True).decode()


def _require(condition, what):
    if not condition:
        raise RefusedError(what)
