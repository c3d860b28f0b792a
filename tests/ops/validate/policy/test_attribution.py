"""What fails only because of another component's failure is no second failure."""

from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.ops.validate.policy.attribution import app_subject, attribute
from lessee.ops.validate.policy.results import Finding, Reporter, Skip

DATABASE, SECRETS, APP = Reporter("database"), Reporter("secrets"), Reporter("web")
WHOLE, PASSWORD = SecretField("secret/p/db", ""), SecretField("secret/p/db", "password")
OTHER = SecretField("secret/p/other", "token")


def cause(*subjects, reporter=DATABASE):
    return reporter.critical("postgres-secret", "unusable", "write it", explains=subjects)


def effect(*findings, level=Level.CRITICAL, reporter=SECRETS):
    several = [Finding(f"finding {number}", frozenset(subjects)) for number, subjects in enumerate(findings)]
    return reporter.found("no-placeholders", level, "found: ", several, "write others")


def outcome(*results):
    """The last result."""
    return attribute(results)[-1]


def test_what_another_component_explains_is_skipped_as_its_consequence():
    for subject in (PASSWORD, WHOLE):
        found = outcome(cause(subject), effect([PASSWORD]))
        assert (found.passed, found.skip, found.level) == (None, Skip.CONSEQUENCE, Level.INFO)
        assert found.text == "follows from database (postgres-secret): found: finding 0"


def test_a_part_of_a_secret_explains_what_concerns_the_whole():
    assert outcome(cause(PASSWORD), effect([WHOLE])).skip is Skip.CONSEQUENCE


def test_the_order_of_results_does_not_matter():
    assert attribute([effect([PASSWORD]), cause(PASSWORD)])[0].skip is Skip.CONSEQUENCE


def test_other_findings_remain():
    found = outcome(cause(PASSWORD), effect([PASSWORD], [OTHER], []))
    assert (found.passed, found.text) == (False, "found: finding 1, finding 2")


def test_another_field_of_the_same_secret_is_not_explained():
    result = effect([SecretField("secret/p/db", "token")])
    assert outcome(cause(PASSWORD), result) == result


def test_a_component_does_not_explain_its_own_failures():
    result = effect([PASSWORD])
    assert outcome(cause(PASSWORD, reporter=SECRETS), result) == result


def test_a_warning_does_not_explain_a_critical_failure():
    warning = effect([], level=Level.WARNING, reporter=APP)
    named = Reporter("web").found("x", Level.WARNING, "", warning.findings, "do it", explains=[PASSWORD])
    result = effect([PASSWORD])
    assert outcome(named, result) == result
    assert outcome(named, effect([PASSWORD], level=Level.WARNING)).skip is Skip.CONSEQUENCE


def test_what_passed_or_has_no_findings_stays():
    results = [cause(PASSWORD), SECRETS.passed("a", "good"), SECRETS.critical("b", "bad", "do it")]
    assert attribute(results) == results


def test_an_app_is_a_subject_of_its_own():
    result = Reporter("vault").found(
        "fresh", Level.WARNING, "", [Finding("web", frozenset({app_subject("web")}))], "see"
    )
    assert outcome(APP.critical("x", "bad", "do it", explains=[app_subject("web")]), result).skip is Skip.CONSEQUENCE
    assert outcome(APP.critical("x", "bad", "do it", explains=[app_subject("api")]), result) == result
