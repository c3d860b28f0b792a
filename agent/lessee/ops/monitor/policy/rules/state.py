"""Rules about how things stand, as agents and the rotator say it."""

from collections.abc import Iterator

from lessee.ops.monitor.policy.alerts import Sign
from lessee.ops.monitor.policy.facts import Held, Rotated, World
from lessee.ops.monitor.policy.rules.rule import Rule, about

_NAMED = 3


class RotationOverdue(Rule):
    """One should have been rotated `after` seconds ago, or is in the middle of it for so long."""

    def __init__(self, name: str, after: float) -> None:
        super().__init__(name)
        self._after = after

    def signs(self, world: World) -> Iterator[Sign]:
        for service, target in _targets(world):
            late = world.now - target.due_at if target.due_at is not None else 0.0
            if late >= self._after:
                text = f"the rotation of {target.name} has been due for {about(late)}{_because(target)}"
            elif target.open_for >= self._after:
                text = f"the rotation of {target.name} has not come to an end for {about(target.open_for)}"
            else:
                continue
            yield Sign(self.name, f"{service}: {target.name}", text, world.now, world.now)


class RotationFailing(Rule):
    """One has failed `limit` times in a row, or its journal cannot be read."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name)
        self._limit = limit

    def signs(self, world: World) -> Iterator[Sign]:
        for service, target in _targets(world):
            if target.failures >= self._limit:
                text = f"the rotation of {target.name} has failed {target.failures} times in a row{_because(target)}"
            elif target.error and not target.failures:
                text = f"the rotation of {target.name} cannot begin{_because(target)}"
            else:
                continue
            yield Sign(self.name, f"{service}: {target.name}", text, world.now, world.now)


class LeaseEnding(Rule):
    """A lease has less than `before` seconds left; None: half of the time since it should have been renewed is gone."""

    def __init__(self, name: str, before: float | None) -> None:
        super().__init__(name)
        self._before = before

    def signs(self, world: World) -> Iterator[Sign]:
        for service, answer in world.answers.items():
            ending = [held for held in (answer.heard.held if answer.heard else ()) if self._ends(held, world.now)]
            if not ending:
                continue
            ending.sort(key=lambda held: held.ends_at)
            named = ", ".join(dict.fromkeys(held.path for held in ending[:_NAMED]))
            more = f" and {len(ending) - _NAMED} more" if len(ending) > _NAMED else ""
            left = ending[0].ends_at - world.now
            first = f"the first ends in {about(left)}" if left > 0 else f"the first ended {about(-left)} ago"
            text = f"{service}: not renewed in time: {named}{more}; {first}"
            yield Sign(self.name, service, text, world.now, world.now)

    def _ends(self, held: Held, now: float) -> bool:
        if held.state == "retiring":
            return False  # Another has its place already.
        if self._before is not None:
            return held.ends_at - now < self._before
        renew_at = held.ends_at if held.renew_at is None else held.renew_at
        return held.state == "expired" or now >= (renew_at + held.ends_at) / 2


def _targets(world: World) -> Iterator[tuple[str, Rotated]]:
    for service, answer in world.answers.items():
        for target in answer.heard.rotated if answer.heard else ():
            yield service, target


def _because(target: Rotated) -> str:
    return f": {target.error}" if target.error else ""
