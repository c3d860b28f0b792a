"""`lessee check --compose` knows brokers, and notes which services have a key that one could hold."""

import pytest

from lessee.ops.lint.policy.findings import exit_code
from support.inputs.compose_files import AGENT, check

LINE = AGENT.count("\n")
BROKER = """\
environment: production
apps:
  web:
    directory: /run/secrets/web
    files: [{template: app.env.j2}]
  proxy:
    directory: /run/secrets/proxy
    files: [{template: api-openai.nginx.conf.j2}]
    notify: {process: {name: nginx}}
"""
TEMPLATES = {
    "app.env.j2": 'ANTHROPIC_API_KEY={{ secret("keys").anthropic }}\n',
    "api-openai.nginx.conf.j2": 'set $broker_key {{ secret("keys").openai }};\n',
}


def notes(services, **more):
    return [item for item in check(services, **more) if item.rule == "broker-possible"]


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ("{OPENAI_API_KEY: '${OPENAI_API_KEY}'}", ["OPENAI_API_KEY"]),
        ("[OPENAI_API_KEY]", ["OPENAI_API_KEY"]),
        ("{OPENAI_API_KEY: ref+openbao://keys#openai}", ["OPENAI_API_KEY"]),
        ("{OPENAI_API_KEY: , OPENAI_BASE_URL: 'http://broker:8080/openai/v1'}", []),
        ("{OPENROUTER_API_KEY: , OPENAI_BASE_URL: 'http://broker:8080/openrouter/api/v1'}", []),
        ("{BRAVE_SEARCH_API_KEY: , GH_TOKEN: , GITHUB_TOKEN: }", ["BRAVE_SEARCH_API_KEY", "GITHUB_TOKEN"]),
        ("{OPENAI_ORGANIZATION: x, API_KEY: , PGPASSWORD: }", []),
    ],
)
def test_a_key_of_a_known_api_is_a_note_unless_its_requests_go_elsewhere(environment, names):
    found = notes(f"x: {{environment: {environment}}}")
    assert sorted(item.message.split()[3].rstrip(",") for item in found) == sorted(names)
    assert {item.level for item in found} <= {"note"}
    assert exit_code(found) == 0


def test_variables_of_an_env_file_and_of_rendered_files_count_too():
    [first] = notes("x: {env_file: x.env}", env_files={"x.env": "GITHUB_TOKEN=y\n"})
    assert (first.line, first.help) == (LINE + 1, "see docs/how-to/brokers.md")
    [second] = notes("web: {volumes: ['files:/run/secrets/web:ro']}", templates=TEMPLATES)
    assert second.message == "service web has ANTHROPIC_API_KEY, and a broker could hold this key of Anthropic for it"
    # The environment of a service is the more exact place.
    [third] = notes("web: {environment: {ANTHROPIC_API_KEY: x}}", templates=TEMPLATES)
    assert third.line == LINE + 1


def test_agents_holders_and_brokers_themselves_may_have_keys():
    environment = "{OPENAI_API_KEY: , PGPASSWORD: }"
    agent = AGENT.replace("image: lessee", f"image: lessee\n    environment: {environment}")
    text = f"""
    holder: {{command: sleep infinity, environment: {environment}}}
    proxy: {{command: [nginx], environment: {environment}}}
    pool: {{image: example/pgbouncer, environment: {environment}}}
    """
    assert notes(text, lessee=BROKER, templates=TEMPLATES) == []
    assert notes(agent.replace("agent:", "second:"), lessee=BROKER, templates=TEMPLATES) == []


def test_if_the_stack_has_a_broker_of_the_api_the_note_says_what_to_write():
    text = """
    proxy: {command: [nginx]}
    x: {environment: {OPENAI_API_KEY: }}
    """
    [found] = notes(text, lessee=BROKER, templates=TEMPLATES)
    assert found.message == "service x has OPENAI_API_KEY, although service proxy holds a key of OpenAI for others"
    assert found.help == (
        "write OPENAI_BASE_URL=http://proxy:8080/openai/v1, and give it a token of the broker as OPENAI_API_KEY"
    )


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("environment: {PGPASSWORD: x}", ["PGPASSWORD"]),
        ("environment: {URL: 'postgresql://u:p@db/x', OTHER: 'postgres+asyncpg://u:${P}@db/x'}", ["OTHER", "URL"]),
        ("environment: {URL: 'postgresql://u:p@pool:6432/x', NONE: }", []),
        ("environment: {URL: 'postgresql://app@db/x', MODE: x}", []),
        ("env_file: x.env", ["POSTGRES_PASSWORD"]),
        ("environment: {PGPASSWORD: x}, image: 'postgres:17'", []),
        ("environment: {PGPASSWORD: x}, image: lessee, command: setup, volumes: ['./lessee:/etc/lessee:ro']", []),
    ],
)
@pytest.mark.parametrize("pool", ["{command: [/usr/sbin/pgbouncer, x.ini]}", "{image: 'example/pgbouncer:1'}"])
def test_behind_pgbouncer_a_password_of_postgresql_is_a_note(service, names, pool):
    files = {"x.env": "POSTGRES_PASSWORD=y\n"}
    found = notes(f"x: {{{service}}}\npool: {pool}", env_files=files)
    assert [item.message.split()[3].rstrip(",") for item in found] == names
    assert all(item.message.endswith("although service pool could hold this password for it") for item in found)
    assert notes(f"x: {{{service}}}", env_files=files) == []


def test_a_password_of_a_postgresql_in_the_stack_is_a_note_without_pgbouncer_too():
    text = """
    db: {image: 'postgres:17', environment: {POSTGRES_PASSWORD: x}}
    x: {environment: {DATABASE_URL: 'postgresql://u:p@db/x', PGPASSWORD: x}}
    y: {environment: {DATABASE_URL: 'postgresql://app@db/x'}}
    """
    first, second = notes(text)
    assert first.message == "service x has DATABASE_URL, and PgBouncer could hold this password for it"
    assert second.message == "service x has PGPASSWORD, and PgBouncer could hold this password for it"
    assert {first.help, second.help} == {"see docs/how-to/brokers.md"}
