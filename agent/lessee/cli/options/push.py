"""The options of `lessee push`."""

import argparse

from lessee.cli.options.shared import AddCommand, add_actions, duration


def add_push(command: AddCommand) -> None:
    """Add `lessee push`."""
    push = command(
        "push",
        "give an app's files to a system that keeps secrets of its own",
        "It reads the files that a running agent has published, and asks Vault for nothing. No value is printed.",
    )
    add_action = add_actions(push)
    swarm = add_action(
        "swarm",
        "create secrets of Docker Swarm, update services to them, and remove the old ones; a service that does not "
        "become healthy gets its old secrets again, and the exit code is 75",
    )
    swarm.add_argument("app", metavar="APP", help="the app that the files belong to")
    swarm.add_argument(
        "--service",
        action="append",
        default=[],
        metavar="NAME",
        help="a service that uses the secrets; repeatable (default: only create the secrets)",
    )
    swarm.add_argument("--directory", metavar="DIR", help="the directory of the files, instead of the configured one")
    swarm.add_argument(
        "--key-file",
        metavar="FILE",
        help="with --directory: the key with which a push knows what has changed; it is created if it is missing",
    )
    swarm.add_argument(
        "--timeout",
        type=duration,
        default=120.0,
        metavar="TIME",
        help="how long a service may take to become healthy (default: 2m)",
    )
    _add_kubernetes(
        add_action(
            "kubernetes",
            "create or change one Secret of Kubernetes, and restart workloads where asked; without a change, nothing "
            "is written",
        )
    )


def _add_kubernetes(kubernetes: argparse.ArgumentParser) -> None:
    kubernetes.add_argument("app", metavar="APP", help="the app that the files belong to")
    kubernetes.add_argument(
        "--secret",
        required=True,
        metavar="NAME",
        help="the Secret; an existing one is changed only if it has the label app.kubernetes.io/managed-by: lessee",
    )
    kubernetes.add_argument("--namespace", metavar="NAME", help="its namespace (default: the pod's)")
    kubernetes.add_argument(
        "--from-file",
        action="append",
        default=[],
        metavar="[KEY=]FILE",
        help="one of the app's files, and its key in the Secret; repeatable (default: all files, by their names)",
    )
    kubernetes.add_argument(
        "--type",
        metavar="TYPE",
        help="the type of a new Secret, such as kubernetes.io/tls (default: Opaque)",
    )
    kubernetes.add_argument(
        "--restart",
        action="append",
        default=[],
        metavar="KIND/NAME",
        help="a deployment, statefulset or daemonset, whose pods are replaced after a change; repeatable",
    )
    kubernetes.add_argument(
        "--directory", metavar="DIR", help="the directory of the files, instead of the configured one"
    )
    kubernetes.add_argument(
        "--server",
        metavar="URL",
        help="the API (default: $KUBERNETES_SERVICE_HOST, or https://kubernetes.default.svc)",
    )
    kubernetes.add_argument(
        "--token-file", metavar="FILE", help="the token (default: that of the pod's service account)"
    )
    kubernetes.add_argument(
        "--ca-file", metavar="FILE", help="the CA of the API's certificate (default: the pod's file of the cluster)"
    )
    kubernetes.add_argument(
        "--timeout",
        type=duration,
        default=15.0,
        metavar="TIME",
        help="how long the API may take for each request (default: 15s)",
    )
