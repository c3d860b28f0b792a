"""The root credentials of a connection of Vault's database secrets engine, which Vault rotates and keeps to itself."""

from collections.abc import Mapping
from typing import Any

from lessee.config.grammar.rotation import DatabaseRoot as Config
from lessee.core import credentials as wanted
from lessee.core.errors import ConfigError, LesseeError, VaultRequestError
from lessee.core.failures import Kind
from lessee.ops.rotate.kinds import library, new_password, postgres_session
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, SystemRefusedError
from lessee.ops.rotate.kinds.postgres_session import LoginRefusedError, session
from lessee.ops.rotate.policy.connections import user_and_address
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log

_ID = "rotation_id"
_MARK = "lessee_rotation"
"""The key of the connection's settings that holds the id of the last rotation; the database's plugin ignores it."""
_TIMEOUT = 45.0
"""Seconds: three requests and a session with the database, mostly. Two concurrent rotations do no harm."""
_LENGTH = 40
_POSTGRES = "postgresql-database-plugin"


class RootCredential(KindDefaults):
    """Vault sets a new password in the database and in its own storage, but not atomically.

    A server that is killed in between loses the only copy of the password (measured with OpenBao 2.7.2). So each
    rotation begins and ends with a login of Vault. Where that fails, the database's other admin sets a new password,
    which lessee gives to Vault and forgets.
    """

    traits = Traits(overlaps=False, timeout=_TIMEOUT)

    def __init__(self, config: Config, context: KindContext) -> None:
        self._config, self._target, self._vault, self._admin = config, context.name, context.vault, context.admin
        self._proven = ""
        """The id of the rotation after which this process had Vault log in."""
        self._where = f"{config.mount}/config/{config.connection}"

    def create(self, case: Case) -> NewCredential:
        """The record of this rotation. Raises LesseeError where the connection or the admin is not usable."""
        settings = self._settings()
        username = str(settings.get("username") or "")
        if self._config.admin_secret is not None:
            self._check_admin(username)
        self._check_not_shared(settings)
        return NewCredential({"username": username, _ID: case.id})

    def apply(self, case: Case) -> None:
        """Rotate, also for a second time: a lost answer does not tell what Vault has done."""
        username, mark = str(case.pending["username"]), {_MARK: case.id}
        if not self._connects():
            self._repair(username, mark)
        else:
            self._vault.write(f"{self._config.mount}/rotate-root/{self._config.connection}")
            if not self._connects(**mark):
                self._repair(username, mark)
        self._proven = case.id

    def verify(self, fields: Fields) -> bool:
        """Whether Vault can log in with what it set in this rotation."""
        # Each login of Vault interrupts its clients, and the one after the rotation is enough.
        return self._settings().get(_MARK) == fields.get(_ID, "") and (fields[_ID] == self._proven or self._connects())

    def revoke(self, case: Case) -> bool:
        """The database has one password for a user: the rotation itself has replaced the old one."""
        del case
        return True

    def discard(self, case: Case) -> None:
        """As `revoke`."""

    def _settings(self) -> Mapping[str, Any]:
        """The connection's settings without a password."""
        found = self._vault.read(self._where)
        if found is None:
            todo = "create it: bao write …, or correct `connection` and `mount`"
            raise SystemRefusedError("the connection does not exist", where=self._where, todo=todo)
        return {"plugin_name": found.get("plugin_name"), **(found.get("connection_details") or {})}

    def _connects(self, **settings: str) -> bool:
        """Store these settings if Vault can log in to the database with its root credentials."""
        try:
            self._vault.write(self._where, {"verify_connection": True, **settings})
        except VaultRequestError as exc:
            if exc.kind is not Kind.INVALID:
                raise
            return False
        return True

    def _check_not_shared(self, settings: Mapping[str, Any]) -> None:
        """Raises SystemRefusedError where another connection of the engine would lose its login."""
        own, folder = user_and_address(settings), f"{self._config.mount}/config"
        for name in self._vault.list(folder):
            found = (self._vault.read(f"{folder}/{name}") or {}).get("connection_details") or {}
            if name != self._config.connection and own[1] and user_and_address(found) == own:
                todo = "give each connection a user of its own"
                what = f"the connection {name} has the same user, and would lose its login"
                raise SystemRefusedError(what, where=self._where, todo=todo)

    def _check_admin(self, username: str) -> None:
        login = wanted.postgres(str(self._config.admin_secret), self._admin)
        if login.username == username:
            what = "it has the root user of the connection, whose password changes"
            todo = "use another role in `admin_secret`"
            raise ConfigError([LesseeError(what, where=f"rotation.{self._target}.admin_secret", todo=todo)])

    def _repair(self, username: str, settings: Mapping[str, str]) -> None:
        """Let the admin set a new password that Vault gets. It may be called again after a kill."""
        what = "Vault cannot log in to the database with its root credentials, or the database does not answer"
        if self._config.admin_secret is None:
            todo = (
                "see the server's log; set a new password for the user in the database, "
                f"and write it: bao write {self._where} password=-; or name an `admin_secret`"
            )
            raise SystemRefusedError(what, where=self._where, todo=todo)
        if self._settings().get("plugin_name") != _POSTGRES:
            todo = f"only a connection of {_POSTGRES} can be repaired; set a new password manually"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        password = new_password(_LENGTH)
        self._set_password(username, password)
        if not self._connects(password=password, **settings):
            todo = "see the server's log: may the user log in to the connection's database from there?"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        log("warning", "root credential repaired", target=self._target, connection=self._where, username=username)

    def _set_password(self, username: str, password: str) -> None:
        driver, where = library("psycopg"), str(self._config.admin_secret)
        login = wanted.postgres(where, self._admin)
        try:
            with session(login, where) as admin:
                postgres_session.limit(admin)
                verifier = admin.pgconn.encrypt_password(
                    password.encode(), username.encode(), b"scram-sha-256"
                ).decode()
                change = driver.sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
                admin.execute(change.format(driver.sql.Identifier(username), driver.sql.Literal(verifier)))
        except LoginRefusedError:
            todo = "correct username and password there"
            raise SystemRefusedError("PostgreSQL rejects the admin's login", where=where, todo=todo) from None
