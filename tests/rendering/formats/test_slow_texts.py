"""The time of a file's verification grows as its text does, whatever the text is."""

import time

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import FORMATS, dotenv, outline
from lessee.rendering.public_variables import refuse_public
from lessee.rendering.serialization import content
from support.inputs.slow_texts import SLOW_TEXTS, VALUE

CASES = [(name, number) for name, texts in SLOW_TEXTS.items() for number in range(len(texts))]


def _document(text):
    before, after = text.split(VALUE)
    return Document("a.j2", (before, Placeholder("p", "a: x"), after))


def _seconds(function, *arguments):
    """Seconds of the processor, which other programs do not change, until the function returns or refuses the file."""
    began = time.thread_time()
    try:
        function(*arguments)
    except FormatError as exc:
        refused = str(exc)
    else:
        refused = ""
    assert "a file with a verified structure" not in refused  # That limit would hide all others.
    return time.thread_time() - began


def test_each_format_with_a_proof_has_a_text_that_is_built_to_be_slow():
    assert SLOW_TEXTS.keys() == set(FORMATS) - {"text"}


@pytest.mark.long
@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_text_that_is_built_to_be_slow_takes_no_minute(name, number):
    """Most of them took minutes, and all other apps waited for that."""
    text = SLOW_TEXTS[name][number]
    assert _seconds(content, _document(text), name) < 4
    assert _seconds(refuse_public, _document(text), name, ()) < 4
    assert _seconds(outline, text.replace(VALUE, "p"), name) < 4


@pytest.mark.long
@pytest.mark.parametrize("name", ["dotenv", "dotenv-compose", "sh", "nginx", "yaml"])
def test_a_text_that_is_built_to_be_slow_is_written_as_it_is(name):
    text = SLOW_TEXTS[name][0]
    (before, after), written = text.split(VALUE), content(_document(text), name).decode()
    assert written.startswith(before)
    assert written.endswith(after)


def test_a_text_of_lines_that_are_not_ini_costs_what_the_first_one_costs():
    """With the configparser of Python 3.13 it took 43 seconds."""
    assert _seconds(outline, "[a]\n" + "x\n" * 150_000, "ini") < 4


def test_references_that_double_the_environment_are_refused_before_they_fill_the_memory():
    text = "A=x\nB=$" + "".join(f"\nA{n + 1}=${{A{n}}}${{A{n}}}" for n in range(60)).replace("A0", "A")
    began = time.thread_time()
    with pytest.raises(FormatError, match="more than 4 MiB with what their references refer to"):
        dotenv.variables(text, {})
    assert time.thread_time() - began < 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dotenv", f"A={VALUE}\nB=${{B:-${{B:${{B}}\n"),
        ("dotenv", f"A={VALUE}\nB=${{B:-\n"),
        ("dotenv", f"A={VALUE}\nB=${{B:${{B\n"),
        ("dotenv-node", f"A={VALUE}\n#\n\nB\nB=x\u2028'y'\n"),
        ("dotenv-vite", f"A={VALUE}\nB=$\nC=$$B\n"),
        ("dotenv-compose", f'A={VALUE}\nB="${{B-${{B-b}}}}${{B-{{}}}}\n}}"\n'),
        ("sh", f"A={VALUE}\nB=a$(b)c$(d)\n"),
        ("nginx", f"set $a {VALUE};\na_by_lua_block {{ ' \\' \\'\n \"a\\\"\" }}\n"),
        ("toml", f"a = {VALUE}\nb.c . d = 1\n"),
    ],
)
def test_a_text_of_the_same_kind_that_is_short_is_written_as_it_is(name, text):
    before, after = text.split(VALUE)
    written = content(_document(text), name).decode()
    assert written.startswith(before)
    assert written.endswith(after)


@pytest.mark.parametrize("text", ["b" + ".b" * 101 + " = 1", "[b" + ".'b'" * 101 + "]"])
def test_a_key_of_many_parts_is_nested_too_deeply(text):
    with pytest.raises(FormatError, match="nested too deeply"):
        content(_document(f"a = {VALUE}\n{text}\n"), "toml")


@pytest.mark.parametrize("number", ["0x1" + "0" * 5_000, "1" + "0" * 5_000])
def test_an_integer_of_thousands_of_digits_is_an_error_of_the_template(number):
    with pytest.raises(FormatError, match=r"a\.j2: the text is not TOML: an integer has thousands of digits"):
        content(_document(f"a = {VALUE}\nb = [{number}]\n"), "toml")


def test_special_patterns_that_repeat_the_text_around_them_are_bounded():
    """JavaScript's replace() puts the text before a match in place of each $`."""
    text = f"A={VALUE}\nB=" + "$`" * 3_000 + "\nC=" + "x" * 1_000 + "$B\n"
    with pytest.raises(FormatError, match="grow without limit"):
        content(_document(text), "dotenv-vite")


def test_the_steps_of_all_expansions_of_a_file_are_bounded_together():
    text = f"A={VALUE}\nB={'x' * 10_000}\n" + "".join(f"C{n}={'$B' * 40}\n" for n in range(4))
    with pytest.raises(FormatError, match="grow without limit"):
        content(_document(text), "dotenv-vite")
