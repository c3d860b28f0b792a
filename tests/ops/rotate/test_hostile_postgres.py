"""A server in PostgreSQL's place gets no password of lessee's."""

import pytest

from lessee.core.credentials import postgres as login_of
from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.kinds.postgres_session import session
from support.servers.clear_password_postgres import ClearPasswordPostgres


@pytest.mark.parametrize("sslmode", ["", "disable", "allow", "prefer"])
def test_a_server_without_tls_that_asks_for_a_password_in_clear_text_gets_none(sslmode):
    with ClearPasswordPostgres() as server:
        fields = {"host": "127.0.0.1", "port": server.port, "database": "simba", "username": "app"}
        login = login_of("database/admin", fields | {"password": "canary", "sslmode": sslmode})
        with (
            pytest.raises(SystemRefusedError, match="asks for the password in clear text") as caught,
            session(login, "database/admin"),
        ):
            pass
        assert "verify-full" in str(caught.value)
    assert server.passwords == []
