"""From the configuration's `vault:` block to a client."""

from collections.abc import Callable, Mapping
from typing import assert_never
from urllib.parse import urlsplit

from lessee.agent.machine.protocol import events as ev
from lessee.config import Vault
from lessee.config.grammar.vault import AppRole, Auth, CertAuth, JwtAuth, KubernetesAuth, TokenAuth, UserpassAuth
from lessee.vault.auth.approle import AppRoleLogin
from lessee.vault.auth.login import Clock, Method, TokenLogin
from lessee.vault.auth.methods import FileLogin
from lessee.vault.client import Client
from lessee.vault.transport import Address, Transport


def connect(vault: Vault, environ: Mapping[str, str], post: Callable[[ev.Event], None], clock: Clock) -> Client:
    """A client that has not asked anything yet."""
    return Client(Transport(address_of(vault, environ)), method_of(vault.auth, environ), post, clock)


def variables_of(auth: Auth) -> tuple[str, ...]:
    """Those of the agent's environment that let their holder in, and are no other program's business."""
    match auth:
        case JwtAuth(jwt_variable=str(name)):
            return (name,)
        case JwtAuth(jwt_from="github"):
            return ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        case _:
            return ()


def address_of(vault: Vault, environ: Mapping[str, str]) -> Address:
    """Where Vault is; the certificate to log in with is that of the connection."""
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
        insecure=vault.tls_skip_verify,
        proxy=_proxy(vault.address, environ),
        proxies={url: _proxy(url, environ) for url in vault.addresses},
    )


def method_of(auth: Auth, environ: Mapping[str, str]) -> Method:
    """The way to log in that the configuration names."""
    match auth:
        case TokenAuth():
            return TokenLogin(auth.token_file, environ)
        case AppRole():
            return _approle(auth)
        case JwtAuth():
            return _jwt(auth, environ)
        case KubernetesAuth():
            return FileLogin(_login(auth.mount), _given(role=auth.role), sent={"jwt": auth.jwt_file})
        case CertAuth():
            files = (auth.cert_file, auth.key_file)
            return FileLogin(_login(auth.mount), _given(name=auth.role), sent={}, shown=files)
        case UserpassAuth():
            path = f"{_login(auth.mount)}/{auth.username}"
            return FileLogin(path, {}, sent={"password": auth.password_file}, locks=True)
        case _:
            assert_never(auth)


def _proxy(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this address, as curl and Vault's own clients read it."""
    parts = urlsplit(url)
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY")
    proxy = next((environ[name] for name in names if environ.get(name)), None)
    if proxy is None:
        return None
    # Imported where there is a proxy: nobody else needs to pay for it.
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: PLC0415  # typeshed lacks it.

    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if proxy_bypass_environment(parts.hostname or "", {"no": no_proxy}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _approle(auth: AppRole) -> AppRoleLogin:
    expected = auth.secret_id_response_wrapping_path or f"auth/{auth.mount}/role/*/secret-id"
    return AppRoleLogin(
        mount=auth.mount,
        role_id=auth.role_id,
        role_id_file=auth.role_id_file,
        secret_id_file=auth.secret_id_file,
        wrapped_path=expected if auth.wrapped else None,
        remove=auth.remove_secret_id_file_after_reading,
    )


def _jwt(auth: JwtAuth, environ: Mapping[str, str]) -> Method:
    path, body = _login(auth.mount), _given(role=auth.role)
    if auth.jwt_file is not None:
        return FileLogin(path, body, sent={"jwt": auth.jwt_file})
    # Wanted in CI alone.
    from lessee.vault.auth.ci_login import URL, GitHub, JobLogin, Variable  # noqa: PLC0415

    if auth.jwt_variable is not None:
        return JobLogin(path, body, Variable(auth.jwt_variable, environ))
    source = GitHub(environ, auth.audience, _proxy(environ.get(URL, ""), environ))
    return JobLogin(path, body, source)


def _login(mount: str) -> str:
    return f"auth/{mount}/login"


def _given(**settings: str | None) -> dict[str, str]:
    return {key: value for key, value in settings.items() if value is not None}
