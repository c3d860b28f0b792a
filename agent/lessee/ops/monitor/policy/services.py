"""What the monitor's status says of the agents and rotators that it asks how they are."""

from collections.abc import Mapping
from typing import Any

from lessee.ops.monitor.policy.facts import Answer
from lessee.ops.monitor.policy.watch import spelled


def view(answers: Mapping[str, Answer]) -> Mapping[str, Any]:
    """`services`, and `rotation` of all their targets; of who does not answer, what he said last."""
    heard = {name: answer.heard for name, answer in answers.items() if answer.heard is not None}
    return {
        "services": [
            {
                "name": name,
                "asked_at": spelled(answer.at),
                "error": answer.error,
                "leases": len(heard[name].held) if name in heard else None,
                "targets": len(heard[name].rotated) if name in heard else None,
            }
            for name, answer in sorted(answers.items())
        ],
        "rotation": [
            {
                "service": name,
                "target": one.name,
                "next": spelled(one.due_at),
                "failures": one.failures,
                "error": one.error or None,
                "open_for": one.open_for or None,
            }
            for name, said in sorted(heard.items())
            for one in said.rotated
        ],
    }
