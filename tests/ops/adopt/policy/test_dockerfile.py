"""What a Dockerfile says of the image that it builds."""

import pytest

from lessee.ops.adopt.policy.dockerfile import image_of
from lessee.ops.adopt.policy.known_images import image
from lessee.ops.adopt.policy.model import Image


def built(text, **options):
    return image_of(text, "app", image, **options)


def test_the_last_stage_is_built_from_known_images():
    text = """
# syntax=docker/dockerfile:1
ARG PYTHON=3.12
FROM node:22 AS assets
USER node
RUN npm run build

FROM --platform=linux/amd64 python:${PYTHON}-slim
WORKDIR /app
WORKDIR src
RUN pip install . && \\
    # a comment between the lines
    rm -r /var/cache/pip
COPY <<EOF /etc/conf
CMD ["not this"]
EOF
USER 1000:1001
HEALTHCHECK --interval=5s CMD curl -f localhost || exit 1
CMD ["uvicorn", "main:app"]
"""
    assert built(text) == Image(
        "app",
        entrypoint=(),
        command=("uvicorn", "main:app"),
        user="1000:1001",
        shell_path="/bin/sh",
        healthcheck=("CMD-SHELL", "curl -f localhost || exit 1"),
    )
    assert built(text, target="assets").user == "node"


def test_a_stage_continues_an_earlier_one_and_an_entrypoint_resets_its_command():
    text = 'FROM python AS base\nUSER app\nCMD ["a"]\nFROM base\nENTRYPOINT python main.py\n'
    found = built(text)
    assert (found.user, found.entrypoint, found.command) == ("app", ("/bin/sh", "-c", "python main.py"), ())
    assert built(text, target="base").command == ("a",)


@pytest.mark.parametrize(
    ("base", "shell"),
    [
        ("scratch", ""),
        ("gcr.io/distroless/static", ""),
        ("debian:12", "/bin/sh"),
        ("postgres", "/bin/sh"),
        ("mysql/mysql-server", "/bin/sh"),
        ("clickhouse", None),
        ("someones:1", None),
        ("${UNKNOWN}", None),
        ("${UNKNOWN:-debian}", "/bin/sh"),
    ],
)
def test_whether_an_image_has_a_shell_is_known_of_its_base(base, shell):
    assert built(f"FROM {base}\n").shell_path == shell


def test_a_command_of_the_build_shows_that_the_image_has_a_shell():
    assert built("FROM someones\nRUN echo a\n").shell_path == "/bin/sh"
    assert built('FROM someones\nRUN ["/tool"]\n').shell_path is None


@pytest.mark.parametrize(
    ("check", "test"),
    [
        ('HEALTHCHECK CMD ["curl", "localhost"]', ("CMD", "curl", "localhost")),
        ('HEALTHCHECK CMD ["/bin/sh", "-c", "x"]', ("CMD", "/bin/sh", "-c", "x")),
        ("HEALTHCHECK NONE", ()),
    ],
)
def test_a_health_check_is_words_or_a_text(check, test):
    assert built(f"FROM python\n{check}\n").healthcheck == test


def test_arguments_of_the_build_choose_the_base():
    text = "ARG BASE=scratch\nFROM $BASE\nARG OTHER\n"
    assert built(text).shell_path == ""
    assert built(text, arguments={"BASE": "debian"}).shell_path == "/bin/sh"


def test_what_is_no_dockerfile_says_nothing():
    assert built("") == Image("app")
    assert built("FROM\n!\nFROM python") == built("FROM python\nUSER $APP\nEXPOSE 80\n")
    assert built("CMD [1]\nUSER x\n") == Image("app")
    assert built("FROM python\nCMD [1]\n").command == ("/bin/sh", "-c", "[1]")
    assert built("FROM python\nUSER a \\") == built("FROM python")


@pytest.mark.parametrize(
    ("line", "expected"),
    [("", "SIGQUIT"), ("STOPSIGNAL SIGUSR1", "SIGUSR1"), ("STOPSIGNAL  9 ", "9"), ("STOPSIGNAL ${X}", "")],
)
def test_the_stop_signal_is_that_of_the_base_or_of_the_last_instruction(line, expected):
    assert built(f"FROM nginx\n{line}\n").stop_signal == expected
