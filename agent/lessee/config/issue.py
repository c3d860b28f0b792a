"""Checks the block `issue`."""

from lessee.config.containers import check_containers
from lessee.config.grammar.issue import Issue
from lessee.config.grammar.problems import Path, Problems
from lessee.config.read_socket import check_length


def check_issue(issue: Issue, problems: Problems) -> None:
    """Report roles that no agent could get, and containers that are not named exactly enough."""
    check_length(issue.socket, ("issue", "socket"), problems)
    if not issue.roles:
        todo = "write `NAME: {containers: [{project: NAME, service: NAME}]}`"
        problems.add_dependent(("issue", "roles"), "it has no role", todo=todo)
    for name, role in issue.roles.items():
        at: Path = ("issue", "roles", name)
        if not role.containers and not role.units:
            todo = "write `containers: [{project: NAME, service: NAME}]`, or `units: [NAME.service]`"
            problems.add_dependent(at, "no agent gets a secret_id of this role", todo=todo)
        check_containers(role.containers, (*at, "containers"), "get the secret_id", problems)
