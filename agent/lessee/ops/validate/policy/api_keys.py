"""Finds API keys among an environment's secrets: by the names of secrets in api-keys/, and of keys in any secret."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import fields, is_sensitive
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.providers import PROVIDERS

_GENERIC = frozenset({"api", "apikey", "access", "auth", "key", "search", "secret", "token"})
"""Words that say of a name only that it is a key."""
_ALIASES: Mapping[str, str] = {"claude": "anthropic", "hf": "huggingface"}
_OLD = frozenset({"former", "last", "old", "prev", "previous"})
_ADDRESSES = ("url", "base_url", "api_url", "api_base", "endpoint", "host")
_USUAL = "api_key"


class ApiKey(ImmutableStruct, frozen=True):
    """An API key: `path` is the secret's in templates. `key` None: the secret has none. `provider` None: not known.

    `elsewhere`: the host of another service that the secret names, to which the provider's key belongs.
    """

    path: str
    key: str | None
    provider: str | None = None
    elsewhere: str = ""

    @property
    def name(self) -> str:
        """What the report calls it: the secret's name, or its key where that names the provider."""
        name = self.path.rpartition("/")[2]
        return name if self.key is None or self.provider is None or provider_of(name) else f"{name}: {self.key}"


def find_api_keys(secrets: Mapping[str, Mapping[str, object]]) -> Iterator[ApiKey]:
    """The API keys in secrets, by their paths in templates. A secret in api-keys/ must have one."""
    for path, data in sorted(secrets.items()):
        yield from _in_secret(path, data)


def provider_of(name: str) -> str | None:
    """The provider that a secret or a key is named after, such as `brave-search` or `OPENAI_API_KEY`."""
    words = [word for word in _words(name) if word not in _GENERIC]
    joined = "".join(words)
    known = _ALIASES.get(joined, joined)
    return known if known in PROVIDERS else None


def _in_secret(path: str, data: Mapping[str, object]) -> Iterator[ApiKey]:
    component = component_of(path)
    # A variable of a frontend is for every visitor, which is reported there.
    names = {} if component == "frontend" else {key: provider_of(key) for key, _ in fields(data) if _is_key(key)}
    by_key = {key: provider for key, provider in names.items() if provider is not None}
    if by_key:
        yield from (ApiKey(path, key, provider, _elsewhere(data, provider)) for key, provider in by_key.items())
    elif component == "api_keys":
        own = provider_of(path.rpartition("/")[2])
        yield ApiKey(path, _key_of(names), own, _elsewhere(data, own))


def _is_key(key: str) -> bool:
    return is_sensitive(key) and not _OLD.intersection(_words(key))


def _key_of(names: Mapping[str, object]) -> str | None:
    """The usual key, or else the only one that is named like a credential."""
    if _USUAL in names:
        return _USUAL
    return next(iter(names)) if len(names) == 1 else None


def _elsewhere(data: Mapping[str, object], provider: str | None) -> str:
    """The host that the secret names, unless it is the provider's."""
    if provider is None:
        return ""
    own = urlsplit(PROVIDERS[provider].url).hostname or ""
    for name in _ADDRESSES:
        value = data.get(name)
        if isinstance(value, str) and value.strip():
            host = _host(value.strip())
            if host != own and not f".{host}".endswith(f".{_domain(own)}"):
                return host
    return ""


def _host(value: str) -> str:
    try:
        return urlsplit(value if "://" in value else f"//{value}").hostname or "another service"
    except ValueError:
        return "another service"


def _domain(host: str) -> str:
    return ".".join(host.split(".")[-2:])


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
