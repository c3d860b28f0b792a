"""Creates a login with a proof from its block of the configuration."""

from collections.abc import Mapping
from functools import partial
from typing import assert_never

from lessee.config.grammar.vault import AwsAuth, AzureAuth, CfAuth, GcpAuth, KerberosAuth
from lessee.vault.auth.proof import ProofLogin


def proof_login(auth: AwsAuth | AzureAuth | GcpAuth | CfAuth | KerberosAuth, environ: Mapping[str, str]) -> ProofLogin:
    """The login. What it needs beyond this is imported here, so that no other sidecar pays for it."""
    path = f"auth/{auth.mount}/login"
    match auth:
        case AwsAuth(type="ec2", nonce_file=str(file)):
            from lessee.vault.auth.metadata_server import ec2_identity  # noqa: PLC0415

            prove = partial(ec2_identity, auth.metadata_address, file)
            return ProofLogin(path, auth.role, prove, name=f"the EC2 instance with the nonce in {file}", files=(file,))
        case AwsAuth():
            from lessee.vault.auth.aws_identity import signed_request  # noqa: PLC0415

            prove = partial(
                signed_request,
                environ,
                region=auth.region,
                header_value=auth.header_value,
                credentials_file=auth.credentials_file,
                profile=auth.profile,
                metadata_address=auth.metadata_address,
            )
            return ProofLogin(path, auth.role, prove, name="the IAM identity", files=(auth.credentials_file,))
        case AzureAuth():
            from lessee.vault.auth.metadata_server import azure_identity  # noqa: PLC0415

            prove = partial(azure_identity, auth.metadata_address, auth.resource, auth.client_id)
            return ProofLogin(path, auth.role, prove, name="the managed identity")
        case GcpAuth(credentials_file=str(file)):
            from lessee.vault.auth.key_proofs import google_service_account  # noqa: PLC0415

            prove = partial(google_service_account, file, auth.role)
            return ProofLogin(path, auth.role, prove, name=f"the service account in {file}", files=(file,))
        case GcpAuth():
            from lessee.vault.auth.metadata_server import google_identity  # noqa: PLC0415

            prove = partial(google_identity, auth.metadata_address, auth.service_account, auth.role)
            return ProofLogin(path, auth.role, prove, name=f"the machine's service account {auth.service_account}")
        case CfAuth():
            from lessee.vault.auth.key_proofs import cloud_foundry_instance  # noqa: PLC0415

            prove = partial(cloud_foundry_instance, auth.cert_file, auth.key_file, auth.role)
            files = (auth.cert_file, auth.key_file)
            return ProofLogin(path, auth.role, prove, name=f"{auth.cert_file} and {auth.key_file}", files=files)
        case KerberosAuth():
            from lessee.vault.auth.kerberos_ticket import negotiate  # noqa: PLC0415

            prove = partial(
                negotiate,
                username=auth.username,
                service=auth.service,
                realm=auth.realm,
                keytab_file=auth.keytab_file,
            )
            return ProofLogin(path, None, prove, name=f"the ticket of {auth.username}", files=(auth.keytab_file,))
        case _:
            assert_never(auth)
