"""What templates, `setup.secrets` and `rotation` name must exist."""

import textwrap

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.ops.validate.policy.expectations import Expectation, expectations, path_of
from lessee.rendering.app_templates import path_scope_of

TEXT = """
environment: testing
setup:
  environments: [{environments}]
  secrets:
    mcp/memory-service: {{api_key: {{generate: 40}}}}
    database/postgres: {{host: {{value: db}}}}
rotation:
  postgres: {{kind: postgres, secret: database/postgres, admin_secret: database/admin, roles: [a, b], owner: o}}
  mcp: {{kind: vault, secret: mcp/memory-service, keys: {{api_key: {{generate: 40}}}}}}
  own: {{kind: secret-id, secret: admin/own, approle: testing-rotator, secret_id_file: /etc/secret_id}}
"""


class Compiled:
    """What an app's templates reference."""

    def __init__(self, *references, optional=()):
        self.references, self.optional = frozenset(references), frozenset(optional)


def found(apps, environments="testing"):
    text = textwrap.dedent(TEXT.format(environments=environments))
    config = parse(text, source="lessee.yaml", environ={}, blocks=("validate", "rotation"))
    return expectations(config, path_scope_of(config), apps)


def test_everything_that_the_configuration_names_is_expected_with_its_keys():
    maybe = Ref("secret", "testing/maybe")
    web = Compiled(
        Ref("secret", "testing/database/postgres"), Ref("secret", "testing/web/tls", 3), maybe, optional=[maybe]
    )
    assert found({"web": web}) == {
        "database/postgres": Expectation(("templates of web", "setup.secrets", "rotation.postgres"), ("host",)),
        "web/tls": Expectation(("templates of web",)),
        "mcp/memory-service": Expectation(("setup.secrets", "rotation.mcp"), ("api_key",)),
        "database/admin": Expectation(("rotation.postgres.admin_secret",)),
    }


def test_what_only_setup_and_admins_name_is_for_operators():
    web = Compiled(Ref("secret", "testing/database/admin"))
    assert found({})["database/admin"].is_only_for_operators
    assert not found({"web": web})["database/admin"].is_only_for_operators
    assert not found({})["mcp/memory-service"].is_only_for_operators


def test_secrets_of_other_mounts_and_identities_are_not_the_environment_s():
    other = Compiled(Ref("other", "testing/x"), Ref("secret", "testing/x", None, "team"))
    assert found({"web": other}).keys() == found({}).keys()


def test_setup_concerns_only_its_environments():
    assert "setup.secrets" not in str(found({}, environments="production"))


def test_a_path_is_that_in_templates():
    config = parse("environment: testing", source="lessee.yaml", environ={})
    scope = path_scope_of(config)
    assert path_of(Ref("secret", "testing/a/b"), scope) == "a/b"
    assert path_of(Ref("secret", "shared/a"), scope) == "shared/a"
