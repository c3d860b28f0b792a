"""The HTTP proxies that the environment names."""

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy that the environment names for this URL, as curl and Vault's own clients read it."""
    parts = urlsplit(url)
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY")
    proxy = next((environ[name] for name in names if environ.get(name)), None)
    if proxy is None:
        return None
    # Imported only where the environment names a proxy: it takes 20 ms.
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: PLC0415  # typeshed lacks it.

    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if proxy_bypass_environment(parts.hostname or "", {"no": no_proxy}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """The headers by which a proxy knows the user that its URL names."""
    return {"Proxy-Authorization": basic_authentication(proxy)} if proxy.username is not None else {}


def basic_authentication(url: SplitResult) -> str:
    """The value of an Authorization header with the user and password of a URL."""
    credentials = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"
