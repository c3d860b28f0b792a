"""The detectors of detect-secrets, if it is installed: those that know a provider's keys.

Its detectors of keywords, passwords in URLs and entropy are not used: lessee has its own, which know names, places and
placeholders. Its command line and its baseline are not used either.
https://github.com/Yelp/detect-secrets (Apache-2.0; its last release, 1.5.0, is of May 2024)
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Protocol

from lessee.ops.scan.policy.candidates import Candidate

_PLUGINS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "ibm_cloud_iam": "IbmCloudIamDetector",
    "ibm_cos_hmac": "IbmCosHmacDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}


class _Plugin(Protocol):
    secret_type: str

    def analyze_string(self, string: str) -> Iterator[str]: ...


@cache
def _plugins() -> Sequence[_Plugin]:
    """The plugins that this version of detect-secrets has; none if it is not installed."""
    found: list[_Plugin] = []
    for module, name in _PLUGINS.items():
        try:
            plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        except (ImportError, AttributeError):
            continue
        found.append(plugin)
    return found


def is_available() -> bool:
    """Whether detect-secrets is installed."""
    return bool(_plugins())


def search(text: str) -> Iterator[Candidate]:
    """The keys that a plugin finds in a text, line by line. Their names are the plugins' names of the keys."""
    if not _plugins():
        return
    for line in _LINE.finditer(text):
        for plugin in _plugins():
            for value in plugin.analyze_string(line[0]):
                if value and (at := text.find(value, *line.span())) >= 0:
                    yield Candidate(plugin.secret_type, value, at, at + len(value))


_LINE = re.compile(r"^(?=[^\n]*[A-Za-z0-9_-]{10})[^\n]{10,4096}$", re.MULTILINE)
"""Lines with a word that is as long as a key. The patterns of some plugins take the square of a line's length."""
