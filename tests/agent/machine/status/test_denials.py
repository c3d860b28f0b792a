"""A denied path may be a typo: the remedy names the path that was meant, if there is one."""

import pytest

from lessee.agent.machine.status.denials import MAX_SUGGESTIONS
from lessee.agent.machine.status.problems import problems_of
from support.models.world import World, app_spec, ref


def denied(needs, *paths):
    """The problems of an app with these needs, where the policy denies the paths."""
    made = World({"web": app_spec(*needs)})
    for need in needs:
        made.write(need)
    made.denied.update(map(ref, paths))
    made.run(3)
    return [*problems_of(made.state, made.now)]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("db/dbb", "db/db"), ("p/databse", "p/database"), ("simbo/db", "simba/db"),
        ("db/mian", "db/main"), ("db/pg", None), ("db/a", None), ("x/y/db", None),
        ("simbo/dbb", None), ("x/db/db", None),
    ],
)  # fmt: skip
def test_a_path_that_differs_by_a_typo_from_one_that_another_template_reads_is_compared(path, meant):
    others = ("db/db", "p/database", "simba/db", "db/main", "db/b")
    [problem] = denied([ref(one) for one in (path, *others)], path)
    wanted = f"or correct the path: did you mean {ref(meant)}?" if meant else "or correct the path"
    assert problem.endswith(wanted)


def test_only_some_paths_are_compared_where_the_policy_grants_little():
    paths = [f"path{number:03}/dbb" for number in range(MAX_SUGGESTIONS + 5)]
    problems = denied([ref(one) for path in paths for one in (path, path[:-1])], *paths)
    assert len(problems) == len(paths)
    assert sum("did you mean" in problem for problem in problems) == MAX_SUGGESTIONS
