"""The lessee.yaml of an adopted project."""

import pytest
import yaml

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.config_text import lessee_yaml
from lessee.ops.adopt.policy.model import Deployment, Use
from lessee.ops.scan.policy.classifier import Verdict
from support.inputs.adopted_projects import APP, DEPLOYMENT, plan, postgres_and_app, service, whole


def written(of, deployment=DEPLOYMENT):
    text = lessee_yaml(of, deployment)
    return yaml.safe_load(text)


def test_each_app_has_its_files_its_own_login_and_its_notification():
    apps = written(postgres_and_app())["apps"]
    assert apps["app"] == {
        "directory": "/run/secrets/app",
        "vault": {
            "auth": {
                "method": "approle",
                "role_id_file": "/run/identity/production/production-p-app/role_id",
                "secret_id_file": "/run/identity/production/production-p-app/secret_id",
            }
        },
        "owner": "0:0",
        "mode": "0440",
        "files": [{"template": "app/environment.sh.j2", "format": "sh"}],
        "notify": {"pid_file": "/run/lessee-launcher/app/pid", "action": "restart"},
    }
    assert "notify" not in apps["db"]
    assert apps["db"]["owner"] == "0:999"


def test_the_address_of_vault_and_how_it_is_verified_are_those_of_the_deployment():
    deployment = Deployment("http://vault:8200", ca_file=True, namespace="team", insecure_http=True)
    assert written(postgres_and_app(), deployment)["vault"] == {
        "address": "${VAULT_ADDR:-http://vault:8200}",
        "namespace": "team",
        "ca_file": "${VAULT_CACERT:-/etc/lessee/ca.pem}",
        "insecure_http": True,
    }
    assert written(postgres_and_app())["vault"] == {"address": "${VAULT_ADDR:-https://vault:8200}"}


@pytest.mark.parametrize(
    ("written_as", "seconds"), [("1m30s", "90s"), ("3h0m0.002s", "10800002ms"), ("2m0s", "2m"), ("10ms", "10ms")]
)
def test_the_agent_gives_a_program_as_much_time_to_stop_as_compose(written_as, seconds):
    of = plan([service(stop_grace_period=written_as)], whole("A", "x"))
    assert written(of)["apps"]["app"]["notify"]["stop_grace_period"] == seconds


def test_the_public_variables_of_a_frontend_are_the_allow_list_of_its_app():
    of = plan([service()], whole("A", "x"))
    assert "public_variables" not in written(of)["apps"]["app"]
    names = (
        "VITE_API_URL",
        "build.args.VITE_NAME",
        "build.args.VITE_API_URL",
        "labels.VITE_X",
        "VITE_A.B",
        "LOG_LEVEL",
    )
    key = Use("app", "VITE_KEY", "x", (), Verdict.SECRET)
    moved = replace(key, name="VITE_MOVED", verdict=Verdict.PUBLIC, rule="browser-key")
    uses = (*(Use("app", name, "x", ()) for name in names), Use("other", "VITE_OTHER", "x", ()), key, moved)
    of = replace(of, project=replace(of.project, uses=(*of.project.uses, *uses)))
    assert written(of)["apps"]["app"]["public_variables"] == ["VITE_API_URL", "VITE_NAME"]


@pytest.mark.parametrize(
    ("of_service", "of_image", "expected"),
    [
        (None, "", None),
        (None, "SIGTERM", None),
        ("SIGTERM", "SIGQUIT", None),
        ("15", "", None),
        (None, "SIGQUIT", "SIGQUIT"),
        (None, "3", "SIGQUIT"),
        (None, "WINCH", "SIGWINCH"),
        ("sigusr1", "SIGQUIT", "SIGUSR1"),
        ("10", "", "SIGUSR1"),
        ("31", "", "SIGSYS"),
        ("SIGRTMIN+3", "", None),
        ("37", "", None),
        ("0", "", None),
    ],
)
def test_the_agent_stops_a_program_by_the_signal_of_its_service_or_image(of_service, of_image, expected):
    image = replace(APP, stop_signal=of_image)
    of = plan([service(image=image, stop_signal=of_service)], whole("A", "x"))
    assert written(of)["apps"]["app"]["notify"].get("stop_signal") == expected


def test_no_secret_is_in_it():
    assert "fake-password" not in lessee_yaml(postgres_and_app(), DEPLOYMENT)


def test_further_blocks_come_last():
    text = lessee_yaml(postgres_and_app(), DEPLOYMENT, (("rotation", "later"),))
    assert text.endswith("rotation: later\n")
