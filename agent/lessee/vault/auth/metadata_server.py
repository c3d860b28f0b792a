"""Asks the metadata server of a cloud, which tells a machine who it is: JWTs of Azure and Google Cloud, and EC2's
identity document.
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import read_credential_file
from lessee.vault.auth.proof import Proof
from lessee.vault.connections import Address, Connector
from lessee.vault.responses import DECODE_ERRORS, RequestFailedError, describe_connection_error
from lessee.vault.transport import CONNECT_TIMEOUT, READ_TIMEOUT
from lessee.vault.wire import InvalidResponseError

MAX_ANSWER_SIZE = 1 << 16
"""Bytes. A token has a few KiB."""
_OK = 200
_TEMPORARY = frozenset({404, 410, 429})
"""Azure's documentation has these retried, besides 5xx: the identity may just be being assigned."""
_SERVER_ERROR = 500


def google_identity(address: str, service_account: str, role: str) -> Proof:
    """The JWT of a machine on Google Compute Engine. Raises RequestFailedError.

    https://cloud.google.com/compute/docs/instances/verifying-instance-identity; Vault wants an audience that ends with
    `vault/ROLE`.
    """
    path = f"/computeMetadata/v1/instance/service-accounts/{quote(service_account)}/identity"
    query = {"audience": f"http://vault/{role}", "format": "full"}
    flavor = {"Metadata-Flavor": "Google"}
    headers, content = _ask(address, path, query, flavor)
    if headers.get("metadata-flavor") != "Google":
        raise _denied(address, "its answer is not Google's; correct vault.auth.metadata_address")
    return {"jwt": _text(address, content)}


def azure_identity(address: str, resource: str, client_id: str | None) -> Proof:
    """The access token of a managed identity, and the machine that it is for. Raises RequestFailedError.

    https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
    """
    query = {"api-version": "2018-02-01", "resource": resource} | ({"client_id": client_id} if client_id else {})
    token = _object(address, *_ask(address, "/metadata/identity/oauth2/token", query, _AZURE)).get("access_token")
    query = {"api-version": "2021-02-01"}
    compute = _object(address, *_ask(address, "/metadata/instance/compute", query, _AZURE))
    if not isinstance(token, str):
        raise _denied(address, "its answer has no access_token; correct vault.auth.metadata_address")
    names = {"subscription_id": "subscriptionId", "resource_group_name": "resourceGroupName"}
    # Vault takes one of both names, and a machine of a scale set has a name too.
    names |= {"vmss_name": "vmScaleSetName"} if compute.get("vmScaleSetName") else {"vm_name": "name"}
    return {"jwt": token, **{key: str(compute.get(name) or "") for key, name in names.items()}}


def ec2_identity(address: str, nonce_file: str) -> Proof:
    """The signed identity document of an EC2 instance, and the nonce of its first login. Raises RequestFailedError.

    https://developer.hashicorp.com/vault/docs/auth/aws#client-nonce: the document never changes, so that all who have
    seen it could log in with it without the nonce.
    """
    nonce = read_credential_file(nonce_file)
    _, token = _ask(address, "/latest/api/token", {}, _EC2_SESSION, method="PUT")
    session = {"X-aws-ec2-metadata-token": _text(address, token)}
    folder = "/latest/dynamic/instance-identity"
    _, document = _ask(address, f"{folder}/document", {}, session)
    _, signature = _ask(address, f"{folder}/signature", {}, session)
    return {
        "identity": base64.b64encode(document).decode(),
        "signature": "".join(_text(address, signature).split()),
        "nonce": nonce,
    }


_EC2_SESSION = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
_AZURE = {"Metadata": "true"}


def _ask(
    address: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, method: str = "GET"
) -> tuple[Mapping[str, str], bytes]:
    """The headers and body of an answer with 200. No redirect is followed, and no proxy used."""
    try:
        connection = Connector(Address(address)).open(address, timeout=CONNECT_TIMEOUT)
        try:
            response, content = connection.exchange(
                method,
                f"{path}?{urlencode(query)}" if query else path,
                None,
                headers,
                READ_TIMEOUT,
                limit=MAX_ANSWER_SIZE,
            )
        finally:
            connection.close()
    except (OSError, InvalidResponseError) as exc:
        text = f"the metadata server {address} gave no proof of identity: {describe_connection_error(exc)}"
        raise RequestFailedError(Failure(Kind.UNAVAILABLE, text)) from None
    except ValueError:
        raise _denied(address, "vault.auth has characters that cannot be sent") from None
    if response.status == _OK:
        return response.headers, content
    text = f"it answered {response.status} at {path}"
    if response.status >= _SERVER_ERROR or response.status in _TEMPORARY:
        text = f"the metadata server {address} gave no proof of identity: {text}; does the machine have the identity?"
        raise RequestFailedError(Failure(Kind.PATH_ERROR, text))
    raise _denied(address, f"{text}; does the machine have the identity that vault.auth names?")


def _object(address: str, _headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except DECODE_ERRORS:
        raise _denied(address, "its answer is no JSON object; correct vault.auth.metadata_address") from None


def _text(address: str, content: bytes) -> str:
    try:
        return content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise _denied(address, "its answer is no text; correct vault.auth.metadata_address") from None


def _denied(address: str, why: str) -> RequestFailedError:
    return RequestFailedError(Failure(Kind.DENIED, f"the metadata server {address} gave no proof of identity: {why}"))
