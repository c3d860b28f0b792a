"""What agents have confirmed is in an archive, and disturbs no command that goes through secrets."""

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import Backups

PLACE = "secret/metadata/testing/lessee/consumers/web/host"
SAID = {"auth/jwt": "3", "lessee/generation": "7"}


@pytest.fixture
def server(tmp_path):
    with OpenBao(tmp_path) as server:
        server.put("testing/auth/jwt", secret="of-nobody")
        server.ask("POST", PLACE, {"custom_metadata": SAID})
        yield server


def test_confirmations_are_saved_verified_and_restored(server, tmp_path, memory, tmp_path_factory):
    backups = Backups(server.address, tmp_path, memory)
    backups.backup("save")
    backups.backup("verify", "latest")
    with OpenBao(tmp_path_factory.mktemp("empty")) as empty:
        backups.config["vault"]["address"] = empty.address
        backups.backup("restore", "latest", "--yes", "--force")
        assert empty.ask("GET", PLACE)["data"]["custom_metadata"] == SAID
        assert empty.ask("GET", PLACE)["data"]["current_version"] == 0
    backups.config["vault"]["address"] = server.address
    server.ask("DELETE", PLACE)
    backups.backup("restore", "latest", "--yes")
    assert server.ask("GET", PLACE)["data"]["custom_metadata"] == SAID


def test_confirmations_are_not_migrated_and_are_no_secrets_to_validate(server, tmp_path, memory):
    server.ask("POST", "secret/metadata/lessee/consumers/web/host", {"custom_metadata": SAID})
    server.put("old/jwt", secret="of-nobody")
    one = Backups(server.address, tmp_path, memory)
    one.config |= {"setup": {"environments": ["testing", "production"]}}
    one.write_config()
    moved = one.command("setup", "--migrate-from", "secret/", "--to", "production")
    assert moved.returncode == 0, moved.stderr
    assert server.ask("GET", "secret/data/production/old/jwt")["data"]["data"] == {"secret": "of-nobody"}
    with pytest.raises(RuntimeError, match="404"):
        server.ask("GET", "secret/metadata/production/lessee/consumers/web/host")
    judged = one.command("validate", "--component", "secrets", "--verbose")
    assert judged.returncode in {0, 1}, judged.stderr
    assert "secrets" in judged.stdout
    assert "consumers" not in judged.stdout + judged.stderr
    assert "Traceback" not in judged.stderr
