"""What is printed says what was found, what is done, and what is not."""

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, exposure
from lessee.ops.incident.policy.findings import Database, Role
from lessee.ops.incident.policy.manual_steps import Task
from lessee.ops.incident.policy.plan import plan, rotations
from lessee.ops.incident.policy.report import Outcome, done, following, found, left, planned, undone


def test_who_reaches_the_environment_is_told_with_the_reason(sight):
    text = found(sight(problems=("tokens: permission denied",)))
    assert text.startswith("EMERGENCY: production\n")
    assert "reached by 3 of 6 policies, at such paths as these\n  app: secret/data/production/x\n" in text
    assert "  broken: somewhere (cannot be read: taken to)\n" in text
    assert "  templated: secret/data/production/ (templated: taken to)\n" in text
    assert "  cannot be looked at: tokens: permission denied\n" in text


def test_of_one_path_it_is_told_that_it_is_that_alone(sight):
    config = parse("environment: production", source="lessee.yaml", environ={})
    exposed = exposure(config, "production", "api-keys/a", (Mount("secret/", "kv", 2),), ())
    assert found(sight(exposure=exposed)).startswith("EMERGENCY: production, api-keys/a alone\n")


def full(sight, token):
    return sight(
        tokens=tuple(token(f"t{number}", "app") for number in range(12)),
        roles=(Role("approle", "app", ("app",), ("s1", "s2")),),
        leases={"production/database/": 7, "database/creds/x": None},
        databases=(Database("production/database", ("static",), ()),),
    )


def test_the_plan_is_short_before_it_asks_and_whole_in_a_dry_run(sight, token):
    seen = full(sight, token)
    changes = plan(seen, rotations(seen.exposure, seen.databases))
    short, whole = (planned(changes, seen, all_of_it=all_of_it) for all_of_it in (False, True))
    assert "  secret_ids to destroy: 2\n    secret_id s1 of approle/app\n" in short
    assert "  tokens to revoke: 12\n" in short
    assert "    … and 2 more\n" in short
    assert "  leases to revoke, below: 7 and more that cannot be counted\n    leases of production/database/\n" in short
    assert "  to rotate in Vault: 1\n    static role production/database/static\n" in short
    assert whole.count("    token t") == 12
    assert "more\n" not in whole


def test_what_is_done_is_told_by_role_and_name_and_what_failed_is_not_among_it(sight, token):
    seen = full(sight, token)
    outcomes = [
        Outcome(change, "no answer in time" if "s2" in change.what or "creds/x" in change.what else "")
        for change in plan(seen, rotations(seen.exposure, seen.databases))
    ]
    text = done(outcomes, seen)
    assert "  secret_ids destroyed: 1\n    approle/app: 1\n" in text
    assert "  tokens revoked: 12\n    name-t0: 1\n" in text
    assert "  leases revoked, below: 7\n    leases of production/database/\n  rotated in Vault: 1\n" in text


def test_what_is_not_done_is_told_with_the_way_on():
    assert undone([]) == ""
    text = undone(["token a: no answer in time"])
    assert text == "\nNOT DONE\n  token a: no answer in time\n  mend that, and run the same command again\n"


def test_what_is_left_is_numbered():
    assert left([]) == "\nBY HAND\n  nothing\n"
    text = left([Task("first", ("a", "b")), Task("second", ("c",))])
    assert text == "\nBY HAND\n  1. first\n     a\n     b\n  2. second\n     c\n"


def test_the_way_back_names_the_environment(sight):
    assert "lessee setup --only environment=production --output NEW-DIR`" in following(sight())
