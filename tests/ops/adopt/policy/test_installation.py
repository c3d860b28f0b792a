"""The distributions that an image of lessee needs are found from what is installed, as pip has resolved it."""

from lessee.ops.adopt.policy.installation import needed

INSTALLED = {
    "lessee": ["jinja2<3.2,>=3.1.6", "PyYAML>=6", "docker>=7", 'psycopg[binary]>=3.2; extra == "rotate"', "???"],
    "jinja2": ["MarkupSafe>=2.0"],
    "markupsafe": [],
    "pyyaml": [],
    "docker": ['pywin32>=304; sys_platform == "win32"', 'tomli ; (python_version < "3.11")', "lessee"],
    "tomli": [],
    "psycopg": [
        'psycopg-binary==3.2.1; (implementation_name != "pypy") and extra == "binary"',
        'psycopg-pool; extra == "pool"',
        'typing-extensions; extra == "binary"',
    ],
    "psycopg-binary": [],
}


def test_an_agent_needs_what_is_required_and_what_a_marker_has_installed():
    found = needed("lessee", (), INSTALLED.get)
    assert found.installed == ("docker", "jinja2", "lessee", "markupsafe", "pyyaml", "tomli")
    assert found.missing == ()


def test_a_rotator_needs_the_extras_and_their_extras_and_what_is_not_installed_is_named():
    found = needed("Lessee", ("rotate",), INSTALLED.get)
    assert {"psycopg", "psycopg-binary"} <= set(found.installed)
    assert found.missing == ("typing-extensions",)
    assert "psycopg-pool" not in found.installed


def test_without_the_distribution_itself_it_is_missing():
    assert needed("lessee", (), {}.get).missing == ("lessee",)


def test_an_extra_that_a_later_requirement_names_is_found():
    installed = {"a": ["b", "c"], "c": ["b[x]"], "b": ['d; extra == "x"'], "d": []}
    assert needed("a", (), installed.get).installed == ("a", "b", "c", "d")
