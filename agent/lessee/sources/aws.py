"""Reads AWS Secrets Manager and SSM Parameter Store by botocore, with the credentials that its own chain finds."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lessee.config.grammar.sources import ParameterStoreSource, SecretsManagerSource
from lessee.core.failures import Kind
from lessee.host.aws_client import bounded_resolver, limit_answers
from lessee.host.optional_dependencies import library
from lessee.sources.reader import ReadError, bounded

EXTRA = "aws"
VALUE = "value"
"""The key of what is no JSON object."""
MAX_NAMES = 10_000
"""In one folder."""
_TIMEOUTS = (2.0, 5.0)
_SECONDS = 10.0
LISTING_TIMEOUT = 25.0
"""Seconds for all pages of a list, which a server could continue without an end. The machine waits longer."""
_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound"})
_BUSY = frozenset({"ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "Throttling"})
_FIRST_FAULT = 500
_MAX_CODE = 60

Settings = SecretsManagerSource | ParameterStoreSource


class _Service:
    """One service of AWS. Its client is made for the first request, and all threads use it."""

    name: str
    action: str
    """What a policy must grant."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._lock = threading.Lock()
        self._made: Any = None
        self._unanswered: str | None = None
        """A path whose last request had no answer."""

    def check(self) -> None:
        """Raise ReadError while a path that had no answer still has none."""
        if (path := self._unanswered) is not None:
            try:
                self.read(path)
            except ReadError as exc:
                if exc.failure.kind is Kind.UNAVAILABLE:
                    raise

    def read(self, path: str) -> Mapping[str, object]:
        """The keys and values of one secret or parameter."""
        answer = self._ask(path, *self._request(path))
        self._unanswered = None
        return bounded(self._data(answer))

    def names(self, folder: str) -> Sequence[str]:
        """The secrets directly below a path, of all pages of the list."""
        found: set[str] = set()
        method, arguments = self._listing(folder)
        token: str | None = None
        ends_at = time.monotonic() + LISTING_TIMEOUT
        while time.monotonic() < ends_at:
            answer = self._ask(folder, method, arguments | ({"NextToken": token} if token else {}))
            found |= {name for full in self._names(answer) if (name := full.removeprefix(folder)) and "/" not in name}
            token = answer.get("NextToken")
            if len(found) > MAX_NAMES:
                raise ReadError(Kind.INVALID, f"there are more than {MAX_NAMES:,} in {folder or 'the service'}")
            if not token:
                return sorted(found)
        raise ReadError(Kind.PATH_ERROR, f"the list of {folder or 'all names'} takes longer than {LISTING_TIMEOUT:g} s")

    def _request(self, path: str) -> tuple[str, Mapping[str, Any]]:
        raise NotImplementedError

    def _data(self, answer: Mapping[str, Any]) -> Mapping[str, object]:
        raise NotImplementedError

    def _listing(self, folder: str) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def _names(self, answer: Mapping[str, Any]) -> Sequence[str]:
        raise NotImplementedError

    def _ask(self, path: str, method: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        errors = library("botocore.exceptions", EXTRA)
        try:
            answer: Mapping[str, Any] = getattr(self._client(), method)(**arguments)
        except errors.ClientError as exc:
            raise self._refusal(exc.response) from None
        except (errors.ConnectionError, errors.HTTPClientError) as exc:
            self._unanswered = path
            text = f"{self.name} does not answer ({type(exc).__name__})"
            raise ReadError(Kind.UNAVAILABLE, text) from None
        except errors.BotoCoreError as exc:
            # Its texts may name an account, and hold what a file contains.
            self._unanswered = path
            self._forget_credentials()
            text = (
                f"AWS's credentials or settings cannot be used ({type(exc).__name__}); check the file and the profile"
            )
            raise ReadError(Kind.UNAVAILABLE, text) from None
        else:
            return answer

    def _refusal(self, response: Mapping[str, Any]) -> ReadError:
        code = str(response.get("Error", {}).get("Code", ""))[:_MAX_CODE]
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = code if code.isidentifier() else "unknown"
        if code in _MISSING:
            return ReadError(Kind.NOT_FOUND, "it does not exist")
        if code in _BUSY:
            return ReadError(Kind.RATE_LIMITED, f"{self.name} limits the rate; set a longer refresh_interval")
        if status >= _FIRST_FAULT:
            return ReadError(Kind.PATH_ERROR, f"{self.name} has an error ({code})")
        self._forget_credentials()
        return ReadError(Kind.INVALID, f"{self.name} refuses it ({code}); the role needs {self.action}")

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def _forget_credentials(self) -> None:
        """Make another client for the next request: botocore reads a file with credentials once."""
        with self._lock:
            self._made = None

    def _make_client(self) -> Any:
        settings = self._settings
        session = library("botocore.session", EXTRA).Session(profile=settings.profile)
        config = library("botocore.config", EXTRA).Config(
            connect_timeout=_TIMEOUTS[0], read_timeout=_TIMEOUTS[1], retries={"total_max_attempts": 1}
        )
        if settings.credentials_file is not None:
            session.set_config_variable("credentials_file", settings.credentials_file)
        resolver = session.get_component("credential_provider")
        bounded_resolver(resolver, self._environ, settings.credentials_file, extra=EXTRA)
        client = session.create_client(
            self.service, region_name=settings.region, endpoint_url=settings.endpoint, config=config
        )
        return limit_answers(client, seconds=_SECONDS, timeouts=_TIMEOUTS, extra=EXTRA)

    service: str


class SecretsManager(_Service):
    """AWS Secrets Manager."""

    name, service, action = "AWS Secrets Manager", "secretsmanager", "secretsmanager:GetSecretValue"

    def _request(self, path: str) -> tuple[str, Mapping[str, Any]]:
        return "get_secret_value", {"SecretId": path}

    def _data(self, answer: Mapping[str, Any]) -> Mapping[str, object]:
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise ReadError(Kind.INVALID, "the secret is binary; store it as text")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        return data if isinstance(data, dict) else {VALUE: text}

    def _listing(self, folder: str) -> tuple[str, dict[str, Any]]:
        filters = [{"Key": "name", "Values": [folder]}] if folder else []
        return "list_secrets", {"Filters": filters, "MaxResults": 100}

    def _names(self, answer: Mapping[str, Any]) -> Sequence[str]:
        return [str(one.get("Name", "")) for one in answer.get("SecretList", ())]


class ParameterStore(_Service):
    """SSM Parameter Store. The name of a parameter in folders begins with a slash, and a path here does not."""

    name, service, action = "SSM Parameter Store", "ssm", "ssm:GetParameter"

    def _request(self, path: str) -> tuple[str, Mapping[str, Any]]:
        return "get_parameter", {"Name": f"/{path}" if "/" in path else path, "WithDecryption": True}

    def _data(self, answer: Mapping[str, Any]) -> Mapping[str, object]:
        value = answer.get("Parameter", {}).get("Value")
        if not isinstance(value, str):
            raise ReadError(Kind.INVALID, "the answer has no value")
        return {VALUE: value}

    def _listing(self, folder: str) -> tuple[str, dict[str, Any]]:
        # It returns the values too, which are not looked at: without decryption, the secret ones are ciphertexts.
        return "get_parameters_by_path", {"Path": f"/{folder}", "Recursive": False, "MaxResults": 10}

    def _names(self, answer: Mapping[str, Any]) -> Sequence[str]:
        return [str(one.get("Name", "")).removeprefix("/") for one in answer.get("Parameters", ())]


def reader_of_service(settings: Settings, environ: Mapping[str, str]) -> _Service:
    """What reads this service."""
    match settings:
        case SecretsManagerSource():
            return SecretsManager(settings, environ)
        case ParameterStoreSource():
            return ParameterStore(settings, environ)
