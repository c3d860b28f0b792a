"""An env file becomes a template, fields in Vault and an app, and its readers get what they got before."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, FormatError
from lessee.ops.adopt.env_import import memory_of_user
from lessee.ops.adopt.policy import env_config
from lessee.ops.adopt.policy.env_config import EnvApp, config_of, new_config, with_app
from lessee.ops.adopt.policy.env_plan import Options, plan
from lessee.ops.adopt.policy.env_readers import DEFAULT, READERS, is_env_file
from lessee.ops.adopt.policy.env_rendering import rendered_file, verified
from lessee.ops.adopt.policy.env_template import plain
from lessee.rendering.formats.literals import readings

APP = EnvApp("shop", "shop.env.j2", ".env", "dotenv")
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def configs(reader):
    return {
        name: config_of(new_config("testing", None, EnvApp("shop", "t", ".env", name)), "f", "shop", {})
        for name in reader.formats
    }


def imported(text, reader=DEFAULT, **options):
    planned = plan(text, ".env", reader, Options("shop", **options))
    return planned, verified(text, planned, reader, ".env", configs(reader))


def stored(planned):
    return {f"{one.path}#{one.field}": one.value for one in planned.stored}


@pytest.mark.parametrize(
    ("name", "text", "is_env"),
    [
        (".env", "x", True),
        (".env.production", "", True),
        ("web.env", "", True),
        ("settings", "# c\n\nexport A=1\nB='x y'\nC=\n", True),
        ("settings", "A = 1\n", False),
        ("settings", "# c\n", False),
        ("env.hcl", "A=1", False),
        ("app.env.ctmpl", "A=1", False),
    ],
)
def test_an_env_file_is_recognized_by_its_name_or_by_its_lines(name, text, is_env):
    assert is_env_file(name, text) is is_env


def test_secrets_go_to_vault_and_all_else_stays_where_it_is():
    text = (
        "# shop\n\nPOSTGRES_USER=app  # who\n  export POSTGRES_PASSWORD='hunter2hunter3'\n"
        'DATABASE_URL="postgres://app:hunter2hunter3@db:5432/app?a=b"\n'
        f"OPENAI_API_KEY={KEY}\nPORT=80\nEMPTY=\nJWT_SECRET=weak\n\n# end"
    )
    planned, rendered = imported(text)
    assert stored(planned) == {
        "database/postgres#username": "app",
        "database/postgres#host": "db",
        "database/postgres#port": "5432",
        "database/postgres#database": "app",
        "database/postgres#password": "hunter2hunter3",
        "api-keys/openai#api_key": KEY,
        "applications/shop#jwt_secret": "weak",
    }
    assert planned.plain == 3
    assert [(one.name, one.line) for one in planned.variables] == [
        ("POSTGRES_PASSWORD", 4), ("DATABASE_URL", 5), ("OPENAI_API_KEY", 6), ("JWT_SECRET", 9)
    ]  # fmt: skip
    assert all(value not in planned.template for value in ("hunter2", KEY, "weak"))
    line = planned.template.splitlines()[3]
    assert line == "  export POSTGRES_PASSWORD='{{ secret(\"database/postgres\").password }}'"
    assert rendered.text == text.replace(KEY, f"'{KEY}'").replace("weak", "'weak'")
    assert rendered.other_quotes == (6, 9)
    assert not rendered.is_equal


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("reader", "text"),
    [
        ("", "A_TOKEN='weak'\n"),
        ("python-dotenv", "A_TOKEN='we\\'ak'\n"),
        ("compose", 'A_TOKEN="weak" # c\nB=$A_TOKEN\n'),
        ("node", "A_TOKEN=`weak`\n"),
        ("vite", "A_TOKEN='weak'\nB=x${A_TOKEN}\n"),
        ("sh", "set -a\nA_TOKEN='weak'; B=~/x C=$A_TOKEN\n"),
        ("systemd", 'A_TOKEN="weak"\n; c\n'),
        ("docker", "A_TOKEN=weak # no comment\n"),
    ],
)
def test_the_rendered_file_is_byte_equal_where_the_author_quotes_as_lessee_does(reader, text):
    planned, rendered = imported(text, READERS.get(reader, DEFAULT))
    assert (rendered.text, rendered.is_equal, rendered.other_quotes) == (text, True, ())
    assert len(planned.stored) == 1


def test_code_of_jinja_in_a_plain_value_stays_text():
    text = "A='{{ x }}'\nB={{{% y %}#}{#\nC_TOKEN='{{ secret }}'\n"
    assert imported(text)[1].text == text
    assert "{{{" not in plain("{{{").replace("{{%", "")


def test_a_part_of_a_url_that_no_template_may_contain_plainly_is_a_constant():
    text = "A_URL='postgres://a:pw123456@db/a b?\"é\u2028{x'\n"
    for reader in (READERS["python-dotenv"], READERS["sh"]):
        planned, rendered = imported(text, reader)
        assert rendered.text == text
        assert "\\u2028" in planned.template


def test_a_value_that_the_layout_has_no_place_for_has_a_path_of_its_own():
    text = "_A='weak\n'\n1.='  '\n"
    planned, rendered = imported(text, READERS["python-dotenv"], secret=frozenset({"_A", "1."}))
    assert stored(planned) == {"applications/shop#a": "weak\n", "applications/shop/1-1#value": "  "}
    assert rendered.text == text


def test_a_value_with_references_keeps_them_and_only_its_password_moves():
    text = 'USER=app\nA_URL="postgres://${USER}:pw123456@db/x"\n'
    planned, rendered = imported(text)
    assert stored(planned) == {"applications/shop#a_url": "pw123456"}
    assert 'A_URL="postgres://${USER}:{{ secret("applications/shop").a_url }}@db/x"' in planned.template
    assert rendered.text == text
    shared, _ = imported(f"POSTGRES_PASSWORD='pw123456'\n{text}")
    assert stored(shared) == {"database/postgres#password": "pw123456"}


@pytest.mark.parametrize("value", ["sk${A}", "postgres://u:p${A}w@db/x", "postgres://pw:pw@db/${A}"])
def test_a_secret_that_is_mixed_with_a_reference_is_an_error(value):
    with pytest.raises(FormatError, match=r"\.env:2: B_TOKEN contains both a secret and references"):
        plan(f"A=x\nB_TOKEN={value}\n", ".env", DEFAULT, Options("shop", secret=frozenset({"B_TOKEN"})))


@pytest.mark.no_cover
def test_the_operator_decides_what_a_secret_is():
    options = {"secret": frozenset({"A", "EMPTY"}), "public": frozenset({"B_TOKEN"}), "prefix": "team"}
    planned, _ = imported("A=x\nB_TOKEN=weak\nEMPTY=\n", **options)
    assert stored(planned) == {"team/applications/shop#a": "x"}
    assert planned.variables[0].fields == ("team/applications/shop#a",)
    assert '{{ secret("team/applications/shop").a }}' in planned.template


def test_a_value_that_contains_a_known_secret_is_one_too():
    planned, _ = imported("A_PASSWORD=s3cret-value\nUSERS=admin:s3cret-value\nB=s3cret-valu\n", READERS["docker"])
    assert {one.name for one in planned.variables} == {"A_PASSWORD", "USERS"}
    words, _ = imported("A_PASSWORD=root\nUSERS=admin:root\n")
    assert {one.name for one in words.variables} == {"A_PASSWORD"}


def test_a_secret_in_a_comment_is_masked():
    text = f"# A_PASSWORD=s3cret-value\nA_PASSWORD='s3cret-value' # was s3cret-value, {{{{\n# {KEY} {KEY}\n;{KEY}\n"
    planned, rendered = imported(text, READERS["python-dotenv"], secret=frozenset())
    assert planned.masked == (1, 2, 3, 4)
    assert rendered.text == "# A_PASSWORD=***\nA_PASSWORD='s3cret-value' # was ***, {{\n# *** ***\n;***\n"
    assert not rendered.is_equal


def test_the_longer_of_two_secrets_in_a_comment_is_masked_as_a_whole():
    text = "A_PASSWORD='s3cret-value'\nB_PASSWORD='s3cret-value-2'\n# s3cret-value-2\n"
    assert imported(text)[1].text.endswith("# ***\n")


@pytest.mark.parametrize(
    ("reader", "text", "error"),
    [
        (
            "systemd",
            "A_TOKEN=weak\nexport B_PASSWORD=s3cret-value\n",
            r"\.env:2: the line sets no variable",
        ),
        ("", "A_TOKEN=aa\nA_TOKEN=bb\n", r"\.env:2: A_TOKEN is set twice, to different values"),
        ("", f"VITE_OPENAI_API_KEY={KEY}\n", r"\.env:1: VITE_OPENAI_API_KEY is in the download of every visitor"),
        ("sh", "A_TOKEN=weak\r\nB=1\r\n", r"carriage returns .*sed -i"),
        ("", "A=1\nB=$A\n", r"\.env:2: python-dotenv and Docker Compose read B differently; name the program"),
        ("", "A=1\nB='\n", r"Docker Compose rejects the file: the quotes are not closed; name the program"),
        ("", "A: 1\n", r"\.env:1: python-dotenv and Docker Compose read A differently"),
        ("", "A=x\rB=1\n", r"\.env:1: python-dotenv and Docker Compose read A differently"),
        ("", "A=x\nB=1\rC=1\n", r"\.env:2: python-dotenv and Docker Compose read B differently"),
        ("docker", "A=1\nB C=1\n", r"\.env:2: docker --env-file rejects the file: .*; correct the line"),
        ("sh", "A='x\n", r"\.env:1: a shell rejects the file"),
        ("node", "A_TOKEN=x'`\"\nB='\r'\n", r"\.env:\d: a rendered file would give its reader another value of B"),
    ],
)
def test_what_a_person_must_decide_is_named_with_its_line(reader, text, error):
    with pytest.raises(FormatError, match=error):
        imported(text, READERS.get(reader, DEFAULT))


def test_a_value_set_twice_to_the_same_is_stored_once():
    planned, rendered = imported("A_TOKEN='weak'\nA_TOKEN='weak'\n")
    assert stored(planned) == {"applications/shop#a_token": "weak"}
    assert rendered.is_equal


def test_a_value_that_the_format_cannot_write_is_named_with_its_line():
    planned = plan("B=1\nA_TOKEN=weak\n", ".env", READERS["docker"], Options("shop"))
    broken = replace(planned, stored=tuple(replace(one, value="a\nb") for one in planned.stored))
    with pytest.raises(FormatError, match=r"\.env:2: A_TOKEN: .*contains a newline"):
        verified("", broken, READERS["docker"], ".env", configs(READERS["docker"]))
    other = replace(broken, variables=())
    with pytest.raises(FormatError, match="contains a newline"):
        verified("", other, READERS["docker"], ".env", configs(READERS["docker"]))


def test_a_difference_outside_of_values_is_an_error():
    planned = plan("# c\nA_TOKEN='weak'\n", ".env", DEFAULT, Options("shop"))
    with pytest.raises(FormatError, match="would differ outside of values; please report this"):
        verified("", replace(planned, expected="# d\nA_TOKEN='weak'\n"), DEFAULT, ".env", configs(DEFAULT))
    with pytest.raises(FormatError, match="another value of C"):
        verified("", replace(planned, template=f"{planned.template}C=1\n"), DEFAULT, ".env", configs(DEFAULT))


@pytest.mark.long
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B_TOKEN", "C_PASSWORD", "# c ", "export D_KEY"]),
            st.text("ab'\"$# \\{}%\n`=", max_size=8),
        ),
        max_size=6,
    ),
    st.sampled_from([DEFAULT, *READERS.values()]),
)
def test_whatever_is_accepted_is_read_the_same_and_has_no_secret(lines, reader):
    text = "".join(f"{name}={value}\n" for name, value in lines)
    try:
        planned, rendered = imported(text, reader)
    except FormatError:
        return
    for name in reader.formats:
        assert readings(planned.expected, name) == readings(rendered.text, name)
    config = configs(reader)[rendered.format]
    assert rendered_file(config, planned.template, planned.stored) == rendered.text


@pytest.mark.parametrize("token_file", [None, "/home/a b/.vault-token"])
def test_a_new_configuration_is_valid(token_file):
    text = new_config("testing", token_file, APP)
    config = parse(text, source="f", environ={"XDG_RUNTIME_DIR": "/run/user/1"})
    assert (config.environment, config.state_dir) == ("testing", "/run/user/1/lessee")
    assert getattr(config.vault.auth, "token_file", None) == token_file
    [file] = config.apps["shop"].files
    assert (config.apps["shop"].directory, file.name, file.format) == ("/run/user/1/secrets/shop", ".env", "dotenv")


def test_an_app_is_added_to_an_existing_configuration_once():
    before = "# mine\nenvironment: testing\napps:\n  web: # x\n    directory: /run/web\n    files: [{template: a.j2}]\n"
    after = with_app(before, "f", APP, {})
    assert after.startswith(before)
    assert yaml.safe_load(after)["apps"].keys() == {"web", "shop"}
    assert with_app(after, "f", APP, {}) == after
    with pytest.raises(ConfigError, match="there is another app with the name shop; pass another name with --app"):
        with_app(after, "f", EnvApp("shop", "other.j2", ".env", "dotenv"), {})


def test_a_configuration_that_an_app_would_change_gets_the_lines_to_add(monkeypatch):
    text = "environment: testing\napps:\n  web: {directory: /run/web, files: [{template: a.j2}]}\n"
    monkeypatch.setattr(env_config, "add_apps", lambda text, _source, _apps: text.replace("a.j2", "b.j2"))
    with pytest.raises(ConfigError, match=r"(?s)lessee cannot add an app .* add these lines .*  shop:\n    directory"):
        with_app(text, "f", APP, {})


@pytest.mark.parametrize(
    ("uid", "environ", "memory"),
    [
        (0, {}, "/run"),
        (1000, {"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/user/1000"),
        (1000, {}, "/dev/shm/lessee-1000"),
        (1000, {"XDG_RUNTIME_DIR": ""}, "/dev/shm/lessee-1000"),
    ],
)
def test_state_and_files_are_where_the_user_may_write(monkeypatch, uid, environ, memory):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    app = EnvApp("shop", "shop.env.j2", ".env", "dotenv", memory_of_user(environ))
    config = parse(new_config("testing", None, app), source="f", environ=environ)
    assert (config.state_dir, config.apps["shop"].directory) == (f"{memory}/lessee", f"{memory}/secrets/shop")
