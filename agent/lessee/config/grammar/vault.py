"""How the agent reaches Vault and logs in to it."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says


class TokenAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="token"):
    """A token that somebody else made; without `token_file` it is $VAULT_TOKEN."""

    token_file: Annotated[w.FilePath | None, says("The file that holds the token; default: $VAULT_TOKEN.")] = None


class AppRole(Block, frozen=True, kw_only=True, tag_field="method", tag="approle"):
    """A role_id and a secret_id, as https://developer.hashicorp.com/vault/docs/auth/approle has them."""

    one_of: ClassVar[tuple[str, ...]] = ("role_id", "role_id_file")
    role_id: Annotated[w.Text | None, says("The role_id itself, which is no secret.")] = None
    role_id_file: Annotated[w.FilePath | None, says("The file that holds the role_id.")] = None
    secret_id_file: Annotated[
        w.FilePath | None, says("The file that holds the secret_id; absent where the role binds none.")
    ] = None
    wrapped: Annotated[w.Switch, says("Whether secret_id_file holds a response-wrapping token.")] = False
    wrapped_path: Annotated[
        w.MountPath | None,
        says("Where the wrapping token must have been made; default: auth/<mount>/role/<any>/secret-id."),
    ] = None
    remove_secret_id_file_after_reading: Annotated[w.Switch, says("Whether to delete secret_id_file once read.")] = (
        False
    )
    mount: Annotated[w.MountPath, says("Where the auth method is mounted.")] = "approle"


class JwtAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="jwt"):
    """A JWT that an identity provider signed: in a file, in a variable, or made for a job on demand."""

    one_of: ClassVar[tuple[str, ...]] = ("jwt_file", "jwt_variable", "jwt_from")
    jwt_file: Annotated[w.FilePath | None, says("The file that holds the JWT.")] = None
    jwt_variable: Annotated[
        w.Variable | None, says("The agent's variable that holds the JWT, as `id_tokens:` of GitLab makes it.")
    ] = None
    jwt_from: Annotated[
        Literal["github"] | None, says("Who makes the JWT: GitHub, for a job with `permissions: {id-token: write}`.")
    ] = None
    audience: Annotated[
        w.Text | None, says("Whom GitHub makes the JWT for; default: the URL of the repository's owner.")
    ] = None
    role: Annotated[w.Text | None, says("The role; default: the mount's default_role.")] = None
    mount: Annotated[w.MountPath, says("Where the auth method is mounted.")] = "jwt"


class KubernetesAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="kubernetes"):
    """The token of a pod's service account."""

    role: Annotated[w.Text, says("The role.")]
    jwt_file: Annotated[w.FilePath, says("The file that holds the service account's token.")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    mount: Annotated[w.MountPath, says("Where the auth method is mounted.")] = "kubernetes"


class CertAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="cert"):
    """A TLS client certificate."""

    cert_file: Annotated[w.FilePath, says("The certificate.")]
    key_file: Annotated[w.FilePath, says("Its private key.")]
    role: Annotated[w.Text | None, says("The role; default: any that the certificate matches.")] = None
    mount: Annotated[w.MountPath, says("Where the auth method is mounted.")] = "cert"


class UserpassAuth(Block, frozen=True, kw_only=True, tag_field="method", tag="userpass"):
    """A user's name and password."""

    username: Annotated[w.UserName, says("The user.")]
    password_file: Annotated[w.FilePath, says("The file that holds the password; space around it is none of it.")]
    mount: Annotated[w.MountPath, says("Where the auth method is mounted.")] = "userpass"


Auth = TokenAuth | AppRole | JwtAuth | KubernetesAuth | CertAuth | UserpassAuth


class Vault(Block, frozen=True, kw_only=True):
    """Where Vault or OpenBao is, and how to log in."""

    address: Annotated[
        w.VaultAddress | None, says("Where Vault answers; default: $VAULT_ADDR, else https://127.0.0.1:8200.")
    ] = None
    addresses: Annotated[
        Annotated[tuple[w.VaultAddress, ...], Meta(min_length=1)] | None,
        says("Instead of address: the active node is found, the next one tried."),
    ] = None
    namespace: Annotated[w.MountPath | None, says("Vault's namespace; default: $VAULT_NAMESPACE.")] = None
    ca_file: Annotated[w.FilePath | None, says("The CA to trust, in PEM; default: $VAULT_CACERT.")] = None
    server_name: Annotated[w.Text | None, says("The name to expect in Vault's certificate.")] = None
    client_cert_file: Annotated[w.FilePath | None, says("A certificate to show, in PEM.")] = None
    client_key_file: Annotated[w.FilePath | None, says("The private key of client_cert_file.")] = None
    insecure: Annotated[w.Switch, says("true checks no certificate; told at every start.")] = False
    auth: Annotated[Auth, says("How to log in; default: the token in $VAULT_TOKEN.")] = TokenAuth()
