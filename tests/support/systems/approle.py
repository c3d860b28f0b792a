"""The secret_ids of an AppRole of OpenBao."""

import secrets
from contextlib import contextmanager

POLICY = 'path "secret/data/nothing" { capabilities = ["read"] }'


class SecretIds:
    """An AppRole in the server that the rotator itself uses, which `attach` sets."""

    calls = ()
    min_calls = 14

    def __init__(self):
        self.role = f"app-{secrets.token_hex(4)}"
        self.target = {"kind": "vault", "secret": "agents/app", "approle": self.role}

    @classmethod
    @contextmanager
    def started(cls, folder):
        del folder
        yield cls

    def attach(self, bao):
        self._bao = bao
        self._role_id, self._first = bao.approle(self.role, POLICY, token_ttl="5m")

    def secrets(self):
        return {"agents/app": {"role_id": self._role_id, "secret_id": self._first}}

    def accepts(self, fields):
        login = {key: fields[key] for key in ("role_id", "secret_id")}
        try:
            self._bao.ask("POST", "auth/approle/login", login)
        except RuntimeError:
            return False
        return True

    def accessors(self):
        return set(self._bao.ask("GET", f"auth/approle/role/{self.role}/secret-id?list=true")["data"]["keys"])

    def accessor_of(self, fields):
        path = f"auth/approle/role/{self.role}/secret-id/lookup"
        return self._bao.ask("POST", path, {"secret_id": fields["secret_id"]})["data"]["secret_id_accessor"]

    def orphans(self, fields):
        return self.accessors() - {self.accessor_of(fields)}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)
