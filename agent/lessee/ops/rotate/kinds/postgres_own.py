"""Roles of PostgreSQL that need no other admin: the login that works changes the password."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lessee.config.grammar.rotation import Postgres, PostgresAdmins
from lessee.core import credentials as wanted
from lessee.core.credentials import PostgresLogin
from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import Case, KindContext, NewCredential
from lessee.ops.rotate.kinds.postgres import LoginRoles
from lessee.ops.rotate.kinds.postgres_session import LoginRefusedError, session
from lessee.ops.rotate.policy.journal import Fields

if TYPE_CHECKING:
    from lessee.ops.rotate.kinds.postgres_session import Session


class SelfAdministered(LoginRoles):
    """Each step begins with a login of one of the roles. The last one that has worked is the admin.

    After a kill that is the recorded new one, if it is set in the server, and otherwise the old one.
    """

    def __init__(self, config: Postgres | PostgresAdmins, context: KindContext) -> None:
        super().__init__(config, context)
        self._published = self._login
        self._verified: list[PostgresLogin] = []
        """Logins of the roles that have worked, the last one last."""

    def verify(self, fields: Fields) -> bool:
        works = super().verify(fields)
        if works:
            login = wanted.postgres(self._config.secret, fields)
            if login.username in self._config.roles:
                self._verified = [*(one for one in self._verified if one != login), login]
        return works

    def _problems(self) -> Iterator[tuple[str, str]]:
        """The admin may be one of the roles."""
        yield from ()

    @contextmanager
    def _admin(self) -> "Iterator[Session]":
        """The session of an admin whose login works; after the publication, of the new one."""
        if self._open is None:
            self._login = self._working_login()
        with super()._admin() as admin:
            yield admin

    def _working_login(self) -> PostgresLogin:
        for login in reversed(self._verified):
            with suppress(LoginRefusedError), session(login, self._config.secret):
                return login
        return self._published  # Its rejection is an error.


class OwnRole(SelfAdministered):
    """One role, which changes its own password. It needs no privilege for that."""

    def create(self, case: Case) -> NewCredential:
        (role,) = self._config.roles
        if case.secret.get("username") != role:
            todo = "correct `roles`, or the secret's username"
            raise LesseeError(f"the username in the secret is not {role}", where=self._config.secret, todo=todo)
        return super().create(case)

    def apply(self, case: Case) -> None:
        role, password = case.pending["username"], case.pending["password"]
        with self._admin() as admin:
            verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            self._do(admin, "ALTER ROLE {role} PASSWORD {verifier}", role=role, verifier=verifier)
