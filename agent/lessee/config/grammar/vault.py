"""The block `vault`: how the agent reaches Vault and logs in."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe


class TokenAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="token"):
    """Authenticates with an existing token."""

    token_file: Annotated[
        scalars.FilePath | None, describe("The path of the file that contains the token. Default: $VAULT_TOKEN.")
    ] = None


class AppRole(Block, frozen=True, kw_only=True, tag_field="method", tag="approle"):
    """Logs in by AppRole: https://developer.hashicorp.com/vault/docs/auth/approle."""

    one_of: ClassVar[tuple[str, ...]] = ("role_id", "role_id_file")
    role_id: Annotated[scalars.Text | None, describe("The role_id itself, which is not a secret.")] = None
    role_id_file: Annotated[scalars.FilePath | None, describe("The path of the file that contains the role_id.")] = None
    secret_id_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the file that contains the secret_id. Omit it if the role has bind_secret_id=false."),
    ] = None
    wrapped: Annotated[
        scalars.Boolean, describe("true means that secret_id_file contains a response-wrapping token.")
    ] = False
    secret_id_response_wrapping_path: Annotated[
        scalars.MountPath | None,
        describe(
            "The creation_path that the wrapping token must have. Default: auth/MOUNT/role/ROLE/secret-id of any role."
        ),
    ] = None
    remove_secret_id_file_after_reading: Annotated[
        scalars.Boolean, describe("true deletes secret_id_file after the agent has read it.")
    ] = False
    mount: Annotated[scalars.MountPath, describe("The mount path of the AppRole auth method.")] = "approle"


class JwtAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="jwt"):
    """Logs in with a JWT that an identity provider signed: from a file, from a variable, or requested in a CI job."""

    one_of: ClassVar[tuple[str, ...]] = ("jwt_file", "jwt_variable", "jwt_from")
    jwt_file: Annotated[scalars.FilePath | None, describe("The path of the file that contains the JWT.")] = None
    jwt_variable: Annotated[
        scalars.Variable | None,
        describe("The environment variable of the agent that contains the JWT, as GitLab's `id_tokens:` sets it."),
    ] = None
    jwt_from: Annotated[
        Literal["github"] | None,
        describe("`github` requests the JWT from GitHub Actions; the job needs `permissions: {id-token: write}`."),
    ] = None
    audience: Annotated[
        scalars.Text | None,
        describe("The audience of a JWT that the agent requests. Default: the URL of the repository's owner."),
    ] = None
    role: Annotated[scalars.Text | None, describe("The role to log in as. Default: the mount's default_role.")] = None
    mount: Annotated[scalars.MountPath, describe("The mount path of the JWT auth method.")] = "jwt"


class KubernetesAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="kubernetes"):
    """Logs in with the token of a pod's service account."""

    role: Annotated[scalars.Text, describe("The role to log in as.")]
    jwt_file: Annotated[
        scalars.FilePath, describe("The path of the file that contains the token of the service account.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    mount: Annotated[scalars.MountPath, describe("The mount path of the Kubernetes auth method.")] = "kubernetes"


class CertAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="cert"):
    """Logs in with a TLS client certificate."""

    cert_file: Annotated[scalars.FilePath, describe("The path of the client certificate, in PEM format.")]
    key_file: Annotated[scalars.FilePath, describe("The path of the certificate's private key, in PEM format.")]
    role: Annotated[
        scalars.Text | None, describe("The role to log in as. Default: any role that matches the certificate.")
    ] = None
    mount: Annotated[scalars.MountPath, describe("The mount path of the cert auth method.")] = "cert"


class UserpassAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="userpass"):
    """Logs in with a username and password."""

    username: Annotated[scalars.UserName, describe("The username.")]
    password_file: Annotated[
        scalars.FilePath,
        describe("The path of the file that contains the password; whitespace around the password is ignored."),
    ]
    mount: Annotated[scalars.MountPath, describe("The mount path of the userpass auth method.")] = "userpass"


Auth = TokenAuth | AppRole | JwtAuth | KubernetesAuth | CertAuth | UserpassAuth


def credential_variables(auth: Auth) -> tuple[str, ...]:
    """The environment variables that hold credentials for this login; no other program may inherit them."""
    match auth:
        case JwtAuth(jwt_variable=str(name)):
            return (name,)
        case JwtAuth(jwt_from="github"):
            return ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        case _:
            return ()


class VaultBlock(Block, frozen=True, kw_only=True):
    """The address of Vault or OpenBao, and how the agent logs in."""

    address: Annotated[
        scalars.VaultAddress | None,
        describe("The address of Vault. Default: $VAULT_ADDR, or else https://127.0.0.1:8200."),
    ] = None
    addresses: Annotated[
        Annotated[tuple[scalars.VaultAddress, ...], Meta(min_length=1)] | None,
        describe(
            "The addresses of a cluster's servers, in place of `address`. The agent uses the active server and fails "
            "over to the next."
        ),
    ] = None
    namespace: Annotated[
        scalars.MountPath | None, describe("The namespace of Vault Enterprise or OpenBao. Default: $VAULT_NAMESPACE.")
    ] = None
    ca_file: Annotated[
        scalars.FilePath | None,
        describe(
            "The path of the CA certificates that verify Vault's certificate, in PEM format. Default: $VAULT_CACERT."
        ),
    ] = None
    tls_server_name: Annotated[
        scalars.Text | None,
        describe("The name to verify in Vault's certificate, and to send as SNI. Default: the host of the address."),
    ] = None
    client_cert_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the client certificate to present to Vault's listener, in PEM format."),
    ] = None
    client_key_file: Annotated[
        scalars.FilePath | None, describe("The path of the private key of client_cert_file, in PEM format.")
    ] = None
    tls_skip_verify: Annotated[
        scalars.Boolean,
        describe("true disables the verification of Vault's certificate; the agent warns of it at every start."),
    ] = False
    insecure_http: Annotated[
        scalars.Boolean,
        describe("true states that http:// without TLS is intended, and silences the warning of check and each start."),
    ] = False
    auth: Annotated[Auth, describe("How the agent logs in. Default: the token in $VAULT_TOKEN.")] = TokenAuth()


class KvMountBlock(Block, frozen=True, kw_only=True):
    """The folders of a KV mount that templates may read."""

    prefix: Annotated[
        scalars.Prefix | None,
        describe("The prefix of every secret path in this mount. Default: that of the login's own mount."),
    ] = None
    shared_prefixes: Annotated[
        tuple[scalars.SharedFolder, ...] | None,
        describe("Path prefixes that all environments share. Default: those of the login's own mount."),
    ] = None


MOUNTS = 'The other KV mounts that templates may name, as in secret("…", mount="NAME").'


class IdentitySecretsBlock(Block, frozen=True, kw_only=True):
    """Where the KV secrets of an identity are. Keys that it omits are inherited from the top-level secrets block."""

    mount: Annotated[
        scalars.MountPath | None, describe("The KV mount, v1 or v2. Default: that of the top-level secrets block.")
    ] = None
    prefix: Annotated[
        scalars.Prefix | None,
        describe("The prefix of every secret path. Default: that of the top-level secrets block."),
    ] = None
    shared_prefixes: Annotated[
        tuple[scalars.SharedFolder, ...] | None,
        describe("Path prefixes that all environments share. Default: those of the top-level secrets block."),
    ] = None
    mounts: Annotated[
        dict[scalars.MountPath, KvMountBlock] | None,
        describe(f"{MOUNTS} Default: those of the top-level secrets block."),
    ] = None


class IdentityBlock(VaultBlock, frozen=True, kw_only=True):
    """A login that templates name. Keys that it omits are inherited from the top-level vault block."""

    secrets: Annotated[
        IdentitySecretsBlock, describe("Where the KV secrets are that templates read under this identity.")
    ] = IdentitySecretsBlock()
