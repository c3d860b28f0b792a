"""The follow-up of an emergency: which logins there are again."""

import pytest

from lessee.core.emergencies import RevokedRole
from lessee.core.immutable import replace
from lessee.ops.incident.policy.follow_up import Report, login_name, report

APP, OTHER = RevokedRole("approle/app", 1000.5, 2), RevokedRole("approle/other", 1000.5, 0)


def of(roles, tokens=(), reports=()):
    return report("production", roles, tokens, reports, lambda moment: f"at {moment:g}")


def login(token, created, role="approle/app"):
    return replace(token(f"t{created}", "app", created=created, path="auth/approle/login"), role=role)


def test_without_an_emergency_nothing_is_missing():
    assert of(()) == ("no emergency of production is recorded\n", ())


def test_a_role_whose_logins_were_revoked_is_missing_until_it_logs_in_again(token):
    old = login(token, 999.0)
    text, missing = of([APP, OTHER], [old])
    assert missing == ("approle/app",)
    assert "  approle/app: revoked at 1000.5; NOT logged in again\n" in text
    assert "  approle/other: revoked at 1000.5; it had no login\n" in text
    assert "lessee setup --only environment=production --output DIR" in text
    text, missing = of([APP, OTHER], [old, login(token, 1007.0), login(token, 1003.0)])
    assert missing == ()
    assert "  approle/app: revoked at 1000.5; logged in again at 1003\n" in text
    assert "missing" not in text


def test_a_login_in_the_second_of_the_emergency_counts(token):
    assert of([APP], [login(token, 1000.0)])[1] == ()


def test_a_token_that_no_login_made_counts_for_no_role(token):
    assert of([APP], [token("t", "app", created=2000.0)])[1] == ("approle/app",)


def test_agents_that_report_to_the_rotator_are_listed():
    text, _ = of([APP], reports=[Report("app/host-1", 1002.0), Report("app/host-2", 900.0)])
    assert "  app/host-1: reported again at 1002\n  app/host-2: NO report since at 900\n" in text


@pytest.mark.parametrize(
    ("path", "metadata", "name"),
    [
        ("auth/approle/login", {"role_name": "web"}, "approle/web"),
        ("auth/team/jwt/login", {"role": "web", "username": "x"}, "team/jwt/web"),
        ("auth/cert/login", {"cert_name": "web"}, "cert/web"),
        ("auth/userpass/login/alice", {"username": "alice"}, "userpass/login/alice"),
        ("auth/approle/login", {"role_name": 7}, ""),
        ("auth/approle/login", {}, ""),
        ("auth/token/create", {"role_name": "web"}, ""),
        ("auth/token/create/login", {"role_name": "web"}, ""),
        ("auth/approle/loginx", {"role_name": "web"}, ""),
        ("", {"role_name": "web"}, ""),
    ],
)
def test_a_login_of_each_method_has_the_name_of_its_role_and_no_client_can_choose_it(path, metadata, name):
    assert login_name(path, metadata) == name


def test_a_role_of_another_method_is_missing_and_a_person_is_not(token):
    job, person = RevokedRole("jwt/job", 1000.5, 1), RevokedRole("userpass/login/alice", 1000.5, 1)
    text, missing = of([job, person])
    assert missing == ("jwt/job",)
    assert "  userpass/login/alice: revoked at 1000.5; NOT logged in again\n" in text
    assert of([job, person], [login(token, 1003.0, "jwt/job")])[1] == ()
