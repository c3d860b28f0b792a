"""Providers of API keys: the request that verifies a key, and what the response says about it."""

from collections.abc import Mapping
from enum import StrEnum

from lessee.core.immutable import ImmutableStruct


class Verdict(StrEnum):
    """What a provider's response says about a key."""

    VALID = "valid"
    REJECTED = "rejected"
    LIMITED = "limited"
    UNKNOWN = "unknown"
    """Nothing: the provider has a failure, or another server answers."""


class Provider(ImmutableStruct, frozen=True):
    """A GET request that needs a valid key. The key is sent in a header, never in the URL."""

    url: str
    header: str = "Authorization"
    prefix: str = "Bearer "
    other_headers: tuple[tuple[str, str], ...] = ()
    rejected_status: frozenset[int] = frozenset({401, 403})

    def headers(self, key: str) -> Mapping[str, str]:
        """All headers of the request."""
        return {"Accept": "application/json", **dict(self.other_headers), self.header: f"{self.prefix}{key}"}

    def verdict(self, status: int) -> Verdict:
        """What a response with this status says about the key."""
        if status in self.rejected_status:
            return Verdict.REJECTED
        if status in _LIMITED:
            return Verdict.LIMITED
        return Verdict.VALID if status in _SUCCESS else Verdict.UNKNOWN


_SUCCESS = range(200, 300)
_LIMITED = frozenset({402, 429})  # The key is valid, but has no credit, or is used too often.

PROVIDERS: Mapping[str, Provider] = {
    # https://openrouter.ai/docs/api/api-reference/api-keys/get-current-key; its list of models needs no key
    "openrouter": Provider("https://openrouter.ai/api/v1/key"),
    # https://platform.openai.com/docs/api-reference/models/list
    "openai": Provider("https://api.openai.com/v1/models"),
    # https://platform.claude.com/docs/en/api/models-list
    "anthropic": Provider(
        "https://api.anthropic.com/v1/models?limit=1",
        header="x-api-key",
        prefix="",
        other_headers=(("anthropic-version", "2023-06-01"),),
    ),
    # https://api-dashboard.search.brave.com/documentation/guides/authentication; a search is the cheapest request, and
    # an unknown token is rejected as an invalid parameter
    "brave": Provider(
        "https://api.search.brave.com/res/v1/web/search?q=ping&count=1",
        header="X-Subscription-Token",
        prefix="",
        other_headers=(("Cache-Control", "no-cache"),),
        rejected_status=frozenset({401, 403, 422}),
    ),
    # https://docs.github.com/rest/rate-limit: it does not count against the limit
    "github": Provider("https://api.github.com/rate_limit", other_headers=(("X-GitHub-Api-Version", "2022-11-28"),)),
    # https://docs.mistral.ai/api/endpoint/models
    "mistral": Provider("https://api.mistral.ai/v1/models"),
    # https://huggingface.co/docs/hub/api
    "huggingface": Provider("https://huggingface.co/api/whoami-v2"),
}
"""The providers by name."""
