"""The options of `lessee adopt`."""

from lessee.cli.options.shared import AddCommand, duration


def add_adopt(command: AddCommand) -> None:
    """Add `lessee adopt`."""
    adopt = command(
        "adopt",
        "move the secrets of a Docker Compose project to Vault, and add the agent that renders them",
        "It prints the plan without a value, and asks. It changes your files last, when the stack has come up healthy "
        "with the rendered secrets; else the stack runs as before. An interrupted run is continued by the next one. "
        "The exit code is 75 where something is left to you.",
        config=False,
    )
    adopt.add_argument(
        "files", nargs="*", metavar="COMPOSE-FILE", help="the Compose files (default: those of `docker compose`)"
    )
    action = adopt.add_mutually_exclusive_group()
    action.add_argument("--plan", action="store_true", help="change nothing; print the plan")
    action.add_argument(
        "--undo", action="store_true", help="put your files back, and start the stack as it was; secrets stay in Vault"
    )
    adopt.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    adopt.add_argument("--no-up", action="store_true", help="start no container; your files stay unchanged")
    adopt.add_argument(
        "--dev",
        action="store_true",
        help="use an OpenBao for development on this machine, and start it if needed (default: $VAULT_ADDR)",
    )
    adopt.add_argument(
        "--environment",
        metavar="NAME",
        help="the environment in Vault (default: production, or development with a server on this machine)",
    )
    adopt.add_argument(
        "--moved-from", metavar="FOLDER", help="where the project was when it was adopted, if you moved its folder"
    )
    adopt.add_argument(
        "--image",
        metavar="IMAGE",
        help="the agent's image (default: lessee, built if the Engine lacks it)",
    )
    adopt.add_argument(
        "--base-image", metavar="IMAGE", help="for that build, an image with this Python (default: python:X.Y-slim)"
    )
    adopt.add_argument(
        "--labels",
        action="store_true",
        help="write each app as labels of its service, with its templates, instead of entries in lessee.yaml",
    )
    adopt.add_argument(
        "--env-file", action="append", default=[], metavar="FILE", help="as with `docker compose`; repeatable"
    )
    adopt.add_argument(
        "--rotate", action="store_true", help="then rotate the adopted credentials of all databases and stores"
    )
    adopt.add_argument(
        "--prefer",
        choices=("vault", "files"),
        help="where Vault has another value than the project: use that of Vault, or store that of the files",
    )
    adopt.add_argument(
        "--rotate-only",
        action="append",
        default=[],
        metavar="NAME",
        help="as --rotate, of this service alone; repeat it for others",
    )
    adopt.add_argument(
        "--timeout", type=duration, default=300.0, metavar="TIME", help="for the stack to be healthy (default: 300s)"
    )
