"""The files written for docker, and the rejected values. tests/readers tests them with docker itself."""

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.formats import dotenv_docker, outline, write
from support.inputs.env_files import document, refused
from support.inputs.hostile_values import VALUES


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("A=", ["'$x\" # "], "\n"), "A='$x\" # \n"),
        (("A= 'x ", ["y"], "' # ", ["z"], "\r\n"), "A= 'x y' # z\r\n"),
        (("A=", ["x\r"], "\n"), "A=x\r\r\n"),
        (("A=", ["\r"], ""), "A=\r\r"),
        (("\ufeff\t # ", ["x"], "\n\x85A=", ["y"]), "\ufeff\t # x\n\x85A=y"),
        ((["x"], "=y"), "x=y"),
        (("HOME\nA='=", ["x"]), "HOME\nA='=x"),
    ],
)
def test_a_value_is_written_unchanged(parts, text):
    assert write(document(*parts), "dotenv-docker") == text


def test_only_a_newline_and_a_nul_are_rejected():
    assert refused("dotenv-docker") == {value for value in VALUES if "\n" in value or "\0" in value}


def test_a_line_of_64_kib_is_rejected_since_docker_reads_none():
    long = "é" * 32_750
    assert write(document("A=", [long], "\n"), "dotenv-docker") == f"A={long}\n"
    with pytest.raises(FormatError, match="contains a newline, or is too long for a line") as caught:
        write(document("A=", [f"{long}{'x' * 40}"], "\n"), "dotenv-docker")
    assert "éé" not in str(caught.value)
    with pytest.raises(FormatError, match="would parse back to different"):
        write(document(f"A_{'LONG' * 20}=", [long], "\n"), "dotenv-docker")


@pytest.mark.parametrize("text", ["A B=1", "A\t", "=1", f"A={'x' * 70_000}"])
def test_a_file_that_docker_would_reject_is_rejected_with_its_line(text):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:3: .*docker rejects"):
        write(document("\n# c\n", text, "\n", ["A"], "=x"), "dotenv-docker")
    with pytest.raises(FormatError, match="render the file again"):
        outline(text, "dotenv-docker")


def test_the_outline_names_what_is_set():
    assert outline("\n #A=1\nA=1\nB.c\n'=\n", "dotenv-docker") == ("A", "'")


def test_the_reader_follows_docker():
    text = "\ufeff\x0bA= 1 \r\r\n\u3000#B=2\nC\n\nD="
    assert dotenv_docker.read(text) == [("A", (" 1 \r",)), ("C", None), ("D", ("",))]
