"""The launcher: a POSIX shell that starts a program with the variables in a rendered file.

It is the container's entrypoint. It waits for the file, which may be later than the container: `depends_on` applies at
`up` only, and not where the Engine starts all containers again. Then it becomes the program, so signals, exit codes and
the terminal are the program's own.
"""

from lessee.ops.adopt.policy.model import Service

ENVIRONMENT = "environment.sh"
"""The rendered file with the variables."""
PID_FOLDER = "/run/lessee-launcher"
"""In the container: where the launcher writes the process that the agent notifies."""
PID_FILE = "pid"
SCRIPT = """\
(
  started() { read -r stat < "/proc/$1/stat" && set -- ${stat##*) } && echo "${20}"; }
  { read -r pid; read -r at; } < PID && [ "$(started "$pid")" = "$at" ] && exit
  umask 022
  printf '%s\\n' $$ "$(started $$)" > PID
) 2> /dev/null
until [ -e "$0/..data" ]; do sleep 0.1 || sleep 1 || exit; done
if [ -z "$COMPOSE_FILE" ]; then unset COMPOSE_FILE; fi
if [ -e "$0/environment.sh" ]; then . "$0/environment.sh"; fi
exec "$@"
""".replace("PID", f"{PID_FOLDER}/{PID_FILE}")
"""`$0` is the folder of the rendered files; the arguments are the program's words.

The subshell writes the pid of this shell, which is the program's later, and its start time, so that `docker compose
run` does not take the place of the running service. Without the folder it fails silently: nothing notifies the program.
It is a subshell because its variables may be the program's. COMPOSE_FILE is empty where the override hides it.
"""


def start(service: Service) -> tuple[tuple[str, ...], tuple[str, ...] | None] | None:
    """The words that the launcher starts, and the command that the override must set.

    None: they are not known. A command of None stays in the project: Compose passes it to the launcher.
    """
    image = service.image
    if service.entrypoint is not None:  # Compose then ignores the image's command.
        return service.entrypoint, None
    if image.entrypoint is None:
        return None
    if service.command is not None:
        return image.entrypoint, None
    return None if image.command is None else (image.entrypoint, image.command)


def placeholder(where: str) -> str:
    """The word in the place of one that has a secret; `where` as in `Use.name`."""
    return f"(lessee: {where})"


def sourced(directory: str) -> str:
    """The command of a shell that reads the variables, as a health check needs them."""
    return f". {directory}/{ENVIRONMENT}"
