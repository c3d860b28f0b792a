"""`lessee push`: gives an app's published files to a system that keeps secrets of its own."""

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Push the files. Raises LesseeError."""
    # Each needs libraries that the other does not.
    if arguments.action == "kubernetes":
        from lessee.ops.push import kubernetes

        return kubernetes.run(arguments)
    from lessee.ops.push import swarm

    return swarm.run(arguments)
