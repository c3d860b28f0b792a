"""Confirmations of agents are in archives, and do not disturb commands that read all secrets."""

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import Backups

PLACE = "secret/metadata/testing/lessee/consumers/web/host"
CONFIRMED = {"auth/jwt": "3", "lessee/generation": "7"}


@pytest.fixture
def server(tmp_path):
    with OpenBao(tmp_path) as server:
        server.put("testing/auth/jwt", secret="value")
        server.ask("POST", PLACE, {"custom_metadata": CONFIRMED})
        yield server


def test_confirmations_are_saved_verified_and_restored(server, tmp_path, memory, tmp_path_factory):
    backups = Backups(server.address, tmp_path, memory)
    backups.backup("save")
    backups.backup("verify", "latest")
    with OpenBao(tmp_path_factory.mktemp("empty")) as empty:
        backups.config["vault"]["address"] = empty.address
        backups.backup("restore", "latest", "--yes", "--force")
        assert empty.ask("GET", PLACE)["data"]["custom_metadata"] == CONFIRMED
        assert empty.ask("GET", PLACE)["data"]["current_version"] == 0
    backups.config["vault"]["address"] = server.address
    server.ask("DELETE", PLACE)
    backups.backup("restore", "latest", "--yes")
    assert server.ask("GET", PLACE)["data"]["custom_metadata"] == CONFIRMED


def test_confirmations_are_neither_migrated_nor_validated_as_secrets(server, tmp_path, memory):
    server.ask("POST", "secret/metadata/lessee/consumers/web/host", {"custom_metadata": CONFIRMED})
    server.put("old/jwt", secret="value")
    one = Backups(server.address, tmp_path, memory)
    one.config |= {"setup": {"environments": ["testing", "production"]}}
    one.write_config()
    migrated = one.command("setup", "--migrate-from", "secret/", "--to", "production")
    assert migrated.returncode == 0, migrated.stderr
    assert server.ask("GET", "secret/data/production/old/jwt")["data"]["data"] == {"secret": "value"}
    with pytest.raises(RuntimeError, match="404"):
        server.ask("GET", "secret/metadata/production/lessee/consumers/web/host")
    validated = one.command("validate", "--component", "secrets", "--verbose")
    assert validated.returncode in {0, 1}, validated.stderr
    assert "secrets" in validated.stdout
    assert "consumers" not in validated.stdout + validated.stderr
    assert "Traceback" not in validated.stderr
