"""The format nginx, tested with nginx, which serves the values."""

import hashlib
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import nginx_directives, write
from support.inputs.hostile_values import VALUES
from support.needs import need
from support.programs.sidecar import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# nginx has a buffer of 4096 bytes for a word, its quotes and what follows them.
SHORT = [value for value in VALUES if len(re.sub(r'(["\\])', r"\\\1", value).encode()) + 2 < 4096]
KEPT = [value for value in SHORT if not CONTROL.search(value)]
PLAIN = [value for value in KEPT if "$" not in value]

PATHS = " ".join(f"{name}_temp_path {{0}}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
HTTP = (
    "daemon off; master_process off; error_log stderr notice; pid {0}/pid; events {{}}\n"
    "http {{ access_log off; keepalive_requests 100000; variables_hash_max_size 8192; map_hash_max_size 8192;"
    " map_hash_bucket_size 8192; types_hash_max_size 8192;" + PATHS + "\n"
)
SERVER = "server {{ listen unix:{0}/http;\n"


def document(*parts):
    """Marked text of strings and of values in lists."""
    placeholders = (part if isinstance(part, str) else Placeholder(part[0], "api/openrouter: key") for part in parts)
    return Document("nginx.conf.j2", tuple(placeholders))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    need(NGINX, "needs nginx: apt install nginx")
    return tmp_path_factory.mktemp("nginx")


def check(folder, text):
    """Whether nginx accepts the configuration, and its messages."""
    path = folder / "tried.conf"
    path.write_bytes(text.encode())
    run = subprocess.run([NGINX, "-t", "-q", "-c", path, "-e", "stderr"], capture_output=True, check=False)
    return run.returncode == 0, run.stderr.decode(errors="replace")


@contextmanager
def served(folder, server=(), http=()):
    """Starts a real nginx; returns a function that sends requests."""
    parts = HTTP.format(folder), *http, SERVER.format(folder), *server, "\n}\n}\n"
    path, address = folder / "nginx.conf", folder / "http"
    path.write_bytes(write(document(*parts), "nginx").encode())
    address.unlink(missing_ok=True)
    with (folder / "log").open("wb") as log, subprocess.Popen([NGINX, "-c", path, "-e", "stderr"], stderr=log) as nginx:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                # It binds before it listens.
                eventually(
                    lambda: nginx.poll() is not None or connection.connect_ex(str(address)) == 0,
                    "nginx",
                )
                assert nginx.poll() is None, (folder / "log").read_text()
                with connection.makefile("rb") as stream:
                    yield lambda *what, **headers: ask(connection, stream, *what, **headers)
        finally:
            nginx.terminate()


def ask(connection, stream, path, **headers):
    """The headers and the body of a response as bytes."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    assert stream.readline().startswith(b"HTTP/1.1 200 ")
    found = {}
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.removesuffix(b"\r\n").partition(b": ")
        found[name.decode()] = value.decode()
    return found, stream.read(int(found["Content-Length"])).decode()


def test_rejected_values_have_a_control_character_a_dollar_or_4_kb():
    for value in VALUES:
        try:
            write(document("return 200 ", [value], ";"), "nginx")
        except FormatError:
            assert value not in PLAIN
        else:
            assert value in PLAIN


FORMS = {
    "": "{}",
    '"': "{}",
    "'": "{}",
    "Bearer:": "Bearer:{}",
    "'$scheme$arg_none\\t": "http\t{}",
    '"${scheme}': "http{}",
    "\\": "\\{}",
}
"""What may stand before a value, and what is served then."""


@pytest.mark.parametrize(("before", "wanted"), FORMS.items())
def test_every_value_is_served_unchanged_in_any_context(folder, before, wanted):
    after = before[:1] if before[:1] in {'"', "'"} else ""
    server = []
    for number, value in enumerate(PLAIN):
        server += [f"location = /{number} {{ return 200 {before}", [value], f"{after}; }}\n"]
    with served(folder, server) as get:
        for number, value in enumerate(PLAIN):
            assert get(f"/{number}")[1] == wanted.format(value)


def test_a_value_may_follow_a_capture_of_a_regular_expression(folder):
    with served(folder, ["if ($uri ~ ^/(.)$) { return 200 x$1", ["2"], "; }"]) as get:
        assert get("/a")[1] == "xa2"


def test_every_value_is_sent_as_one_header_to_the_client_and_the_upstream(folder):
    server = ['location = /said { return 200 "$http_x_value"; }\n']
    for number, value in enumerate(PLAIN):
        server += [f"location = /{number} {{ add_header X-Value ", [value], ";\nproxy_set_header X-Value ", [value]]
        server += [f"; proxy_pass http://unix:{folder}/http:/said; }}\n"]
    with served(folder, server) as get:
        for number, value in enumerate(PLAIN):
            headers, body = get(f"/{number}")
            assert headers.get("X-Value", "") == value
            assert body == value.strip(" ")
            assert set(headers) <= {"Server", "Date", "Content-Type", "Content-Length", "Connection", "X-Value"}


def test_values_with_a_dollar_are_written_with_geo(folder):
    http, server = [], []
    for number, value in enumerate(KEPT):
        http += [f"geo $value{number} {{ default ", [value], "; }\n"]
        server += [f"location = /{number} {{ return 200 '$value{number}'; }}\n"]
    with served(folder, server, http) as get:
        for number, value in enumerate(KEPT):
            assert get(f"/{number}")[1] == value


def test_a_dollar_in_the_secret_of_a_secure_link_is_a_dollar(folder):
    values = [value for value in KEPT if value][::10]
    server = ["location /ok { return 200 yes; }\n"]
    for number, value in enumerate(values):
        server += [f"location /{number}/ {{ secure_link_secret ", [value], "; rewrite ^ /ok$secure_link last; }\n"]
    with served(folder, server) as get:
        for number, value in enumerate(values):
            signature = hashlib.md5(b"link" + value.encode(), usedforsecurity=False).hexdigest()
            assert get(f"/{number}/{signature}/link")[1] == "yes"


@pytest.mark.parametrize(("before", "after"), [("", ")"), ('"', '")'), ("'", "' )"), ("", " )")])
def test_a_condition_is_true_only_for_its_value(folder, before, after):
    values = ["", ")", "(", "a)", "=", "~", "~*", "-f", *(value for value in PLAIN if value == value.strip(" "))][::5]
    server = []
    for number, value in enumerate(values):
        server += [
            f"location = /{number} {{ set $is no; if ($http_x = {before}",
            [value],
            f"{after} {{ set $is yes; }}",
        ]
        server += [" return 200 $is; }\n"]
    with served(folder, server) as get:
        for number, value in enumerate(values):
            assert get(f"/{number}", X=value)[1] == "yes"
            assert get(f"/{number}", X=f"{value}x")[1] == "no"


def test_every_value_is_a_key_of_map_that_matches_only_itself(folder):
    keys = {value.lower(): value for value in PLAIN if value == value.strip(" ")}
    keys |= {key: key for key in ("default", "include", "hostnames", "volatile", "~", "~*.", "\\", "\\~", "\\default")}
    http = ["map $http_x $found { default none;\n"]
    for number, key in enumerate(keys.values()):
        http += [[key], f" {number};\n"]
    with served(folder, ["location / { return 200 $found; }"], [*http, "}\n"]) as get:
        assert get("/", X="none of them")[1] == "none"
        for number, key in enumerate(keys.values()):
            assert get("/", X=key)[1] == str(number)


pieces = st.sampled_from([*"aB1 \t\n\r\"'\\$;#){}~é", "\\n", '\\"', "\\'", "\\\\", "${", '" ', "' ", "#\n", "; "])
junk = st.lists(pieces, max_size=12).map("".join)
word = st.tuples(junk, st.sampled_from("\"'")).map(
    lambda drawn: drawn[1] + drawn[0].replace("\\", "").replace(drawn[1], f"\\{drawn[1]}") + drawn[1]
)
entry = st.lists(word | st.sampled_from(["a", "b", "$a{{", "a\\;b"]), min_size=1, max_size=4).map(" ".join)


@pytest.mark.thorough
@settings(max_examples=400)
@given(st.lists(entry.map("{};".format) | junk, max_size=4).map("\n".join))
@example("a $${{b;")
@example('a "b")c;')
@example('a "$\\";")#;')
@example("a b\\\n; c };")
def test_words_are_parsed_as_by_nginx(folder, entries):
    """`types` accepts any word as an entry, and prints a duplicate entry."""
    head = HTTP.format(folder)
    text = f"{head}types {{ {entries}\n{entries}\n}}\n}}\n"
    accepted, messages = check(folder, text)
    try:
        directives = nginx_directives.read(text)
    except nginx_directives.UnparsableError:
        assert not accepted
        return
    found = [directive for directive in directives if directive.holder == "types"]
    # Nothing else in the file is valid for nginx.
    assert accepted == (len(directives) == len(nginx_directives.read(head + "types {}}")) + len(found))
    if accepted:
        messages = re.sub(r"^.* \[warn\] \d+#\d+: | in \S+:\d+$", "", messages, flags=re.MULTILINE)
        assert messages == "".join(duplicates(found))


def duplicates(entries):
    types = {}
    for entry in entries:
        kind, *extensions = (word.text for word in entry.words)
        for extension in extensions:
            name = re.sub("[A-Z]", lambda letter: letter[0].lower(), extension)
            if name in types:
                yield f'duplicate extension "{name}", content type: "{kind}", previous content type: "{types[name]}"\n'
            types[name] = kind


@pytest.mark.parametrize("form", ['"{}";', '"{}" ;', "'{}'\n\n;", "é{};", "é{} ;", "x; #{}\n", "x #{}\n;"])
def test_words_and_comments_have_the_length_limit_of_nginx(folder, form):
    accepted = []
    for length in range(4088, 4098):
        for start in ("", " " * 1000):
            text = HTTP.format(folder) + SERVER.format(folder) + start + "return 200 " + form.format("a" * length)
            text += "\n}\n}\n" + " " * 5000
            accepted.append(check(folder, text)[0])
            assert accepted[-1] == readable(text)
    assert 0 < sum(accepted) < len(accepted)


def readable(text):
    try:
        return bool(nginx_directives.read(text))
    except nginx_directives.UnparsableError:
        return False


@pytest.mark.parametrize("length", [4093, 4094])
def test_a_value_may_be_as_long_as_a_word(folder, length):
    parts = HTTP.format(folder), SERVER.format(folder), "return 200 ", ["a" * length], " ;\n}\n}\n"
    if length == 4093:
        assert check(folder, write(document(*parts), "nginx"))[0]
    else:
        with pytest.raises(FormatError, match="longer than nginx's limit of 4 KB"):
            write(document(*parts), "nginx")


@given(
    st.lists(st.sampled_from(["server {", "location /a {", "}", "return 200 'x}';", "# }\n", "types {"]), max_size=8)
)
def test_blocks_are_parsed_as_by_nginx(folder, blocks):
    text = HTTP.format(folder) + " ".join(blocks) + "\n}\n"
    accepted, messages = check(folder, text)
    unbalanced = "expecting" in messages or "unexpected" in messages
    assert accepted <= readable(text)
    assert unbalanced <= (not readable(text))
