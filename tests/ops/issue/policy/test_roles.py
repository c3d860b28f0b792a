"""A role is for the user, and the container or unit, that issue.roles names, and for no other."""

import pytest

from lessee.config.grammar.app import LabeledContainer
from lessee.config.grammar.issue import Issue, IssuedRole
from lessee.ops.issue.policy.roles import ContainerPlace, Refusal, UnitPlace, may_ask, role_for

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
ISSUE = Issue(
    roles={
        "web": IssuedRole(containers=(LabeledContainer(project="shop", service="agent"),)),
        "marked": IssuedRole(containers=(LabeledContainer(project="shop", service="agent", label="tier=gold"),)),
        "quadlet": IssuedRole(containers=(LabeledContainer(label="PODMAN_SYSTEMD_UNIT=app.service"),), uid=1000),
        "unit": IssuedRole(units=("lessee@web.service",), uid=990),
        "unused": IssuedRole(containers=(LabeledContainer(),)),
    }
)
AGENT = {PROJECT: "shop", SERVICE: "agent"}


def of(labels):
    return ContainerPlace("a" * 64, "shop-agent-1", labels)


@pytest.mark.parametrize(
    ("uid", "place", "wanted", "role"),
    [
        (0, of(AGENT), "", "web"),
        (0, of(AGENT), "web", "web"),
        (0, of(AGENT | {"tier": "gold"}), "marked", "marked"),
        (1000, of({"PODMAN_SYSTEMD_UNIT": "app.service"}), "", "quadlet"),
        (990, UnitPlace("lessee@web.service"), "", "unit"),
    ],
)
def test_an_agent_gets_its_role(uid, place, wanted, role):
    assert role_for(ISSUE, uid, place, wanted) == role


@pytest.mark.parametrize(
    ("uid", "place", "wanted", "reason"),
    [
        (0, of({}), "", "no role in issue.roles is for container shop-agent-1"),
        (0, of({SERVICE: "agent"}), "web", "no role"),
        (0, of({PROJECT: "other", SERVICE: "agent"}), "web", "no role"),
        (0, of(AGENT | {"com.docker.compose.oneoff": "True"}), "", "docker compose run"),
        (1000, of(AGENT), "", "uid 1000 gets no secret_id in container shop-agent-1; see `uid` of issue.roles.web"),
        (0, of(AGENT), "marked", "the role marked is not for container shop-agent-1"),
        (0, of(AGENT), "unit", "the role unit is not for"),
        (0, of(AGENT | {"tier": "gold"}), "", "may have several roles, web, marked: name one with `secret_id_role`"),
        (0, UnitPlace("lessee@web.service"), "", "uid 0 gets no secret_id in unit lessee@web.service"),
        (990, UnitPlace("other.service"), "", "no role in issue.roles is for unit other.service"),
    ],
)
def test_no_other_process_gets_one_and_the_reason_says_what_differs(uid, place, wanted, reason):
    refusal = role_for(ISSUE, uid, place, wanted)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_a_user_without_a_role_is_refused_before_anything_is_looked_up():
    assert [uid for uid in (0, 33, 990, 1000) if may_ask(ISSUE, uid)] == [0, 990, 1000]


def test_places_have_different_names():
    assert (of({}).key, UnitPlace("web.service").key) == (f"container {'a' * 64}", "unit web.service")
