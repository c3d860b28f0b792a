"""Creates a client from a `vault:` block of the configuration."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, assert_never

from lessee.config import Vault
from lessee.config.grammar.vault import (
    AppRole,
    Auth,
    AwsAuth,
    AzureAuth,
    CertAuth,
    CfAuth,
    GcpAuth,
    GitHubAuth,
    JwtAuth,
    KerberosAuth,
    KubernetesAuth,
    OidcAuth,
    PasswordAuth,
    TokenAuth,
)
from lessee.core.immutable import replace
from lessee.host.proxies import proxy_for
from lessee.protocol import events as ev
from lessee.vault.auth.approle import AppRoleLogin
from lessee.vault.auth.login import AuthMethod, Clock, RefusedLogin, TokenLogin
from lessee.vault.auth.methods import FileLogin
from lessee.vault.client import Client, Learn
from lessee.vault.transport import Address, Transport

if TYPE_CHECKING:
    from lessee.vault.auth.credential_command import CredentialCommand


def create_client(
    vault: Vault, environ: Mapping[str, str], post: Callable[[ev.Event], None], clock: Clock, learn: Learn
) -> Client:
    """A client that has sent no request yet; `post` and `learn` are those of `Client`."""
    return Client(Transport(address_of(vault, environ)), auth_method_of(vault.auth, environ), post, clock, learn)


def create_revoker(
    vault: Vault,
    configured: Collection[Vault],
    environ: Mapping[str, str],
    post: Callable[[ev.Event], None],
    clock: Clock,
    learn: Learn,
) -> Client:
    """A client that ends what an identity of an earlier run left, with its saved tokens: it never logs in.

    Only a record in `state_dir` names this Vault, so no credential that the record names is sent there.
    """
    address = recorded_address_of(vault, configured, environ)
    return Client(Transport(address), RefusedLogin(), post, clock, learn)


def allow_login(client: Client, vault: Vault, environ: Mapping[str, str]) -> None:
    """Make a client of `create_revoker` one of `create_client`, because the configuration names its Vault again."""
    client.log_in_by(auth_method_of(vault.auth, environ), Transport(address_of(vault, environ)))


def recorded_address_of(vault: Vault, configured: Collection[Vault], environ: Mapping[str, str]) -> Address:
    """The address and TLS settings of a Vault that a record names.

    The connection presents a certificate only if one of the `configured` ones is for the same server.
    """
    address = address_of(vault, environ)
    servers = {vault.address, *vault.addresses}
    known = {
        (other.client_cert_file, other.client_key_file)
        for other in (address_of(one, environ) for one in configured)
        if servers <= {other.url, *other.urls}
    }
    if (address.client_cert_file, address.client_key_file) in known:
        return address
    return replace(address, client_cert_file=None, client_key_file=None)


def address_of(vault: Vault, environ: Mapping[str, str]) -> Address:
    """The address and TLS settings. With `method: cert` the connection presents the login's certificate."""
    certificate, key = vault.client_cert_file, vault.client_key_file
    if isinstance(vault.auth, CertAuth):
        certificate, key = vault.auth.cert_file, vault.auth.key_file
    return Address(
        url=vault.address,
        urls=vault.addresses,
        namespace=vault.namespace,
        ca_file=vault.ca_file,
        server_name=vault.tls_server_name,
        client_cert_file=certificate,
        client_key_file=key,
        tls_skip_verify=vault.tls_skip_verify,
        proxy=proxy_for(vault.address, environ),
        proxies={url: proxy_for(url, environ) for url in vault.addresses},
    )


def auth_method_of(auth: Auth, environ: Mapping[str, str]) -> AuthMethod:
    """The configured auth method."""
    match auth:
        case TokenAuth():
            return TokenLogin(auth.token_file, environ)
        case AppRole():
            return _approle(auth)
        case JwtAuth():
            return _jwt(auth, environ)
        case KubernetesAuth():
            return FileLogin(_login(auth.mount), _given(role=auth.role), files={"jwt": auth.jwt_file})
        case CertAuth():
            files = (auth.cert_file, auth.key_file)
            return FileLogin(_login(auth.mount), _given(name=auth.role), files={}, tls_files=files)
        case PasswordAuth():
            path = f"{_login(auth.mount)}/{auth.username}"
            return FileLogin(path, {}, files={"password": auth.password_file}, locks_user=True)
        case GitHubAuth():
            return FileLogin(_login(auth.mount), {}, files={"token": auth.token_file})
        case OidcAuth():
            # Only people's machines use it.
            from lessee.vault.auth.device_login import DeviceLogin  # noqa: PLC0415

            return DeviceLogin(auth.mount, auth.role)
        case AwsAuth() | AzureAuth() | GcpAuth() | CfAuth() | KerberosAuth():
            # Few sidecars use one of them.
            from lessee.vault.auth.proof_factory import proof_login  # noqa: PLC0415

            return proof_login(auth, environ)
        case _:
            assert_never(auth)


def _approle(auth: AppRole) -> AppRoleLogin:
    expected = auth.secret_id_response_wrapping_path or f"auth/{auth.mount}/role/*/secret-id"
    socket = None
    if auth.secret_id_socket is not None:
        # Only agents with `lessee issue` on their machine use it.
        from lessee.vault.auth.issued_secret_id import IssueSocket  # noqa: PLC0415

        socket = IssueSocket(auth.secret_id_socket, auth.secret_id_role or "")
    return AppRoleLogin(
        mount=auth.mount,
        role_id=auth.role_id,
        role_id_file=auth.role_id_file,
        secret_id_file=auth.secret_id_file,
        wrapping_path=expected if auth.wrapped or socket is not None else None,
        remove=auth.remove_secret_id_file_after_reading,
        socket=socket,
        command=_command(auth.secret_id_command),
    )


def _jwt(auth: JwtAuth, environ: Mapping[str, str]) -> AuthMethod:
    path, body = _login(auth.mount), _given(role=auth.role)
    if auth.jwt_file is not None:
        return FileLogin(path, body, files={"jwt": auth.jwt_file})
    # Only jobs of CI use it, and logins with a program.
    from lessee.vault.auth.ci_login import URL, CiLogin, CommandJwt, GitHubJwt, VariableJwt  # noqa: PLC0415

    if (command := _command(auth.jwt_command)) is not None:
        return CiLogin(path, body, CommandJwt(command))

    if auth.jwt_variable is not None:
        return CiLogin(path, body, VariableJwt(auth.jwt_variable, environ))
    if auth.jwt_from == "spiffe":
        from lessee.vault.auth.spiffe_jwt import SpiffeJwt  # noqa: PLC0415  # As above.

        return CiLogin(path, body, SpiffeJwt(environ, auth.audience or ""))
    source = GitHubJwt(environ, auth.audience, proxy_for(environ.get(URL, ""), environ))
    return CiLogin(path, body, source)


def _command(command: tuple[str, ...] | None) -> "CredentialCommand | None":
    if command is None:
        return None
    # Few logins start a program.
    from lessee.vault.auth.credential_command import CredentialCommand  # noqa: PLC0415

    return CredentialCommand(command)


def _login(mount: str) -> str:
    return f"auth/{mount}/login"


def _given(**settings: str | None) -> dict[str, str]:
    return {key: value for key, value in settings.items() if value is not None}
