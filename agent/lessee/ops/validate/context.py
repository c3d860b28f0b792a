"""The environment that is validated, and the connections to it that all checks share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from lessee.config import Config, Vault
from lessee.config.grammar.validate import FrontendCheck
from lessee.config.grammar.vault import AppRole, TokenAuth
from lessee.core.errors import AgentUnavailableError, DeniedError, LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.core.paths import Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.core.sensitive.leaks import SHORTEST, LeakDetector
from lessee.core.sensitive.names import SecretField, fields, is_sensitive
from lessee.host.clock import boot_time
from lessee.host.project import Project, load
from lessee.ops.validate import inventory
from lessee.ops.validate.checks import CachedCall, CheckSkippedError
from lessee.ops.validate.inventory import Inventory
from lessee.ops.validate.policy.expectations import Expectation, expectations, path_of
from lessee.ops.validate.policy.exposure import public_fields
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.results import Result, listed
from lessee.ops.validate.policy.variables import is_credential
from lessee.rendering.app_templates import path_scope_of
from lessee.status.client import known_format, request_status
from lessee.vault.admin import AdminClient, admin_client
from lessee.vault.client_factory import address_of
from lessee.vault.health import Health, check_health

_SHARE = 0.6
"""Of a check's time: Vault's health and its secrets are known before the checks that need them run out of time."""


class ValidationContext:
    """What checks share; its methods are safe in any thread. Close it."""

    def __init__(self, config: Config, path: Path, environ: Mapping[str, str], *, now: float) -> None:
        """`path`: of the configuration file. `now`: seconds since 1970."""
        self.config = config
        self.path = path
        self.environ = environ
        self.now = now
        self.timeout = config.validate.timeout
        """Seconds that each check may take."""
        self.scope = path_scope_of(config)
        self._clients = ExitStack()
        self._health = CachedCall(lambda: check_health(address_of(config.vault, environ), self.timeout * _SHARE / 2))
        self._client = CachedCall(partial(self._open, None, config.vault))
        self._identity = CachedCall(partial(self._log_in, config.vault))
        self._logins: dict[Vault, CachedCall[AdminClient]] = {}
        self._kv_version = CachedCall(self._read_kv_version)
        self._secrets: dict[Ref, CachedCall[Mapping[str, Any] | None]] = {}
        self._project = CachedCall(lambda: load(path, environ, for_child=True))
        self._inventory = CachedCall(self._read_inventory)
        self._detector = CachedCall(self._create_detector)
        self._agent_status = CachedCall(self._request_agent_status)
        self._public_fields = CachedCall(self._find_public_fields)
        self._expected = CachedCall(self._find_expected)

    def health(self) -> tuple[Health, ...]:
        """The health of each of Vault's addresses."""
        return self._health()

    def client(self) -> AdminClient:
        """The client that reads secrets, with $VAULT_TOKEN, or else with the configured login.

        Raises CheckSkippedError where it cannot connect or log in; the check `login` reports the cause.
        """
        return _or_skip(self._client)

    def connect(self) -> AdminClient:
        """The same client. Raises DeniedError or VaultUnreachableError with the cause."""
        try:
            return self._client()
        except CheckSkippedError as exc:
            raise VaultUnreachableError(str(exc), where=self.config.vault.address) from None

    def identity(self) -> AdminClient:
        """The client with the configured login, as the agent has it. Raises as `client` does."""
        return _or_skip(self._identity)

    def log_in(self) -> None:
        """Log in with both clients.

        Raises CheckSkippedError where Vault is unavailable, and DeniedError or VaultUnreachableError where a login
        fails.
        """
        self._identity()
        self._client()

    def login_of(self, vault: Vault) -> AdminClient:
        """The client with the login of an app's `vault` block.

        Raises CheckSkippedError where the login cannot be tried, DeniedError or VaultUnreachableError.
        """
        if vault == self.config.vault:
            return self.identity()
        return self._logins.setdefault(vault, CachedCall(partial(self._log_in, vault)))()

    def project(self) -> Project:
        """The configuration with its templates. Raises TemplateError or ConfigError."""
        return self._project()

    def references(self) -> frozenset[Need]:
        """Everything that templates read. Raises as `project` does."""
        apps = self.project().compiled_apps.values()
        return frozenset[Need]().union(*(compiled_app.references for compiled_app in apps))

    def expected(self) -> Mapping[str, Expectation]:
        """The secrets that must exist, by their paths in templates; without those of templates that are invalid."""
        return self._expected()

    def inventory(self) -> Inventory:
        """The secrets of the environment. Raises as `secret` does."""
        return self._inventory()

    def secrets(self) -> Mapping[str, Mapping[str, Any]]:
        """The fields of the secrets that were read, by their paths in templates. Raises as `secret` does."""
        found = ((path_of(ref, self.scope), secret.data) for ref, secret in self.inventory().secrets.items())
        return {path: data for path, data in found if path is not None}

    def missing(self, component: str) -> list[str]:
        """The secrets of a component that must exist, and do not. Raises as `secret` does."""
        inventory = self.inventory()
        absent = inventory.missing | inventory.deleted.keys()
        return [
            path for path in self.expected() if component_of(path) == component and self.scope.secret(path) in absent
        ]

    def overlooked(self, folder: str) -> str:
        """Why secrets in a folder of the environment may have been overlooked; empty where none was."""
        inventory, where = self.inventory(), f"{self.scope.mount}/{self.scope.prefix}{folder}/"
        denied = [path for path in inventory.denied if path.startswith(where)]
        if denied:
            return f"the token may not read {listed(denied)}"
        if inventory.unread:
            return f"not all secrets in {where} were read: there are more, or the time was too short"
        return (
            "" if inventory.listed else f"the token may not list {where}: others than the configuration names may exist"
        )

    def detector(self) -> LeakDetector:
        """A detector of their values, without those of `public_fields`. Raises as `secret` does."""
        return self._detector()

    def values(self) -> Iterator[tuple[SecretField, str]]:
        """All secret values with their fields, without those of `public_fields`. Raises as `secret` does."""
        public = self.public_fields()
        return ((field, value) for field, value in self.inventory().values() if field not in public)

    def short_credentials(self) -> list[SecretField]:
        """The credentials among them that are too short to be searched for or compared."""
        return [field for field, value in self.values() if len(value.strip()) < SHORTEST and is_sensitive(field.key)]

    def public_fields(self) -> frozenset[SecretField]:
        """The fields that every visitor may get: what apps list as public, and variables that are not credentials."""
        return self._public_fields()

    def _find_public_fields(self) -> frozenset[SecretField]:
        prefixes = (self.config.validate.frontend or FrontendCheck()).public_prefixes
        inventory = self.inventory().secrets.items()
        variables = (SecretField(str(ref), key) for ref, secret in inventory for key, _ in fields(secret.data))
        public = (field for field in variables if field.key.startswith(prefixes) and not is_credential(field.key))
        return self.listed_fields() | frozenset(public)

    def listed_fields(self) -> frozenset[SecretField]:
        """The fields that apps list as public."""
        try:
            compiled_apps = self.project().compiled_apps.values()
        except LesseeError:  # An app's own checks report it.
            return frozenset()
        return frozenset(
            field for compiled_app in compiled_apps for _, _, field in public_fields(compiled_app, self.environ)
        )

    def secret(self, path: str) -> Mapping[str, Any] | None:
        """The fields of a secret of the environment, by its path in templates; None where it does not exist.

        Each is read once. Raises CheckSkippedError where Vault is unavailable, and DeniedError or
        VaultUnreachableError for this path.
        """
        ref = self.scope.secret(path)
        return self._secrets.setdefault(ref, CachedCall(partial(self._read, ref)))()

    def kv_version(self) -> int:
        """The version of the secrets' mount, 1 or 2. Raises as `secret` does."""
        return self._kv_version()

    def other_folders(self) -> Mapping[str, str]:
        """The folder of secrets of each other environment. Raises CheckSkippedError where it is not in the prefix."""
        own, parts = self.config.environment, self.scope.prefix.split("/")
        if own is None or own not in parts:
            raise CheckSkippedError("the prefix of secrets does not contain the environment's name")
        others = sorted(self.config.foreign_environments)
        return {other: "/".join(other if part == own else part for part in parts) for other in others}

    def agent_results(self, evaluate: Callable[[Mapping[str, Any]], Iterable[Result]]) -> list[Result]:
        """The results of an agent's status. Raises CheckSkippedError where none answers on this machine."""
        socket = Path(self.config.status.socket)
        status = self._agent_status()
        try:
            with known_format(socket):
                return list(evaluate(status))
        except AgentUnavailableError as exc:
            raise CheckSkippedError(f"{exc.what} ({socket})") from None

    def close(self) -> None:
        """Revoke the tokens of its logins."""
        closing = Thread(target=self._clients.close, daemon=True)
        closing.start()
        closing.join(self.timeout)  # Otherwise they expire.

    def _open(self, token: str | None, vault: Vault) -> AdminClient:
        available = [health for health in self.health() if not health.error and not health.sealed]
        if not available and vault.address == self.config.vault.address:
            raise CheckSkippedError("Vault is unavailable")
        client = self._clients.enter_context(admin_client(vault, self.environ, boot_time, token=token))
        try:
            client.look_up_token(boot_time)
        except VaultRequestError as exc:
            if exc.kind is not Kind.UNSUPPORTED:  # Otherwise it is valid, but may not look itself up.
                raise
        return client

    def _log_in(self, vault: Vault) -> AdminClient:
        auth = vault.auth
        is_operators = isinstance(auth, TokenAuth) and auth.token_file is None
        if vault == self.config.vault and (is_operators or not self.environ.get("VAULT_TOKEN", "").strip()):
            return self._client()
        if isinstance(auth, AppRole) and auth.wrapped:
            raise CheckSkippedError("a login would use up the agent's wrapping token")
        return self._open("", vault)

    def _request_agent_status(self) -> Mapping[str, Any]:
        socket = Path(self.config.status.socket)
        try:
            status: Mapping[str, Any] = request_status(socket, "GET", "/status.json", timeout=self.timeout / 2)
        except AgentUnavailableError:
            raise CheckSkippedError(f"no agent answers at {socket}") from None
        return status

    def _read_kv_version(self) -> int:
        return self.client().kv_version(self.scope.mount)

    def _read_inventory(self) -> Inventory:
        root = Folder(self.scope.mount, self.scope.prefix)
        named = self.named_secrets()
        return inventory.read_inventory(self.client(), self.kv_version(), root, named, self.timeout * _SHARE)

    def _create_detector(self) -> LeakDetector:
        return LeakDetector(self.values())

    def _find_expected(self) -> Mapping[str, Expectation]:
        try:
            compiled_apps = self.project().compiled_apps
        except LesseeError:  # An app's own checks report it.
            compiled_apps = {}
        return expectations(self.config, self.scope, compiled_apps)

    def named_secrets(self) -> set[Ref]:
        """The secrets that templates and the operator's blocks name."""
        validate = self.config.validate
        blocks = [
            validate.database,
            validate.storage,
            validate.mcp_cache,
            validate.mcp_auth,
            *validate.api_keys.values(),
        ]
        paths = {block.secret for block in blocks if block is not None}
        paths |= {validate.mcp_cache.redis} if validate.mcp_cache is not None else set()
        paths |= set(self.expected())
        refs = set()
        for path in paths - {None}:
            with suppress(DeniedError):  # The check of this secret reports it.
                refs.add(self.scope.secret(str(path)))
        try:
            references = self.references()
        except LesseeError:
            references = frozenset()  # An app's own checks report it.
        own = [need for need in references if isinstance(need, Ref) and not need.identity]
        return refs | {Ref(need.mount, need.path) for need in own if need.mount == self.scope.mount}

    def _read(self, ref: Ref) -> Mapping[str, Any] | None:
        client, version = self.client(), self.kv_version()
        found = client.read_secret(ref, version)
        return found.data if isinstance(found, Secret) else None


def _or_skip(client: CachedCall[AdminClient]) -> AdminClient:
    try:
        return client()
    except LesseeError as exc:
        raise CheckSkippedError(f"no access to Vault: {exc.what}") from None
