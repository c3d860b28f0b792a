"""Services whose names adopt cannot use are named, and nothing is planned with them."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.adopt.policy.service_names import check_service_names
from support.inputs.adopted_projects import plan, project, service, whole


def test_usual_names_are_accepted():
    of = plan([service("web"), service("Worker.2_a")], whole("A", "x", of="web"), whole("A", "x", of="Worker.2_a"))
    check_service_names(of.project, of.apps)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lessee-agent", "a service of `lessee adopt` has this name"),
        ("lessee-holder", "a service of `lessee adopt` has this name"),
        ("lessee-rotator", "a service of `lessee adopt` has this name"),
        ("--help", "programs take this name for an option"),
    ],
)
def test_any_service_may_have_another_name_than_these(name, what):
    with pytest.raises(ConfigError) as caught:
        check_service_names(project(service(name)), ())
    assert str(caught.value) == f"services.{name}: {what}; rename the service"


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["."], "services..: this name has a meaning in paths"),
        ([".."], "services...: this name has a meaning in paths"),
        (["Rotator"], "services.Rotator: its policy and AppRole would be the rotator's"),
        (["Web", "web"], "services.web: its policy and AppRole would be those of Web"),
    ],
)
def test_a_service_with_secrets_may_have_another_name_than_these(names, what):
    of = plan([service(name) for name in names], *(whole("A", "x", of=name) for name in names))
    with pytest.raises(ConfigError) as caught:
        check_service_names(of.project, of.apps)
    assert str(caught.value) == f"{what}; rename the service"
    check_service_names(of.project, ())
