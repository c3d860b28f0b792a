"""Who has confirmed a version, and who is missing."""

import pytest

from lessee.core.consumers import Consumer, Standing, standing

NEW = Consumer("simba", "host-1", {"database/postgres": 4})
OLD = Consumer("simba", "host-2", {"database/postgres": 3, "other": 9})
ELSEWHERE = Consumer("mail", "host-1", {"other": 9})


def test_who_works_with_this_version_or_a_newer_one_has_confirmed():
    assert standing([NEW], "database/postgres", 4) == Standing(confirmed=("simba/host-1",))
    assert standing([NEW], "database/postgres", 3) == Standing(confirmed=("simba/host-1",))


def test_who_works_with_an_older_one_is_missing():
    assert standing([NEW, OLD], "database/postgres", 4) == Standing(("simba/host-1",), ("simba/host-2",))


def test_who_reads_other_secrets_is_not_asked():
    assert not standing([ELSEWHERE], "database/postgres", 4).is_known


@pytest.mark.parametrize(("found", "missing"), [([], ("mail", "simba")), ([NEW], ("mail",))])
def test_an_app_that_was_named_is_missing_until_one_of_its_agents_is_heard(found, missing):
    assert standing(found, "database/postgres", 4, ("simba", "mail")).missing == missing
