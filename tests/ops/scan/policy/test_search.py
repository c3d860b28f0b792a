"""What a search finds in texts of many languages, and where."""

import pytest

from lessee.ops.scan.policy.candidates import Candidate, find_assignments
from lessee.ops.scan.policy.lines import SeenLines
from lessee.ops.scan.policy.places import place_of
from lessee.ops.scan.policy.randomness import entropy, is_hex, is_unguessable, looks_random
from lessee.ops.scan.policy.search import search

RANDOM = "q8Zr2Kx9Lm4Tn7Vb5Wc3Yd6Hf1Jg0Ps"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDAC4AWkdwKYSd8\n" * 3
AWS = "AKIA" + "4CANARYQ7ZX2WVB5"
FOUND = [
    (".env", "PASSWORD=hunter2 # old", "PASSWORD", "hunter2"),
    (".env", "export API_KEY='hunter2'", "API_KEY", "hunter2"),
    ("a.yaml", "      - PASSWORD=hunter2", "PASSWORD", "hunter2"),
    ("a.yaml", "  password: hunter2", "password", "hunter2"),
    ("a.yaml", "environment: {PASSWORD: hunter2, A: b}", "PASSWORD", "hunter2"),
    ("a.yaml", "- name: API_TOKEN\n  value: hunter2", "API_TOKEN", "hunter2"),
    ("a.yaml", "command: redis-server --requirepass hunter2", "requirepass", "hunter2"),
    ("a.json", '{"db_password": "hunter2"}', "db_password", "hunter2"),
    ("a.json", '{"name": "API_TOKEN", "value": "hunter2"}', "API_TOKEN", "hunter2"),
    ("a.xml", "<password>hunter2</password>", "password", "hunter2"),
    ("a.properties", "db.password = hunter2;", "db.password", "hunter2"),
    ("a.conf", "passwd: hunter2)", "passwd", "hunter2"),
    ("a.ini", f"password =\n  {RANDOM}", "password", RANDOM),
    ("a.properties", f"db.password=\\\r\n    {RANDOM}", "db.password", RANDOM),
    ("a.yaml", f"password: >-\n  {RANDOM}", "password", RANDOM),
    ("a.yaml", f"password: |\n  {RANDOM[:12]}=\nuser: a", "password", f"{RANDOM[:12]}="),
    ("a.py", 'password = "hunter2"', "password", "hunter2"),
    ("a.py", 'password: str = Field(default="hunter2")', "password", "hunter2"),
    ("a.py", 'f(password="hunter2")', "password", "hunter2"),
    ("a.py", 'os.environ.get("API_KEY", "abcdef123456")', "API_KEY", "abcdef123456"),
    ("a.py", 'x = "\u0130\u0130\u0130", PASSWORD="hunter2"', "PASSWORD", "hunter2"),
    ("a.go", "token := `hunter2`", "token", "hunter2"),
    ("a.cpp", 'std::string secret("hunter2");', "secret", "hunter2"),
    ("a.cpp", 'password.assign("hunter2", 7);', "password", "hunter2"),
    ("a.js", "if ('hunter2' === password) {", "password", "hunter2"),
    ("a.php", "'password' => 'hunter2',", "password", "hunter2"),
    ("a.sh", "mysql --password=hunter2 -u root", "password", "hunter2"),
    ("Dockerfile", "ENV DB_PASSWORD hunter2", "DB_PASSWORD", "hunter2"),
    ("a.sh", "export TOKEN=hunter2;", "TOKEN", "hunter2"),
    ("a.sh", "curl -u me:hunter2 https://a/", "", "hunter2"),
    ("a.sh", "curl -H 'Authorization: Bearer hunter2hunter2'", "", "hunter2hunter2"),
    ("a.py", f'url = "redis://:{RANDOM}@cache"', "url", RANDOM),
    ("a.py", f'x = "{AWS}"', "x", AWS),
    ("a.py", f'x = "{RANDOM}"', "x", RANDOM),
]
NOTHING = [
    ("a.py", "password = get_password()"),
    ("a.py", "password = password"),
    ("a.py", 'error("it has lost the new password", where="line 123456789")'),
    ("a.py", 'token = f"{self.prefix}{app}1"'),
    ("a.py", "token = replace(token, sent_at=token.ends_at1)"),
    ("a.yaml", "secret: database/postgres"),
    ("a.yaml", "id-token: write"),
    ("a.json", '{"about": "as `KEY` or `KEY=VALUE`"}'),
    ("a.py", 'names = ("password", "token", "secret")'),
    ("a.py", 'if text.startswith("-----BEGIN PRIVATE KEY-----"):'),
    ("a.md", "Run `token` or `secret`, `then this`."),
    ("a.yaml", "password: first 'second', third"),
    ("a.yaml", "password:"),
    ("a.yaml", "password:\nhunter2-hunter2"),
    ("a.yaml", "secrets:\n  database-1234:\n    file: a"),
    ("a.yaml", "secrets:\n  - database-1234"),
    ("a.yaml", "secrets:\n  database"),
    ("a.yaml", "password: |\n  the words of 1234567890"),
    ("a.ini", "credentials =\n  USER=user-1234567"),
    ("a.sh", "PASSWORD=\n  make-1234567890"),
    ("a.sh", "curl -u me:$PASSWORD https://a/"),
    ("a.lock", f'password = "hunter2" # {RANDOM}'),
    ("a.py", "token" * 30 + ' = "hunter2"'),
    ("tests/a.py", f'x = "{RANDOM}"'),
]

HOSTILE = {
    "parts of a token": ("a.py", 'x = "' + "_".join(["aB3", "x7K", "Qz9", "4hT"] * 18) + '="'),
    "references in a URL": ("a.py", f"amqp://app:{'${a}' * 40} "),
    "spaces after a name": ("a.py", f"password{' ' * 200_000}x"),
    "spaces in an element": ("a.xml", f"<password>{' ' * 20_000}x"),
    "spaces after a value": ("a.xml", f"<password>x{' ' * 200_000}x"),
    "spaces before a long value": ("a.yaml", f"password: {' ' * 200_000}{'x' * 600}"),
    "spaces before a long value of an env file": (".env", f"PASSWORD= {' ' * 200_000}{'x' * 3000}"),
    "spaces before the next line": ("a.ini", f"password ={' ' * 200_000}\n{' ' * 200_000}x x"),
    "a name that repeats a word": ("a.py", "password" * 100_000),
    "a value of ends": ("a.sh", f"password={',' * 800_000}"),
    "a value that repeats a word": ("a.sh", f"password={'your' * 200_000}"),
}


@pytest.mark.parametrize(("file", "text", "name", "value"), FOUND)
def test_a_secret_is_found_in_each_language_with_its_name_and_its_line(file, text, name, value):
    [hit] = search(f"\n{text}\n", place_of(file)).hits
    assert (hit.name, hit.value) == (name, value)
    assert hit.line == 2 + text[: text.index(value)].count("\n")


@pytest.mark.parametrize(("file", "text"), NOTHING)
def test_names_expressions_and_lists_of_words_are_no_secrets(file, text):
    assert search(text, place_of(file)).hits == ()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_text_is_searched_in_linear_time(what):
    file, text = HOSTILE[what]
    assert len(search(text, place_of(file)).hits) <= 1


def test_a_value_is_without_what_ends_its_list_or_its_statement():
    for text, value in {
        "hunter2),": "hunter2",
        "hunter(2) )": "hunter(2)",
        "hunter2]} ;": "hunter2",
        "hunter2)": "hunter2",
        "h(un(ter)2": "h(un(ter)2",
        "h)2))": "h)2",
    }.items():
        [found] = find_assignments(f"password = {text}\n", place_of("a.ini"))
        assert found.value == value


def test_a_private_key_is_one_secret_with_all_its_lines():
    [hit] = search(f"A=1\n{KEY}", place_of("a.pem")).hits
    assert (hit.rule, hit.line, hit.has_format) == ("private-key", 2, True)
    assert hit.value.startswith("-----BEGIN")
    assert len(hit.value) > 200
    assert hit.value not in repr(hit)


def test_placeholders_are_counted():
    assert search("PASSWORD=changeme\nTOKEN=xxxxxx\nA=1\n", place_of(".env")).placeholders == 2


def test_what_a_plugin_finds_is_reported_unless_it_is_known_already():
    text = f"a = {AWS}\nb = other-key-98"
    plugins = [Candidate("AWS", AWS, 4, 4 + len(AWS)), Candidate("Other", "other-key-98", 29, 41)]
    hits = search(text, place_of("a.py"), plugins).hits
    assert [(hit.rule, hit.detail) for hit in hits] == [
        ("known-key", "an AWS access key (AKIA…)"),
        ("plugin", "Other (detect-secrets)"),
    ]


def test_only_lines_that_were_not_seen_are_new():
    seen = SeenLines()
    seen.add("a\nb\n")
    new = seen.new("a\nx\nTOKEN=hunter2\nb")
    assert (new.text, new.numbers, new.new) == ("a\nx\nTOKEN=hunter2", (1, 2, 3), {2, 3})
    [hit] = new.located(search(new.text, place_of(".env")))
    assert hit.line == 3
    seen.add("TOKEN=hunter2")
    old = seen.new("TOKEN=hunter2\nnew")
    assert old.numbers == (1, 2)
    assert list(old.located(search(old.text, place_of(".env")))) == []
    assert seen.new("a\nb").text == ""


def test_a_private_key_is_new_if_one_of_its_lines_is():
    seen = SeenLines()
    seen.add(KEY.split("\n", maxsplit=1)[0])
    new = seen.new(KEY)
    assert new.text == KEY
    assert [hit.line for hit in new.located(search(new.text, place_of("a.pem")))] == [1]


def test_lines_are_forgotten_when_they_are_too_many():
    seen = SeenLines(most=1)
    seen.add("a\nb")
    seen.add("c")
    assert seen.new("a").new == {1}
    assert seen.new("c").new == set()


def test_randomness_separates_keys_from_words():
    for value in (RANDOM, "9f86d081884c7d659a2feaa0c55ad015", "Zx9+/Qw8Er7Ty6Ui5Op4As3Df2Gh1Jk0=="):
        assert looks_random(value), value
        assert is_unguessable(value), value
    for value in (
        "short1A",
        "correct-horse-battery-staple-9",
        "aaaaaaaaaaaaaaaaaaaaaaa1",
        "a" * 40,
        "with space 1234567890 ABC",
    ):
        assert not looks_random(value), value
        assert not is_unguessable(value), value
    assert not looks_random("abcdefghijklmnop12345678AbCdEf")
    assert entropy("") == 0
    assert entropy("ab") == 1
    assert is_hex("203db13e-70c7-462b-9a3d-bf32640cb0be")
