"""A login with a JWT-SVID: a stand-in for SPIRE's agent issues it, and a real OpenBao verifies it."""

import pytest

from support.programs.sidecar import Sidecar
from support.servers.jwt_signer import Signer
from support.servers.workload_api import WorkloadApi

POLICY = 'path "secret/data/testing/spiffe" { capabilities = ["read"] }'


@pytest.fixture
def workload_api(tmp_path):
    api = WorkloadApi(tmp_path)
    yield api
    api.close()


def test_an_agent_logs_in_with_a_jwt_svid_once_its_workload_is_registered(bao, workload_api, tmp_path, memory):
    signer = Signer()
    bao.put("testing/spiffe", value="first")
    bao.ask("POST", "sys/auth/spire", {"type": "jwt"})
    bao.ask("POST", "auth/spire/config", {"jwt_validation_pubkeys": [signer.public_key]})
    bao.ask("PUT", "sys/policies/acl/spiffe", {"policy": POLICY})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["spiffe"]}
    bao.ask("POST", "auth/spire/role/web", role | {"bound_subject": "spiffe://example.org/web", "token_ttl": "1h"})
    agent = Sidecar(bao.address, tmp_path, memory)
    agent.environ |= workload_api.variables
    del agent.environ["VAULT_TOKEN"]
    agent.config["vault"]["auth"] = {
        "method": "jwt", "mount": "spire", "role": "web", "jwt_from": "spiffe", "audience": "vault"
    }  # fmt: skip
    agent.template("web.txt.j2", '{{ secret("spiffe").value }}\n')
    try:
        agent.start(wait=False)
        agent.until(lambda status: any("has no identity for this process" in line for line in status["problems"]))
        svid = signer.sign(sub="spiffe://example.org/web", aud=["vault"])
        (workload_api.svids / "new").write_text(svid)
        (workload_api.svids / "new").rename(workload_api.svids / "vault")
        agent.until_file("web.txt", "first\n")
        assert agent.status()["sandbox"]["seccomp"] == "on"
        assert svid not in agent.log.read_text()
    finally:
        agent.close()
        bao.ask("DELETE", "sys/auth/spire")
