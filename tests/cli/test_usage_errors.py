"""A mistake on the command line: the error says what is wrong, and what the user may have meant."""

import pytest

from lessee.cli.command_table import COMMANDS
from lessee.cli.dispatch import run_command, whole_parser
from support.programs.forks import run_lessee

CANARY = "hunter2-c4n4ry"


def parsers(parser):
    """The parser, and those of its commands and their actions, with the words that lead to each."""
    yield [], parser
    for name, one in (parser.commands.choices if parser.commands else {}).items():
        yield from (([name, *words], inner) for words, inner in parsers(one))


PARSERS = {" ".join(words): parser for words, parser in parsers(whole_parser())}
OPTIONS = sorted(
    (words, option)
    for words, parser in PARSERS.items()
    for action in parser._actions
    for option in action.option_strings
    if option.startswith("--")
)


def refused(capsys, *words):
    """What the command line prints for these words: it is a usage error."""
    assert run_command(words) == 64
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.removeprefix("lessee: ").rstrip("\n")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("rotat", "unknown command `rotat`; did you mean `rotate`?"),
        ("Rotate", "unknown command `Rotate`; did you mean `rotate`?"),
        ("help", "unknown command `help`; did you mean `--help`?"),
        ("xyz", "unknown command `xyz`; see `lessee --help`"),
        ("backup sav", "unknown action `sav`; did you mean `save`?"),
        ("monitor undoo", "unknown action `undoo`; did you mean `undo`?"),
        ("run --strct", "unknown option `--strct`; did you mean `--strict`?"),
        ("run --STRICT", "unknown option `--STRICT`; did you mean `--strict`?"),
        ("run --log-leve=debug", "unknown option `--log-leve`; did you mean `--log-level`?"),
        ("run --strct --foo", "unknown options `--strct`, `--foo`; see `lessee run --help`"),
        ("backup save --intervall 1h", "unknown option `--intervall`; did you mean `--interval`?"),
        ("exec --ap web -- true", "unknown option `--ap`; did you mean `--app`?"),
        ("exec -- true --app", "the following arguments are required: --app; see `lessee exec --help`"),
        ("check --format jsn", "--format: unknown value; did you mean `json`?"),
        ("validate --format z", "--format: unknown value; expected one of `text`, `json`, `yaml`, `junit`"),
        (
            "--config x check",
            (
                "unknown option `--config` before the command; write options after the command, "
                "as in `lessee check --config`"
            ),
        ),
        (
            "backup --key-file x save",
            (
                "unknown option `--key-file` before the action; write options after the action, "
                "as in `lessee backup save --key-file`"
            ),
        ),
        ("-c x.yaml check", "unknown option `-c`; see `lessee check --help`"),
        ("--confg x.yaml check", "unknown option `--confg`; did you mean `--config`?"),
        (
            "check other.yaml",
            "the command takes no file as an argument; name the configuration by `lessee check --config FILE`",
        ),
        ("scan a b", "more arguments than the command takes; see `lessee scan --help`"),
    ],
)
def test_an_unknown_word_is_an_error_with_what_it_may_mean(capsys, words, error):
    assert refused(capsys, *words.split()) == error


@pytest.mark.parametrize("name", COMMANDS)
def test_each_mistyped_command_is_recognized(capsys, name):
    for mistyped in (f"{name}e", name[:-1], name.replace("e", "ee", 1) if "e" in name else name * 2):
        if mistyped not in COMMANDS:
            error = refused(capsys, mistyped)
            assert error.startswith(f"unknown command `{mistyped}`; ")
            if len(mistyped) > 2 and mistyped != name * 2:
                assert error.endswith(f"did you mean `{name}`?")


@pytest.mark.parametrize(("words", "option"), OPTIONS)
def test_each_mistyped_option_of_each_command_is_recognized(capsys, words, option):
    mistyped = f"{option}x"
    error = refused(capsys, *words.split(), mistyped)
    assert error == f"unknown option `{mistyped}`; did you mean `{option}`?"


@pytest.mark.parametrize(
    "words",
    [
        f"set database/postgres password --generat {CANARY}",
        f"set database/postgres password --valu={CANARY}",
        f"check --format {CANARY}",
        f"run {CANARY}",
    ],
)
def test_what_may_be_a_value_is_not_repeated(capsys, words):
    assert CANARY not in refused(capsys, *words.split())


def test_a_name_with_control_characters_is_spelled_out_and_a_long_one_is_cut(capsys):
    error = refused(capsys, "\x1b]0;x\x07rotate" + "e" * 100_000)
    assert error.startswith("unknown command `\\u001b]0;x\\u0007rotatee")
    assert len(error) < 120


def test_the_program_itself_exits_with_64(tmp_path):
    done = run_lessee("rotat", cwd=tmp_path, env={}, timeout=60)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "lessee: unknown command `rotat`; did you mean `rotate`?\n"
