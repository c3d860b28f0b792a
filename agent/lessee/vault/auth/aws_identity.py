"""Proves an IAM identity of AWS: a signed request to STS, which Vault sends there to learn who signed it."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.host.aws_client import bounded_resolver
from lessee.host.optional_dependencies import library
from lessee.vault.auth.proof import Proof
from lessee.vault.responses import RequestFailedError

EXTRA = "aws"
_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
_GLOBAL_REGION = "us-east-1"


def signed_request(
    environ: Mapping[str, str],
    *,
    region: str,
    header_value: str | None,
    credentials_file: str | None,
    profile: str | None,
    metadata_address: str,
) -> Proof:
    """A signed GetCallerIdentity, as Vault's AWS method takes it. Raises RequestFailedError and LesseeError.

    The credentials come from where AWS's SDKs find them, and from nowhere else if a file or profile is named. botocore
    reads them again each time. `environ`: may have keys, which are in no variable of the process. https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method
    """
    credentials = _credentials(environ, credentials_file, profile, metadata_address)
    url = _endpoint(region)
    headers = {"Content-Type": _CONTENT_TYPE, "Host": urlsplit(url).netloc}
    if header_value is not None:
        headers["X-Vault-AWS-IAM-Server-ID"] = header_value
    request = library("botocore.awsrequest", EXTRA).AWSRequest("POST", url, headers, _BODY)
    library("botocore.auth", EXTRA).SigV4Auth(credentials, "sts", region).add_auth(request)
    sent = {name: [str(value)] for name, value in request.headers.items()}
    return {
        "iam_http_request_method": "POST",
        "iam_request_url": base64.b64encode(url.encode()).decode(),
        "iam_request_body": base64.b64encode(_BODY.encode()).decode(),
        "iam_request_headers": base64.b64encode(msgspec.json.encode(sent)).decode(),
    }


def _endpoint(region: str) -> str:
    if region == _GLOBAL_REGION:
        return "https://sts.amazonaws.com/"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _credentials(
    environ: Mapping[str, str], credentials_file: str | None, profile: str | None, metadata_address: str
) -> Any:
    errors = library("botocore.exceptions", EXTRA)
    session = library("botocore.session", EXTRA).Session(profile=profile)
    session.set_config_variable("ec2_metadata_service_endpoint", metadata_address)
    if credentials_file is not None:
        session.set_config_variable("credentials_file", credentials_file)
    try:
        resolver = session.get_component("credential_provider")
        found = bounded_resolver(resolver, environ, credentials_file, extra=EXTRA).load_credentials()
        credentials = found.get_frozen_credentials() if found is not None else None
    except errors.BotoCoreError as exc:
        # Its texts may name an account, and hold what a file contains.
        text = f"AWS's credentials cannot be read ({type(exc).__name__}); check the file, the profile and the role"
        is_away = isinstance(exc, (errors.ConnectionError, errors.HTTPClientError))
        kind = Kind.UNAVAILABLE if is_away else Kind.DENIED
        raise RequestFailedError(Failure(kind, text)) from None
    if credentials is None or not credentials.access_key:
        where = credentials_file or "the environment, ~/.aws, and the metadata service"
        text = f"there are no AWS credentials in {where}; give the machine a role, or name a file with credentials"
        raise RequestFailedError(Failure(Kind.DENIED, text))
    return credentials
