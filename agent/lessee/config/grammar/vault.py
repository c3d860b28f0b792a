"""The block `vault`: how the agent reaches Vault and logs in."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, Command, describe

_PRINTS = "The program and its arguments, started at each login without a shell, that prints"


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
    secret_id_command: Annotated[
        Command | None, describe(f"{_PRINTS} the secret_id; with `wrapped`, a response-wrapping token.")
    ] = None
    secret_id_socket: Annotated[
        scalars.AbsolutePath | None,
        describe("The path of the socket of `lessee issue`, which hands the agent a response-wrapped secret_id."),
    ] = None
    secret_id_role: Annotated[
        scalars.Name | None,
        describe(
            "With secret_id_socket: the role, if `lessee issue` has several for this agent. Default: the only one."
        ),
    ] = None
    wrapped: Annotated[
        scalars.Boolean, describe("true means that secret_id_file or secret_id_command has a response-wrapping token.")
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
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the AppRole auth method.")] = "approle"


class JwtAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="jwt"):
    """Logs in with a JWT that an identity provider signed: from a file, from a variable, or requested."""

    one_of: ClassVar[tuple[str, ...]] = ("jwt_file", "jwt_variable", "jwt_command", "jwt_from")
    jwt_file: Annotated[scalars.FilePath | None, describe("The path of the file that contains the JWT.")] = None
    jwt_variable: Annotated[
        scalars.Variable | None,
        describe("The environment variable of the agent that contains the JWT, as GitLab's `id_tokens:` sets it."),
    ] = None
    jwt_command: Annotated[Command | None, describe(f"{_PRINTS} the JWT.")] = None
    jwt_from: Annotated[
        Literal["github", "spiffe"] | None,
        describe(
            "`github` requests the JWT from GitHub Actions; the job needs `permissions: {id-token: write}`. `spiffe` "
            "requests it from the SPIFFE Workload API at $SPIFFE_ENDPOINT_SOCKET, which needs the extra `spiffe`."
        ),
    ] = None
    audience: Annotated[
        scalars.Text | None,
        describe(
            "The audience of a JWT that the agent requests. Default with `github`: the URL of the repository's owner."
        ),
    ] = None
    role: Annotated[scalars.Text | None, describe("The role to log in as. Default: the mount's default_role.")] = None
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the JWT auth method.")] = "jwt"


class KubernetesAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="kubernetes"):
    """Logs in with the token of a pod's service account."""

    role: Annotated[scalars.Text, describe("The role to log in as.")]
    jwt_file: Annotated[
        scalars.FilePath, describe("The path of the file that contains the token of the service account.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Kubernetes auth method.")] = "kubernetes"


class CertAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="cert"):
    """Logs in with a TLS client certificate."""

    cert_file: Annotated[scalars.FilePath, describe("The path of the client certificate, in PEM format.")]
    key_file: Annotated[scalars.FilePath, describe("The path of the certificate's private key, in PEM format.")]
    role: Annotated[
        scalars.Text | None, describe("The role to log in as. Default: any role that matches the certificate.")
    ] = None
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the cert auth method.")] = "cert"


class PasswordAuth(Block, frozen=True, kw_only=True):
    """A login with a username and password."""

    username: Annotated[scalars.UserName, describe("The username.")]
    password_file: Annotated[
        scalars.FilePath,
        describe("The path of the file that contains the password; whitespace around the password is ignored."),
    ]


class UserpassAuth(PasswordAuth, frozen=True, kw_only=True, tag_field="method", tag="userpass"):
    """Logs in with a username and password of Vault's own."""

    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the userpass auth method.")] = "userpass"


class LdapAuth(PasswordAuth, frozen=True, kw_only=True, tag_field="method", tag="ldap"):
    """Logs in with a username and password of an LDAP directory."""

    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the LDAP auth method.")] = "ldap"


class RadiusAuth(PasswordAuth, frozen=True, kw_only=True, tag_field="method", tag="radius"):
    """Logs in with a username and password of a RADIUS server."""

    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the RADIUS auth method.")] = "radius"


class OktaAuth(PasswordAuth, frozen=True, kw_only=True, tag_field="method", tag="okta"):
    """Logs in with a username and password of Okta."""

    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Okta auth method.")] = "okta"


class GitHubAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="github"):
    """Logs in with a personal access token of GitHub."""

    token_file: Annotated[scalars.FilePath, describe("The path of the file that contains the token of GitHub.")]
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the GitHub auth method.")] = "github"


class AwsAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="aws"):
    """Logs in with an IAM identity of AWS, by a signed request, which needs the extra `aws`; or as an EC2 instance."""

    type: Annotated[
        Literal["iam", "ec2"], describe("`ec2` logs in with the instance's signed identity document instead.")
    ] = "iam"
    nonce_file: Annotated[
        scalars.FilePath | None,
        describe("With `ec2`: the path of the file that contains the nonce, a random text that no other client knows."),
    ] = None
    role: Annotated[
        scalars.Text | None, describe("The role to log in as. Default: the name of the IAM role or user.")
    ] = None
    region: Annotated[scalars.Name, describe("The region of STS whose request is signed.")] = "us-east-1"
    header_value: Annotated[
        scalars.Text | None, describe("The value of X-Vault-AWS-IAM-Server-ID, if the method requires this header.")
    ] = None
    credentials_file: Annotated[
        scalars.FilePath | None,
        describe("The path of a shared credentials file. Default: as AWS's SDKs find credentials."),
    ] = None
    profile: Annotated[scalars.Text | None, describe("The profile in the files of AWS. Default: $AWS_PROFILE.")] = None
    metadata_address: Annotated[scalars.MetadataAddress, describe("The address of the instance metadata service.")] = (
        "http://169.254.169.254"
    )
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the AWS auth method.")] = "aws"


class AzureAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="azure"):
    """Logs in with the managed identity of a virtual machine on Azure."""

    role: Annotated[scalars.Text, describe("The role to log in as.")]
    resource: Annotated[
        scalars.Text, describe("The audience of the token, which must be the `resource` of the method's configuration.")
    ] = "https://management.azure.com/"
    client_id: Annotated[
        scalars.Text | None, describe("The client ID of a user-assigned identity. Default: the machine's only one.")
    ] = None
    metadata_address: Annotated[scalars.MetadataAddress, describe("The address of the instance metadata service.")] = (
        "http://169.254.169.254"
    )
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Azure auth method.")] = "azure"


class GcpAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="gcp"):
    """Logs in with the service account of a Google Compute Engine machine, or with the key of a service account."""

    role: Annotated[scalars.Text, describe("The role to log in as.")]
    service_account: Annotated[scalars.UserName, describe("The service account of the machine, by name or email.")] = (
        "default"
    )
    credentials_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the JSON key of a service account, for a role of type `iam`. Default: the machine's."),
    ] = None
    metadata_address: Annotated[scalars.MetadataAddress, describe("The address of the metadata server.")] = (
        "http://metadata.google.internal"
    )
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Google Cloud auth method.")] = "gcp"


class CfAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="cf"):
    """Logs in with the certificate that Cloud Foundry gives to each instance of an app."""

    role: Annotated[scalars.Text, describe("The role to log in as.")]
    cert_file: Annotated[scalars.FilePath, describe("The path of the instance's certificate, as in $CF_INSTANCE_CERT.")]
    key_file: Annotated[scalars.FilePath, describe("The path of its private key, as in $CF_INSTANCE_KEY.")]
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Cloud Foundry auth method.")] = "cf"


class KerberosAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="kerberos"):
    """Logs in with a Kerberos ticket (SPNEGO). It needs the extra `kerberos`."""

    username: Annotated[scalars.Text, describe("The principal in the keytab, without the realm.")]
    service: Annotated[scalars.Text, describe("The principal of Vault, such as `HTTP/vault.example.com`.")]
    realm: Annotated[scalars.Text, describe("The realm of both, such as `EXAMPLE.COM`.")]
    keytab_file: Annotated[scalars.FilePath, describe("The path of the keytab that contains the principal's keys.")]
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the Kerberos auth method.")] = "kerberos"


class OidcAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="oidc"):
    """Logs in a person at a terminal, who confirms the login in a browser (OAuth 2.0 device authorization)."""

    role: Annotated[scalars.Text | None, describe("The role to log in as. Default: the mount's default_role.")] = None
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the OIDC auth method.")] = "oidc"


Auth = (
    TokenAuth
    | AppRole
    | JwtAuth
    | KubernetesAuth
    | CertAuth
    | UserpassAuth
    | LdapAuth
    | RadiusAuth
    | OktaAuth
    | GitHubAuth
    | AwsAuth
    | AzureAuth
    | GcpAuth
    | CfAuth
    | KerberosAuth
    | OidcAuth
)


def credential_command(auth: Auth) -> tuple[str, ...]:
    """The program that this login starts, with its arguments; empty if it starts none."""
    match auth:
        case AppRole(secret_id_command=tuple(command)) | JwtAuth(jwt_command=tuple(command)):
            return command
        case _:
            return ()


def credential_variables(auth: Auth) -> tuple[str, ...]:
    """The environment variables that hold credentials for this login; no other program may inherit them."""
    match auth:
        case JwtAuth(jwt_variable=str(name)):
            return (name,)
        case JwtAuth(jwt_from="github"):
            return ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        case AwsAuth(type="iam"):
            return ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
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
