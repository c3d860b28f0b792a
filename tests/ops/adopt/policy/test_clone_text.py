"""A clone's plan says what its files would do, and its own Compose file is how its agent reaches Vault."""

import pytest
import yaml

from lessee.core.immutable import replace
from lessee.ops.access.policy.least_privilege import Rule, hcl
from lessee.ops.adopt.policy.clone_text import ClonePlan, clone_lines, local_override, missing_lines
from lessee.ops.adopt.policy.committed import Committed
from lessee.ops.adopt.policy.model import Deployment

VAULT = "https://vault:8200"
COMMITTED = Committed("0" * 16, "shop", "production", ("compose.yaml",), Deployment(VAULT), (), (), ())
DATA = "secret/data/production/"


def policy(*paths, capabilities=("read",)):
    return hcl(["the app"], [Rule(path, capabilities, ("why",)) for path in paths])


PLAN = ClonePlan(
    COMMITTED,
    VAULT,
    "lessee",
    {
        "production-shop-web": policy(
            f"{DATA}api-keys/payment",
            "secret/metadata/production/api-keys/payment",
            "secret/metadata/production/lessee/consumers/web/*",
            "secret/metadata/production/other",
            "auth/token/lookup-self",
        ),
        "production-shop-db": policy("sys/x"),
    },
    ("production-shop-db",),
    is_known=True,
    files={".env": True, "app.env": False},
    missing=(),
)


def test_the_plan_says_what_the_services_may_read_and_what_is_written():
    rotator = policy(f"{DATA}database", capabilities=("read", "update"))
    plan = replace(PLAN, policies={**PLAN.policies, "production-shop-rotator": rotator})
    assert list(clone_lines(plan, DATA)) == [
        "project shop is adopted, and this is a clone of it; environment production",
        "its agent is image lessee, and uses your Vault at https://vault:8200",
        "what its services may read in Vault:",
        "  production-shop-web:",
        "    api-keys/payment",
        "    secret/metadata/production/other",
        "  production-shop-db (new in this Vault):",
        "    sys/x",
        "  production-shop-rotator:",
        "    database (read, update)",
        "new logins for 3 roles, for this clone alone",
        "files of this clone, with references in the place of secrets:",
        "  + .env",
        "  ~ app.env",
    ]


def test_another_address_is_named_and_not_used():
    plan = replace(
        PLAN, address="https://mine:8200", files={}, policies={"production-shop-web": policy(f"{DATA}a")}, new_roles=()
    )
    lines = list(clone_lines(plan, DATA))
    assert "  lessee/lessee.yaml names https://vault:8200: this clone does not use that address" in lines
    assert lines[-1] == "new logins for 1 role, for this clone alone"


@pytest.mark.parametrize("is_dev", [True, False])
def test_each_missing_secret_has_its_command(is_dev):
    assert list(missing_lines(PLAN, is_dev=is_dev)) == []
    lines = list(missing_lines(replace(PLAN, missing=(("database/postgres", "password"),)), is_dev=is_dev))
    assert lines[0] == "secrets that your Vault does not have; each command asks for the value:"
    assert lines[1:-1] == (['  eval "$(lessee dev --export)"'] if is_dev else [])
    assert lines[-1] == "  lessee set --config lessee/lessee.yaml --create --no-wait database/postgres password"


def test_the_own_compose_file_has_the_address():
    text = local_override(VAULT, COMMITTED, "lessee", has_ca=False, has_rotator=False)
    assert yaml.safe_load(text) == {"services": {"lessee-agent": {"environment": {"VAULT_ADDR": VAULT}}}}


def test_the_own_compose_file_has_the_certificates_the_image_and_the_rotator():
    address = "https://host.docker.internal:8200"
    text = local_override(address, COMMITTED, "mine:1", has_ca=True, has_rotator=True)
    service = {
        "environment": {"VAULT_ADDR": address, "VAULT_CACERT": "/run/vault-ca.pem"},
        "volumes": ["./.lessee/vault-ca.pem:/run/vault-ca.pem:ro"],
        "extra_hosts": ["host.docker.internal:host-gateway"],
    }
    assert yaml.safe_load(text) == {
        "services": {
            "lessee-agent": {"image": "mine:1", **service},
            "lessee-rotator": {"image": "mine:1", **service},
            "lessee-holder": {"image": "mine:1"},
        }
    }
