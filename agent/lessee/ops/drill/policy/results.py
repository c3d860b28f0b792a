"""The result of a drill: what happened when, what the apps noticed, and which objectives were met."""

from enum import StrEnum

from lessee.config.grammar.backup import DrillObjectives
from lessee.core.immutable import ImmutableStruct
from lessee.ops.drill.policy.observations import Felt


class Scene(StrEnum):
    """What a drill plays, in this order."""

    OUTAGE = "outage"
    LEAK = "leak"
    ROTATION = "rotation"
    RESTORE = "restore"


class Step(ImmutableStruct, frozen=True):
    """A step of a scene. `at`: seconds since the drill began. `command`: what an operator runs for it."""

    at: float
    seconds: float
    what: str
    command: str = ""


class Measure(ImmutableStruct, frozen=True):
    """A measured time, and the objective of this name in `drill.objectives`."""

    name: str
    seconds: float
    objective: float

    @property
    def met(self) -> bool:
        return self.seconds <= self.objective


class SceneResult(ImmutableStruct, frozen=True):
    """A scene. `problems`: what did not go as it has to, besides missed objectives."""

    scene: Scene
    seconds: float
    steps: tuple[Step, ...]
    felt: tuple[Felt, ...]
    measures: tuple[Measure, ...]
    problems: tuple[str, ...] = ()


class Result(ImmutableStruct, frozen=True):
    """A drill. Times are in RFC 3339; `not_played`: the apps and scenes that were not, with the reason."""

    environment: str
    where: str
    """The private server, or the address of a test environment."""
    archive: str
    archive_created: str
    started: str
    seconds: float
    scenes: tuple[SceneResult, ...]
    not_played: tuple[tuple[str, str], ...]
    substitutes: tuple[str, ...]
    """What a private server cannot have, and what the drill had in its place."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(measure for scene in self.scenes for measure in scene.measures)

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{scene.scene}: {problem}" for scene in self.scenes for problem in scene.problems)

    @property
    def missed(self) -> tuple[Measure, ...]:
        return tuple(measure for measure in self.measures if not measure.met)


def measure(objectives: DrillObjectives, name: str, seconds: float) -> Measure:
    """A measured time with its objective, rounded to milliseconds, in which neither is more exact."""
    objective: float = getattr(objectives, name)
    return Measure(name, round(seconds, 3), objective)
