"""API keys are found by the names of secrets and keys, and sent only to the provider that they belong to."""

import pytest

from lessee.ops.validate.policy.api_keys import find_api_keys, provider_of


def found(**secrets):
    """The keys in secrets, whose paths have `__` in place of a slash and `_` in place of a dash."""
    paths = {path.replace("__", "/").replace("_", "-"): data for path, data in secrets.items()}
    return [(one.path, one.key, one.provider, one.elsewhere) for one in find_api_keys(paths)]


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("openrouter", "openrouter"),
        ("brave-search", "brave"),
        ("BRAVE_API_KEY", "brave"),
        ("openaiApiKey", "openai"),
        ("github_token", "github"),
        ("hugging-face", "huggingface"),
        ("HF_TOKEN", "huggingface"),
        ("claude", "anthropic"),
        ("github_webhook_secret", None),
        ("openrouter-admin", None),
        ("api_key", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_its_name_alone(name, provider):
    assert provider_of(name) == provider


def test_a_secret_in_api_keys_has_a_key():
    assert found(api_keys__openai={"api_key": "a", "note": "b"}) == [("api-keys/openai", "api_key", "openai", "")]
    assert found(api_keys__openai={"token": "a"}) == [("api-keys/openai", "token", "openai", "")]
    assert found(api_keys__mine={"api_key": "a"}) == [("api-keys/mine", "api_key", None, "")]
    assert found(api_keys__openai={"note": "a"}) == [("api-keys/openai", None, "openai", "")]
    assert found(api_keys__openai={"token": "a", "secret": "b"}) == [("api-keys/openai", None, "openai", "")]


def test_previous_keys_are_not_checked():
    data = {"api_key": "a", "previous_api_key": "b", "openai_previous_key": "c", "rotation_count": 8}
    assert found(api_keys__openai=data) == [("api-keys/openai", "api_key", "openai", "")]


def test_a_key_named_after_its_provider_is_found_in_any_secret_but_the_frontend_s():
    data = {"OPENAI_API_KEY": "a", "BRAVE_API_KEY": "b", "password": "c"}
    expected = [
        ("applications/simba", "OPENAI_API_KEY", "openai", ""),
        ("applications/simba", "BRAVE_API_KEY", "brave", ""),
    ]
    assert found(applications__simba=data) == expected
    assert found(frontend__app=data, database__postgres={"password": "c"}) == []


@pytest.mark.parametrize(
    ("address", "elsewhere"),
    [
        ("https://api.github.com", ""),
        ("https://uploads.github.com/x", ""),
        ("", ""),
        (5, ""),
        ("https://git.internal:8443/api", "git.internal"),
        ("git.internal", "git.internal"),
        ("https://notgithub.com", "notgithub.com"),
        ("https://[", "another service"),
        ("https://", "another service"),
    ],
)
def test_a_key_of_another_service_is_not_sent_to_the_provider(address, elsewhere):
    assert found(api_keys__github={"token": "a", "base_url": address}) == [
        ("api-keys/github", "token", "github", elsewhere)
    ]


def test_a_key_is_called_as_its_secret_or_by_its_key():
    secrets = {"api-keys/openai": {"api_key": "a"}, "a/b": {"BRAVE_API_KEY": "b"}, "api-keys/mine": {}}
    assert [one.name for one in find_api_keys(secrets)] == ["b: BRAVE_API_KEY", "mine", "openai"]
