"""After an emergency: agents say that their login was revoked, new secret_ids arrive, and the follow-up knows both."""

import json
import os
import shutil
import signal
import time
from contextlib import closing
from datetime import UTC, datetime

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lessee.host.openbao import ROOT_TOKEN, OpenBao
from support.programs.forks import run_lessee
from support.programs.sidecar import Sidecar, eventually

ENVIRONMENTS = ("production", "testing")


class Place:
    """Two environments that `lessee setup` made, each with an agent."""

    def __init__(self, server, folder, memory):
        self.server, self.folder, self.agents = server, folder, {}
        for environment in ENVIRONMENTS:
            (folder / environment).mkdir()
            (memory / environment).mkdir()
            agent = Sidecar(server.address, folder / environment, memory / environment, environment=environment)
            del agent.environ["VAULT_TOKEN"]
            agent.template("app.env.j2", 'KEY={{ secret("api-keys/openrouter").api_key }}\n')
            where = f"{folder}/logins/{environment}/{environment}-web"
            files = {f"{name}_file": f"{where}/{name}" for name in ("role_id", "secret_id")}
            agent.config["vault"]["auth"] = {"method": "approle", **files}
            trail = folder / environment / "trail"
            agent.config["audit_trail"] = {"directory": str(trail), "key_file": f"{trail}.key"}
            agent.config["setup"] = {
                "environments": list(ENVIRONMENTS),
                "secrets": {"api-keys/openrouter": {"api_key": {"generate": 40}}},
                "components": {"security": ["all"]},
            }
            self.agents[environment] = agent
        self.trail = folder / "production" / "trail"
        self.config = folder / "lessee.yaml"
        self.config.write_text(yaml.safe_dump(self.agents["production"].config | {"environment": "production"}))
        (folder / "app.env.j2").write_text((folder / "production" / "app.env.j2").read_text())

    def lessee(self, *arguments, code=0, token=ROOT_TOKEN):
        environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": token, "HOME": str(self.folder)}
        done = run_lessee(*arguments, cwd=self.folder, env=environ)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def secret_id(self, role="production-web"):
        return (self.folder / "logins" / "production" / role / "secret_id").read_text()


@pytest.fixture
def place(tmp_path, memory):
    with OpenBao(tmp_path) as server:
        place = Place(server, tmp_path, memory)
        place.lessee("setup", "--output", "logins")
        with closing(place.agents["production"]) as one, closing(place.agents["testing"]) as other:
            for agent in (one, other):
                agent.start(wait=False)
                agent.until(lambda status: status["ready"] and status["fresh"])
            yield place


def plain(agent):
    """`lessee status` as a person reads it."""
    return run_lessee("status", "--socket", str(agent.socket), cwd=agent.disk, env=agent.environ).stdout


def login_of(agent):
    return agent.status()["identities"][0]["revoked_login"]


@pytest.mark.thorough
def test_an_agent_says_that_an_emergency_revoked_its_login_and_has_a_new_one_by_itself(place):
    agent, other = place.agents.values()
    before, old = time.time(), place.secret_id()
    said = place.lessee("emergency", "--environment", "production", "--yes")
    assert "lessee emergency --environment production --follow-up" in said
    found = eventually(lambda: login_of(agent), "the revoked login")
    assert (found["emergency_at"], found["logged_in_at"]) == (None, None)
    assert "login  ended by Vault before its time" in plain(agent)
    assert "`lessee setup --output DIR` writes new secret_ids" in plain(agent)
    follow_up = place.lessee("emergency", "--environment", "production", "--follow-up", code=75)
    assert "approle/production-web: revoked " in follow_up
    assert "NOT logged in again" in follow_up
    assert "missing: approle/production-web" in follow_up
    # The destroyed secret_ids are replaced, and no other.
    kept = (place.folder / "logins" / "testing" / "testing-web" / "secret_id").read_text()
    plan = place.lessee("setup", "--plan", "--output", "logins")
    assert f"{place.folder}/logins/production/production-web: secret_id" in plan
    place.lessee("setup", "--output", "logins")
    assert place.secret_id() != old
    assert (place.folder / "logins" / "testing" / "testing-web" / "secret_id").read_text() == kept
    agent.until(lambda status: status["fresh"] and not status["problems"])
    found = login_of(agent)
    assert before - 1 < datetime.fromisoformat(found["emergency_at"]).timestamp() < time.time()
    assert found["emergency_at"] <= found["logged_in_at"]
    line = f"login  revoked by an emergency at {found['emergency_at']}; logged in again {found['logged_in_at']}"
    assert line in plain(agent)
    assert "logged in again" in place.lessee("emergency", "--environment", "production", "--follow-up")
    assert login_of(other) is None
    # A restarted agent knows it from its saved token, or from the answer to its login.
    for saved in (True, False):
        agent.stop(signal.SIGKILL)
        if not saved:
            shutil.rmtree(agent.directory)
        agent.start()
        known = login_of(agent)
        assert (known["found_at"], known["emergency_at"]) == (None, found["emergency_at"])
        assert f"login  revoked by an emergency at {found['emergency_at']}, before this process started" in plain(agent)
    # Another run writes nothing, and a login that was not revoked is not concerned.
    again = place.secret_id()
    assert "secret_id" not in place.lessee("setup", "--output", "logins")
    assert place.secret_id() == again
    assert "no emergency of testing" in place.lessee("emergency", "--environment", "testing", "--follow-up")


def test_the_follow_up_knows_logins_of_other_methods_and_the_trail_has_the_rejected_token(place):
    ask, policies = place.server.ask, {"token_policies": ["production-web"], "password": "a-long-fake-password"}
    ask("POST", "sys/auth/userpass", {"type": "userpass"})
    ask("POST", "auth/userpass/users/alice", policies)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    ask("POST", "sys/auth/jwt", {"type": "jwt"})
    ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public], "jwt_supported_algs": ["ES256"]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_subject": "job", "token_policies": ["production-web"]}
    ask("POST", "auth/jwt/role/job", role)
    login = {
        "role": "job",
        "jwt": jwt.encode({"sub": "job", "iat": int(time.time()), "exp": int(time.time()) + 3600}, key, "ES256"),
    }
    ask("POST", "auth/userpass/login/alice", {"password": policies["password"]}, token="")
    ask("POST", "auth/jwt/login", login, token="")
    place.lessee("emergency", "--environment", "production", "--yes")
    place.lessee("setup", "--output", "logins")
    agent = place.agents["production"]
    # Until it has found that its login was revoked, it is fresh too.
    eventually(lambda: (login_of(agent) or {}).get("logged_in_at"), "its new login")
    agent.until(lambda status: status["fresh"] and not status["problems"])
    follow_up = place.lessee("emergency", "--environment", "production", "--follow-up", code=75)
    assert "missing: jwt/job\n" in follow_up
    assert "userpass/login/alice: revoked " in follow_up
    ask("POST", "auth/jwt/login", login, token="")
    follow_up = place.lessee("emergency", "--environment", "production", "--follow-up")
    assert "jwt/job: revoked " in follow_up
    lines = "".join(file.read_text() for file in sorted(place.trail.glob("*.jsonl"))).splitlines()
    actions = [json.loads(line)["action"] for line in lines]
    assert [one["outcome"] for one in actions if one["name"] == "token rejected"] == ["failed"]


def test_wrapped_logins_from_before_an_emergency_are_replaced_once(place):
    file = place.folder / "wrapped" / "production" / "production-web" / "secret_id"
    other = place.folder / "wrapped" / "testing" / "testing-web" / "secret_id"
    wrapped = ("setup", "--output", "wrapped", "--wrap-ttl", "1h")
    place.lessee(*wrapped)
    old, kept = file.read_text(), other.read_text()
    assert "secret_id" not in place.lessee(*wrapped)
    place.lessee("emergency", "--environment", "production", "--yes")
    assert "production-web: secret_id" in place.lessee(*wrapped)
    new = file.read_text()
    assert new != old
    assert other.read_text() == kept
    assert "secret_id" not in place.lessee(*wrapped)
    assert file.read_text() == new
    secret_id = place.server.ask("POST", "sys/wrapping/unwrap", token=new.strip())["data"]["secret_id"]
    role_id = (file.parent / "role_id").read_text().strip()
    login = {"role_id": role_id, "secret_id": secret_id}
    assert place.server.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]


def test_no_client_of_an_environment_can_write_or_read_the_note_of_its_emergencies(place):
    login = {
        name: (place.folder / "logins" / "production" / "production-security" / name).read_text()
        for name in ("role_id", "secret_id")
    }
    token = place.server.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
    place.server.ask("POST", "secret/data/production/any", {"data": {"may": "write"}}, token=token)
    forged = {"data": {"roles": {"approle/production-web": {"at": datetime.now(UTC).isoformat(), "logins": 1}}}}
    for method, body in (("POST", forged), ("GET", None)):
        with pytest.raises(RuntimeError, match="403"):
            place.server.ask(method, "secret/data/lessee/emergencies/production", body, token=token)


def test_the_follow_up_changes_nothing_and_goes_with_no_other_option(place):
    for option in ("--yes", "--dry-run"):
        done = place.lessee("emergency", "--environment", "production", "--follow-up", option, code=64)
        assert done == ""
    assert login_of(place.agents["production"]) is None
