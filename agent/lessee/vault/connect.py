"""From the configuration's `vault:` block to a client."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from lessee.core.config import Vault
from lessee.core.config.grammar.vault import AppRole, TokenAuth
from lessee.core.machine import events as ev
from lessee.vault.client import Client
from lessee.vault.door import Address, Door
from lessee.vault.login import AppRoleLogin, Clock, Method, TokenLogin


def connect(vault: Vault, environ: Mapping[str, str], post: Callable[[ev.Event], None], clock: Clock) -> Client:
    """A client that has not asked anything yet."""
    address = Address(
        url=vault.address,
        namespace=vault.namespace,
        ca_file=vault.ca_file,
        server_name=vault.server_name,
        client_cert_file=vault.client_cert_file,
        client_key_file=vault.client_key_file,
        insecure=vault.insecure,
        proxy=_proxy(vault.address, environ),
    )
    return Client(Door(address), _method(vault.auth, environ), post, clock)


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


def _method(auth: TokenAuth | AppRole, environ: Mapping[str, str]) -> Method:
    if isinstance(auth, TokenAuth):
        return TokenLogin(auth.token_file, environ)
    expected = auth.wrapped_path or f"auth/{auth.mount}/role/*/secret-id"
    return AppRoleLogin(
        mount=auth.mount,
        role_id=auth.role_id,
        role_id_file=auth.role_id_file,
        secret_id_file=auth.secret_id_file,
        wrapped_path=expected if auth.wrapped else None,
        remove=auth.remove_secret_id_file_after_reading,
    )
