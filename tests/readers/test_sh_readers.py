"""Real shells read scripts of the format sh."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES
from support.needs import need

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "ash"], "zsh": ["zsh", "-f"]}
HELD = [value for value in VALUES if "\0" not in value]
LINE_BREAKS = set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


def cut(text):
    return text.split("¦")


def flat(lines):
    return [part for line in lines for part in line]


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "run.sh", tuple(part if isinstance(part, str) else Placeholder(part[0], "db: password") for part in parts)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sh")


def started(name):
    """The command that starts a shell."""
    command, *options = SHELLS[name]
    path = shutil.which(command)
    need(path, f"needs {command} (Debian: apt-get install {command})")
    return [path, *options]


@pytest.fixture(scope="module", params=SHELLS)
def shell(request):
    return started(request.param)


@pytest.fixture(scope="module")
def shells():
    """All shells, started once for many examples."""
    return [started(name) for name in SHELLS]


@pytest.fixture(scope="module")
def run(folder):
    """A function that runs a script in a shell, with only `cat`; returns the output and the created files."""
    (folder / "bin").mkdir()
    (folder / "bin/cat").symlink_to(shutil.which("cat"))

    def run(shell, text):
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        script = folder / "run.sh"
        script.write_bytes(text.encode())
        environ = {"PATH": str(folder / "bin"), "HOME": "/home/of/the/test", "H": "x y", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [*shell, script], cwd=work, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        return done.stdout, sorted(path.name for path in work.iterdir())

    return run


# The text before a value, the text after it, and what is printed around it.
PLACES = {
    "a word": ("printf '%s\\0' ", "\n", "", ""),
    "a part of a word": ("printf '%s\\0' $H:", "${H+y}'z'\"\"\\w\n", "x y:", "yzw"),
    "single quotes": ("printf '%s\\0' 'x ", "'\n", "x ", ""),
    "double quotes": ("printf '%s\\0' \"$H:\\", '$"\n', "x y:\\", "$"),
    "an assignment": ("X=", "; printf '%s\\0' \"$X\"\n", "", ""),
    "an export": ("export X=~:", ":/; printf '%s\\0' \"$X\"\n", "/home/of/the/test:", ":/"),
    "a pattern": ("case $V in ", ") printf '%s\\0' \"$V\"; esac\n", "", ""),
}


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("place", PLACES)
def test_every_value_is_unchanged_in_every_position(shell, run, place):
    before, after, left, right = PLACES[place]
    lines = [("V=", [value], "; ", before, [value], after) for value in HELD]
    out, made = run(shell, write(document("IFS=; ", *flat(lines)), "sh"))
    assert out.decode().split("\0") == [*(f"{left}{value}{right}" for value in HELD), ""]
    assert made == []


def test_every_value_is_unchanged_in_a_command_within_quotes(shell, run):
    words = [(' "', [value], '"') for value in HELD]
    out, made = run(shell, write(document("X=\"$(printf '<%s>'", *flat(words), ')"; printf %s "$X"'), "sh"))
    assert out.decode() == "".join(f"<{value}>" for value in HELD)
    assert made == []


@pytest.mark.parametrize(("delimiter", "dollar"), [("E", "\\$"), ("'E'", "$"), ("\\E", "$")])
def test_every_value_is_unchanged_in_a_here_document(shell, run, delimiter, dollar):
    lines = [(f"{dollar}(", [value], ")\n") for value in HELD]
    out, made = run(shell, write(document(f"cat <<{delimiter}\n", *flat(lines), "E\n"), "sh"))
    assert out.decode() == "".join(f"$({value})\n" for value in HELD)
    assert made == []


def test_no_value_ends_a_comment(shell, run):
    values = [value for value in HELD if not LINE_BREAKS.intersection(value)]
    lines = [("# ", [value], "\n:  # ", [value], "\n") for value in values]
    out, made = run(shell, write(document(*flat(lines), "$(\n", *flat(lines), ")\nprintf end"), "sh"))
    assert (out, made) == (b"end", [])


def test_a_program_gets_every_value_in_its_environment_and_nothing_else(shell, folder):
    lines = [(f"V{index}=", [value], "\n") for index, value in enumerate(HELD)]
    (folder / "app.env").write_text(write(document(*flat(lines)), "sh"), newline="")
    plain = environment(shell, "")
    got = environment(shell, f"set -a; . {folder}/app.env; set +a;")
    assert got == plain | {f"V{index}": value for index, value in enumerate(HELD)}


def environment(shell, before):
    program = f"{before} exec {shutil.which('env')} -0"
    done = subprocess.run([*shell, "-c", program], env={}, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0")[:-1])


def test_only_a_nul_is_rejected_since_no_shell_can_represent_it():
    assert set(VALUES) - set(HELD) == {"a\0b"}
    for before, after, _, _ in PLACES.values():
        with pytest.raises(FormatError, match="contains a NUL"):
            write(document(before, ["a\0b"], after), "sh")


PIECES = cut(
    "'¦\"¦`¦$¦\\¦\n¦ ¦#¦;¦&¦|¦(¦)¦{¦}¦<¦>¦*¦~¦=¦!¦é¦\r¦E)¦esac¦;;¦:h¦[$(: >MADE)]"
    "¦$(: >MADE)¦`: >MADE`¦;: >MADE;¦\n: >MADE\n¦\nE\n: >MADE\n"
)
hostile = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


def joined(parts):
    """The script and the expected output, joined from several."""
    return [piece for written, _ in parts for piece in written], "".join(meant for _, meant in parts)


def around(before, inside, after):
    return inside.map(lambda both: ([before, *both[0], after], both[1]))


def several(*strategies):
    return st.lists(st.one_of(*strategies), max_size=3).map(joined)


placeholders = hostile.map(lambda value: ([[value]], value))
plain = st.text("ab1-_,.:/é=", min_size=1).map(lambda text: ([text], text))
variables = st.sampled_from(
    [(["$H:"], "x y:"), (["${H}"], "x y"), (["${N:-a}"], "a"), (["$(printf b)"], "b"), (["$((1+2))"], "3")]
)
escapes = st.sampled_from([(["\\$"], "$"), (["\\\\"], "\\"), (["\\`"], "`"), (["\\a"], "\\a"), (["\\\n"], "")])
single = around("'", several(placeholders, plain, escapes.map(lambda both: (both[0], both[0][0]))), "'")
double = around('"', several(placeholders, plain, variables, escapes), '"')
words = several(placeholders, plain, variables, single, double, st.just((["\\ "], " "))).map(
    lambda both: (["w", *both[0]], "w" + both[1])
)
nested = around("\"$(printf '%s' ", words, '.)"').map(lambda both: (both[0], both[1] + "."))
arguments = st.one_of(words, nested)


def printed(both):
    return ["printf '%s\\0' ", *both[0], "\n"], both[1] + "\0"


statements = st.one_of(
    arguments.map(printed),
    arguments.map(lambda both: (["X=", *both[0], "; printf '%s\\0' \"$X\"\n"], both[1] + "\0")),
    arguments.map(lambda both: (["for i in a ", *both[0], "; do :; done; printf '%s\\0' \"$i\"\n"], both[1] + "\0")),
    arguments.map(lambda both: (["case ", *both[0], " in (z) ;; ", *both[0], ") printf 'y\\0';; esac\n"], "y\0")),
    several(placeholders, plain, variables, escapes).map(
        lambda both: (["cat <<END\n", *both[0], "\nEND\n"], both[1] + "\n")
    ),
    several(placeholders, plain).map(lambda both: (["cat <<'END'\n", *both[0], "\nEND\n"], both[1] + "\n")),
    st.text("ab1'\"`$(){};", max_size=9).map(lambda value: ([":  # ", [value], "\n"], "")),
)


@given(st.lists(statements, max_size=6).map(joined))
@settings(max_examples=40)
def test_scripts_print_the_expected_text(run, shells, both):
    written, meant = both
    text = write(document("IFS=\n", *written), "sh")
    for shell in shells:
        assert (shell, *run(shell, text)) == (shell, meant.encode(), [])


JUNK = cut(
    "p ¦X=¦\n¦;¦'¦\"¦\\¦\\\n¦$¦$x¦${x:-¦}¦$(¦)¦`¦#¦ # ¦(¦{ ¦; }¦E¦case ¦esac¦;;¦&&¦|¦!¦$((¦))¦1¦((¦[[ ¦ ]]¦=¦~¦*"
    "¦\t¦x[¦]¦\r¦$'¦\\'¦\\\"¦$\"¦é¦<¦@(¦<(¦$#¦$x:¦$x[¦export ¦eval ¦time ¦A=(¦f() ¦<<E\n"
)
PAIRS = cut(
    '\'…\'¦"…"¦$(…)¦"$(…)"¦`…`¦${x:-…}¦"${x:-…}"¦$((…))¦$\'…\'¦[[ … ]]¦ # …\n¦p …\n¦X=… ;p "$X";¦( p … )¦{ p …; }'
    "¦c <<E\n…\nE\n¦c <<'E'\n…\nE\n¦c <<-E\n…\n\tE\n¦$(c <<E\n…\nE\n)¦case a in a) p …;; esac\n"
    '¦"$(case a in a) …;; esac)"¦if :; then p …; fi\n¦for i in …; do p "$i"; done\n'
)


def paired(both):
    before, after = both[0].split("…")
    return [before, *flat(both[1]), after]


pieces = st.just([None]) | st.sampled_from([*JUNK, "a", "k", " ", "p ", "$x"]).map(lambda text: [text])
junk = st.recursive(
    pieces,
    lambda inside: st.tuples(st.sampled_from(PAIRS), st.lists(inside, min_size=1, max_size=4)).map(paired),
    max_leaves=12,
).filter(lambda parts: None in parts and "$$" not in "".join(part or "" for part in parts))  # It is never the same.
PRELUDE = """\
p() { printf %s "$#"; for a do printf '<%s>' "$a"; done; printf ';\\n'; }
c() { p "$(cat)"; }
x=xx; IFS=; set -f
"""


@given(st.data(), junk)
@settings(max_examples=60)
def test_no_value_is_more_than_text_with_any_text_of_the_author(run, shells, data, parts):
    values = [f"v{data.draw(hostile)}w" for part in parts if part is None]
    harmless = [f"v{index}w" for index, _ in enumerate(values)]
    try:
        texts = [write(filled(parts, some), "sh") for some in (values, harmless)]
    except FormatError:
        return
    for shell in shells:
        (out, made), (expected, made_without) = (run(shell, PRELUDE + text) for text in texts)
        for word, value in zip(harmless, values, strict=True):
            expected = expected.replace(word.encode(), value.encode())
            made_without = [name.replace(word, value) for name in made_without]
        assert (shell, out, made) == (shell, expected, sorted(made_without))


def filled(parts, values):
    rest = iter(values)
    return document(*([next(rest)] if part is None else part for part in parts))
