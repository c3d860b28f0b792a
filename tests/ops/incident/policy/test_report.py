"""The printed reports of findings, of done changes, and of failures."""

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, determine_exposure
from lessee.ops.incident.policy.findings import Database, Role
from lessee.ops.incident.policy.manual_steps import ManualStep
from lessee.ops.incident.policy.plan import plan, vault_rotations
from lessee.ops.incident.policy.report import (
    ChangeResult,
    access_report,
    done_report,
    failure_report,
    manual_report,
    next_steps,
    plan_report,
)


def test_policies_with_access_are_listed_with_the_reason(findings):
    text = access_report(findings(problems=("tokens: permission denied",)))
    assert text.startswith("EMERGENCY: production\n")
    assert "3 of 6 policies have access, for example at\n  app: secret/data/production/x\n" in text
    assert "  broken: unknown path (cannot be parsed: may have access)\n" in text
    assert "  templated: secret/data/production/ (templated: may have access)\n" in text
    assert "  cannot be read: tokens: permission denied\n" in text


def test_with_a_path_the_report_names_it(findings):
    config = parse("environment: production", source="lessee.yaml", environ={})
    exposed = determine_exposure(config, "production", "api-keys/a", (Mount("secret/", "kv", 2),), ())
    assert access_report(findings(exposure=exposed)).startswith("EMERGENCY: production, only api-keys/a\n")


def full(findings, token):
    return findings(
        tokens=tuple(token(f"t{number}", "app") for number in range(12)),
        roles=(Role("approle", "app", ("app",), ("s1", "s2")),),
        leases={"production/database/": 7, "database/creds/x": None},
        databases=(Database("production/database", ("static",), ()),),
    )


def test_the_plan_is_short_before_the_confirmation_and_complete_in_a_dry_run(findings, token):
    found = full(findings, token)
    changes = plan(found, vault_rotations(found.exposure, found.databases))
    short, whole = (plan_report(changes, found, complete=complete) for complete in (False, True))
    assert short.startswith("\nTO DO\n")
    assert "  secret_ids to destroy: 2\n    secret_id s1 of approle/app\n" in short
    assert "  tokens to revoke: 12\n" in short
    assert "    … and 2 more\n" in short
    assert (
        "  leases to revoke, below: 7, and more that cannot be counted\n    leases of production/database/\n" in short
    )
    assert "  to rotate in Vault: 1\n    static role production/database/static\n" in short
    assert whole.count("    token t") == 12
    assert "more\n" not in whole


def test_done_changes_are_counted_by_role_and_name_without_failed_ones(findings, token):
    found = full(findings, token)
    outcomes = [
        ChangeResult(change, "no answer in time" if "s2" in change.name or "creds/x" in change.name else "")
        for change in plan(found, vault_rotations(found.exposure, found.databases))
    ]
    text = done_report(outcomes, found)
    assert "  secret_ids destroyed: 1\n    approle/app: 1\n" in text
    assert "  tokens revoked: 12\n    name-t0: 1\n" in text
    assert "  leases revoked, below: 7\n    leases of production/database/\n  rotated in Vault: 1\n" in text


def test_failures_are_listed_with_the_next_step():
    assert failure_report([]) == ""
    text = failure_report(["token a: no answer in time"])
    assert text == "\nNOT DONE\n  token a: no answer in time\n  correct this, and run the same command again\n"


def test_manual_steps_are_numbered():
    assert manual_report([]) == "\nMANUAL STEPS\n  none\n"
    text = manual_report([ManualStep("first", ("a", "b")), ManualStep("second", ("c",))])
    assert text == "\nMANUAL STEPS\n  1. first\n     a\n     b\n  2. second\n     c\n"


def test_the_next_steps_name_the_environment(findings):
    text = next_steps(findings())
    assert "lessee setup --only environment=production --output DIR`" in text
    assert text.endswith("`lessee emergency --environment production --follow-up` lists which logins there are again\n")


def test_the_next_steps_say_why_the_follow_up_will_not_know_of_it(findings):
    assert "     it does not know of this emergency: permission denied\n" in next_steps(findings(), "permission denied")
