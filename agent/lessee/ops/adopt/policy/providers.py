"""The services on the internet whose keys a variable has, by the variable's name."""

import re
from collections.abc import Mapping

KNOWN = {
    "openai": "OPENAI|OPEN_AI",
    "azure-openai": "AZURE_OPENAI|AZURE_OAI",
    "anthropic": "ANTHROPIC|CLAUDE",
    "openrouter": "OPENROUTER",
    "mistral": "MISTRAL|MISTRALAI",
    "groq": "GROQ",
    "gemini": "GEMINI|GOOGLE_GEMINI|GOOGLE_GENERATIVE_AI|GOOGLE_AI",
    "cohere": "COHERE",
    "deepseek": "DEEPSEEK",
    "huggingface": "HF|HUGGINGFACE|HUGGING_FACE|HUGGINGFACEHUB|HUGGING_FACE_HUB",
    "replicate": "REPLICATE",
    "elevenlabs": "ELEVENLABS|ELEVEN_LABS",
    "pinecone": "PINECONE",
    "langsmith": "LANGSMITH|LANGCHAIN",
    "tavily": "TAVILY",
    "serpapi": "SERPAPI|SERP",
    "brave-search": "BRAVE|BRAVE_SEARCH",
    "github": "GITHUB|GH",
    "gitlab": "GITLAB",
    "google": "GOOGLE",
    "facebook": "FACEBOOK",
    "twitter": "TWITTER",
    "discord": "DISCORD",
    "slack": "SLACK",
    "telegram": "TELEGRAM|TG",
    "twilio": "TWILIO",
    "sendgrid": "SENDGRID",
    "mailgun": "MAILGUN",
    "postmark": "POSTMARK",
    "resend": "RESEND",
    "mailchimp": "MAILCHIMP",
    "stripe": "STRIPE",
    "paypal": "PAYPAL",
    "aws": "AWS",
    "azure": "AZURE",
    "cloudflare": "CLOUDFLARE|CF",
    "digitalocean": "DIGITALOCEAN",
    "hetzner": "HETZNER|HCLOUD",
    "sentry": "SENTRY",
    "datadog": "DATADOG",
    "newrelic": "NEW_RELIC|NEWRELIC",
    "maxmind": "MAXMIND|GEOIPUPDATE",
    "algolia": "ALGOLIA",
    "supabase": "SUPABASE",
    "firebase": "FIREBASE|FCM",
    "cloudinary": "CLOUDINARY",
    "tailscale": "TAILSCALE",
    "ngrok": "NGROK",
    "plex": "PLEX",
    "tmdb": "TMDB",
    "unstructured": "UNSTRUCTURED",
}
"""The name of each provider's secret below `api-keys/`, and the words that its variables begin with."""

_END = r"(?P<field>(?:[A-Z0-9]+_)*(?:KEY|APIKEY|TOKEN|SECRET|PAT|KEY_ID))"
_PATTERNS = {name: re.compile(rf"(?:.*_)?(?:{words})_{_END}") for name, words in KNOWN.items()}
_KEY = re.compile(r"(?P<provider>[A-Z][A-Z0-9_]*?)_+(?:API_?KEY|API_?TOKEN)")
_OWN = frozenset(
    {"APP", "APPLICATION", "API", "SERVER", "SERVICE", "ADMIN", "MASTER", "INTERNAL", "MY", "SECRET", "AUTH"}
    | {"PUBLIC", "PRIVATE", "DEFAULT"}
)


def provider_of(name: str) -> tuple[str, str] | None:
    """The provider of a key, and the field of its secret; None: the name tells of no provider."""
    upper = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[.-]", "_", name).upper()
    for provider, pattern in sorted(_PATTERNS.items(), key=lambda item: -len(item[0])):
        if found := pattern.fullmatch(upper):
            return provider, _field(found["field"], _PAIR if provider == "aws" else {})
    if (found := _KEY.fullmatch(upper)) and found["provider"] not in _OWN:
        return found["provider"].strip("_").replace("_", "-").lower(), "api_key"
    return None


def _field(words: str, pair: Mapping[str, str]) -> str:
    return "api_key" if words in {"KEY", "APIKEY"} else pair.get(words, words.lower())


_PAIR = {"ACCESS_KEY": "access_key_id", "SECRET_KEY": "secret_access_key"}
"""Other words for AWS's pair of keys."""
