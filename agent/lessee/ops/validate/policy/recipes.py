"""How a provider of an API tells whether a key of its is valid: one request that costs nothing or next to it."""

from collections.abc import Mapping
from enum import StrEnum

from lessee.core.immutable import Record


class Verdict(StrEnum):
    """What a provider's answer says of a key."""

    VALID = "valid"
    REFUSED = "refused"
    LIMITED = "limited"
    UNKNOWN = "unknown"
    """The answer says nothing of the key: the provider is in trouble, or something else answers."""


class Recipe(Record, frozen=True):
    """A GET that is let in with a valid key alone. The key goes into a header, never into the URL."""

    url: str
    header: str = "Authorization"
    prefix: str = "Bearer "
    others: tuple[tuple[str, str], ...] = ()
    """Headers beside."""
    refused: frozenset[int] = frozenset({401, 403})

    def headers(self, key: str) -> Mapping[str, str]:
        """All headers of the request."""
        return {"Accept": "application/json", **dict(self.others), self.header: f"{self.prefix}{key}"}

    def verdict(self, status: int) -> Verdict:
        """What an answer with this status says of the key."""
        if status in self.refused:
            return Verdict.REFUSED
        if status in _LIMITED:
            return Verdict.LIMITED
        return Verdict.VALID if status in _GOOD else Verdict.UNKNOWN


_GOOD = range(200, 300)
_LIMITED = frozenset({402, 429})  # A key without credit is as valid as one that is asked too often.

RECIPES: Mapping[str, Recipe] = {
    # https://openrouter.ai/docs/api/api-reference/api-keys/get-current-key; its list of models is open to everybody
    "openrouter": Recipe("https://openrouter.ai/api/v1/key"),
    # https://platform.openai.com/docs/api-reference/models/list
    "openai": Recipe("https://api.openai.com/v1/models"),
    # https://platform.claude.com/docs/en/api/models-list
    "anthropic": Recipe(
        "https://api.anthropic.com/v1/models?limit=1",
        header="x-api-key",
        prefix="",
        others=(("anthropic-version", "2023-06-01"),),
    ),
    # https://api-dashboard.search.brave.com/documentation/guides/authentication; there is no request for less than a
    # search, and a token that it does not know it calls a parameter that it cannot process
    "brave": Recipe(
        "https://api.search.brave.com/res/v1/web/search?q=ping&count=1",
        header="X-Subscription-Token",
        prefix="",
        others=(("Cache-Control", "no-cache"),),
        refused=frozenset({401, 403, 422}),
    ),
    # https://docs.github.com/rest/rate-limit: it does not count against the limit
    "github": Recipe("https://api.github.com/rate_limit", others=(("X-GitHub-Api-Version", "2022-11-28"),)),
    # https://docs.mistral.ai/api/endpoint/models
    "mistral": Recipe("https://api.mistral.ai/v1/models"),
    # https://huggingface.co/docs/hub/api
    "huggingface": Recipe("https://huggingface.co/api/whoami-v2"),
}
"""By the name of the provider."""
