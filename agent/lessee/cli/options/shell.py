"""Options of the commands about lessee itself."""

import argparse

from lessee.cli.options.shared import AddCommand

SHELLS = ("bash", "zsh", "fish")


def add_completion(command: AddCommand) -> None:
    """Add `lessee completion`."""
    completion = command(
        "completion",
        "print a script that completes commands, options and files in your shell",
        'For the running shell: eval "$(lessee completion bash)" in Bash and zsh, lessee completion fish | source in '
        "fish. To keep it, write it to ~/.local/share/bash-completion/completions/lessee, to a file _lessee in a "
        "folder of zsh's $fpath, or to ~/.config/fish/completions/lessee.fish.",
        config=False,
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    # What the scripts themselves ask for.
    completion.add_argument("--apps", action="store_true", help=argparse.SUPPRESS)


def add_doctor(command: AddCommand) -> None:
    """Add `lessee doctor`."""
    doctor = command(
        "doctor",
        "print a report of this installation for a bug report, without values",
        "It has versions, what the kernel offers, which keys of the configuration are set, the findings of `lessee "
        "check`, and whether Vault and the agent answer. No value and no name of a secret is in it, and no request has "
        "a token. It has paths, addresses and names of apps: read it before you publish it. The exit code is 1 if it "
        "names a problem.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument("--log", metavar="FILE", help="add the last events of this log in the format json")
    doctor.add_argument(
        "--socket", metavar="FILE", help="the status socket of the agent or a service, instead of the configured one"
    )


def add_upgrade_notes(command: AddCommand) -> None:
    """Add `lessee upgrade-notes`."""
    notes = command(
        "upgrade-notes",
        "print what changed since the version that you upgrade from",
        "It prints the sections of CHANGELOG.md that are later than FROM, the newest first. It needs no network.",
        config=False,
    )
    notes.add_argument("version", metavar="FROM", help="the version that ran until now, such as 0.1.0")
