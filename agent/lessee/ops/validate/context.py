"""The environment that is looked at, and the ways into it that all checks share."""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from lessee.config import Config, Vault
from lessee.config.grammar.vault import AppRole, TokenAuth
from lessee.core.errors import DeniedError, LesseeError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.core.paths import Folder, Need, Ref
from lessee.core.sensitive.leaks import LeakDetector
from lessee.core.secrets import Secret
from lessee.core.sensitive.names import SecretField
from lessee.host.clock import boot_time
from lessee.host.project import Project, load
from lessee.ops.validate import inventory
from lessee.ops.validate.checks import NotLookedError
from lessee.ops.validate.inventory import Inventory
from lessee.ops.validate.once import Once
from lessee.ops.validate.policy.exposure import listed
from lessee.rendering.app_templates import path_scope_of
from lessee.vault.admin import AdminClient, admin_client
from lessee.vault.client_factory import address_of
from lessee.vault.health import Health, check_health

_SHARE = 0.6
"""Of a check's time: whether Vault answers and what it holds is known before whoever waits for that is out of time."""


class Subject:
    """What a check may use, from any thread. Close it."""

    def __init__(self, config: Config, path: Path, environ: Mapping[str, str], *, now: float) -> None:
        """`path`: the configuration's. `now`: seconds since 1970."""
        self.config = config
        self.path = path
        self.environ = environ
        self.now = now
        self.timeout = config.validate.timeout
        """Seconds that each check may take."""
        self.scope = path_scope_of(config)
        self._ways = ExitStack()
        self._health = Once(lambda: check_health(address_of(config.vault, environ), self.timeout * _SHARE / 2))
        self._client = Once(partial(self._open, None, config.vault))
        self._identity = Once(partial(self._log_in, config.vault))
        self._logins: dict[Vault, Once[AdminClient]] = {}
        self._kv_version = Once(self._look_at_mount)
        self._secrets: dict[Ref, Once[Mapping[str, Any] | None]] = {}
        self._project = Once(lambda: load(path, environ, for_child=True))
        self._inventory = Once(self._take_inventory)
        self._detector = Once(lambda: LeakDetector(one for one in self.inventory().values() if one[0] not in self.public()))

    def health(self) -> tuple[Health, ...]:
        """What each of Vault's addresses says of itself."""
        return self._health()

    def client(self) -> AdminClient:
        """The way to Vault that secrets are read by: $VAULT_TOKEN, else the configured login.

        Raises NotLookedError where there is none: what is wrong with it, the check of the login says.
        """
        return _way(self._client)

    def reach(self) -> AdminClient:
        """As above, and what is wrong with it is told: raises DeniedError or VaultUnreachableError."""
        try:
            return self._client()
        except NotLookedError as exc:
            raise VaultUnreachableError(str(exc), where=self.config.vault.address) from None

    def identity(self) -> AdminClient:
        """By the configured login alone, as an agent has it. Raises as `operator` does."""
        return _way(self._identity)

    def log_in(self) -> None:
        """Raises DeniedError or VaultUnreachableError where a way fails, and NotLookedError where Vault does not serve."""
        self._identity()
        self._client()

    def login_of(self, vault: Vault) -> AdminClient:
        """As an app with this block logs in. Raises NotLookedError where that is not tried, DeniedError or VaultUnreachableError."""
        if vault == self.config.vault:
            return self.identity()
        return self._logins.setdefault(vault, Once(partial(self._log_in, vault)))()

    def project(self) -> Project:
        """The configuration with its templates. Raises TemplateError or ConfigError."""
        return self._project()

    def needs(self) -> frozenset[Need]:
        """All that templates read. Raises as `project` does."""
        return frozenset[Need]().union(*(recipe.needs for recipe in self.project().recipes.values()))

    def inventory(self) -> Inventory:
        """The secrets of the environment. Raises as `secret` does."""
        return self._inventory()

    def detector(self) -> LeakDetector:
        """What finds their values elsewhere, but for those that are `public`. Raises as `secret` does."""
        return self._detector()

    def public(self) -> frozenset[SecretField]:
        """Where the values lie that apps list as public."""
        try:
            recipes = self.project().recipes.values()
        except LesseeError:  # An app's own checks tell of it.
            return frozenset()
        return frozenset(place for recipe in recipes for _, _, place in listed(recipe, self.environ))

    def secret(self, path: str) -> Mapping[str, Any] | None:
        """The fields of a secret of the environment, by the path that a template names; None where there is none.

        Each is read once. Raises NotLookedError where Vault does not serve, DeniedError or VaultUnreachableError for this path.
        """
        ref = self.scope.secret(path)
        return self._secrets.setdefault(ref, Once(partial(self._read, ref)))()

    def kv_version(self) -> int:
        """Of the secrets' mount: 1 or 2. Raises as `secret` does."""
        return self._kv_version()

    def other_folders(self) -> Mapping[str, str]:
        """Of each other environment the folder of its secrets. Raises NotLookedError where the prefix names none."""
        own, parts = self.config.environment, self.scope.prefix.split("/")
        if own is None or own not in parts:
            raise NotLookedError("the secrets' prefix holds no environment's name")
        others = sorted(self.config.foreign_environments)
        return {other: "/".join(other if part == own else part for part in parts) for other in others}

    def close(self) -> None:
        """Revoke the tokens of logins made here."""
        closing = Thread(target=self._ways.close, daemon=True)
        closing.start()
        closing.join(self.timeout)  # They end by themselves.

    def _open(self, token: str | None, vault: Vault) -> AdminClient:
        served = [one for one in self.health() if not one.error and not one.sealed]
        if not served and vault.address == self.config.vault.address:
            raise NotLookedError("Vault does not serve")
        opened = self._ways.enter_context(admin_client(vault, self.environ, boot_time, token=token))
        try:
            opened.look_up_token(boot_time)
        except VaultRequestError as exc:
            if exc.kind is not Kind.UNSUPPORTED:  # It is valid, and may not look itself up.
                raise
        return opened

    def _log_in(self, vault: Vault) -> AdminClient:
        auth = vault.auth
        theirs = isinstance(auth, TokenAuth) and auth.token_file is None
        if vault == self.config.vault and (theirs or not self.environ.get("VAULT_TOKEN", "").strip()):
            return self._client()
        if isinstance(auth, AppRole) and auth.wrapped:
            raise NotLookedError("a login would use up the agent's wrapping token")
        return self._open("", vault)

    def _look_at_mount(self) -> int:
        return self.client().kv_version(self.scope.mount)

    def _take_inventory(self) -> Inventory:
        root = Folder(self.scope.mount, self.scope.prefix)
        return inventory.take(self.client(), self.kv_version(), root, self._named(), self.timeout * _SHARE)

    def _named(self) -> set[Ref]:
        """Those that templates read, and that the operator's blocks name."""
        said = self.config.validate
        blocks = [said.database, said.storage, said.mcp_cache, said.mcp_auth, *said.api_keys.values()]
        named = {block.secret for block in blocks if block is not None}
        named |= {said.mcp_cache.redis} if said.mcp_cache is not None else set()
        named |= {one.secret for one in self.config.rotation.values()}
        refs = set()
        for path in named - {None}:
            with suppress(DeniedError):  # The check that wants it tells of it.
                refs.add(self.scope.secret(str(path)))
        try:
            needs = self.needs()
        except LesseeError:
            needs = frozenset()  # An app's own checks tell of it.
        return refs | {Ref(need.mount, need.path) for need in needs if isinstance(need, Ref)}

    def _read(self, ref: Ref) -> Mapping[str, Any] | None:
        client, version = self.client(), self.kv_version()
        found = client.read_secret(ref, version)
        return found.data if isinstance(found, Secret) else None


def _way(once: Once[AdminClient]) -> AdminClient:
    try:
        return once()
    except LesseeError as exc:
        raise NotLookedError(f"Vault could not be asked: {exc.what}") from None
