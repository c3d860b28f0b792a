"""Formats the result of a drill: lines for a terminal, Markdown to train with, and JSON."""

import json
from collections.abc import Iterator, Mapping

from lessee import __version__
from lessee.core.printable import spelled_out
from lessee.ops.drill.policy.observations import Felt
from lessee.ops.drill.policy.results import Measure, Result, Scene, SceneResult, Step

TITLES: Mapping[Scene, str] = {
    Scene.OUTAGE: "Vault is cut off",
    Scene.LEAK: "A credential leaks",
    Scene.ROTATION: "Rotation under load",
    Scene.RESTORE: "The server is lost, and restored from the backup",
}
MEANINGS: Mapping[str, str] = {
    "rto": "from the loss of the server until every app had valid credentials",
    "rpo": "age of the newest archive when the server was lost",
    "time_to_revoke": "from the start of the emergency until Vault refused all that leaked",
    "outage_recovery": "from the end of the outage until every agent was fresh",
    "rotation": "until the last old credential was revoked",
    "without_credential": "the longest time of an app without a valid credential",
}
_QUESTIONS: Mapping[Scene, tuple[str, ...]] = {
    Scene.OUTAGE: (
        "Who notices first that Vault is unavailable, and by which alert?",
        "How long may it last until the first lease or certificate of an app ends?",
        "Who has the unseal keys, and how are these people reached at night?",
    ),
    Scene.LEAK: (
        "Who may run `lessee emergency`, and with which token?",
        "Which of the leaked values does no rotation target replace, and who changes them?",
        "How do new secret_ids reach the machines, and how long does that take? The drill delivered them immediately.",
    ),
    Scene.ROTATION: (
        "Which credentials of the apps are still without a rotation target?",
        "Which app uses the old value for the longest time, and may it?",
    ),
    Scene.RESTORE: (
        "Who has the key of the archives if this machine is lost too?",
        "What was written since the archive was saved, and who writes it again?",
        "Which logins must be created again, and who delivers them? The drill delivered them immediately.",
    ),
}
_HEADINGS = (
    "app",
    "notified",
    "loads",
    "uses",
    "stale uses",
    "stale for",
    "without valid credential",
    "unreadable files",
)


def seconds_text(seconds: float) -> str:
    """A time for people, such as 0.35 s, 12.3 s, 5m 10s or 1d 2h."""
    if seconds < 60:  # noqa: PLR2004  # A minute.
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004  # Two digits are enough.
    rest, found = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        found += [f"{count}{unit}"] if count else []
    return " ".join(found[:2])


def step_line(scene: str, step: Step) -> str:
    """A line of the time line."""
    return _plain(f"{step.at:7.2f} s  {scene:<8}  {step.what} ({seconds_text(step.seconds)})")


def as_text(result: Result) -> str:
    """What the apps noticed, and the objectives; the time line was printed before."""
    lines = []
    for scene in result.scenes:
        lines += ["", f"{TITLES[scene.scene].upper()} ({seconds_text(scene.seconds)})"]
        lines += [f"  {one.app}: {_sentence(one)}" for one in scene.felt]
        lines += [f"  PROBLEM: {problem}" for problem in scene.problems]
    lines += ["", "OBJECTIVES"]
    lines += [f"  {_verdict(one):<6} {one.name:<18} {_compared(one)}" for one in result.measures]
    lines += [f"not played: {app}: {why}" for app, why in result.not_played]
    lines += [f"note: {note}" for note in result.substitutes]
    return "\n".join(_plain(line) for line in lines)


def as_json(result: Result) -> str:
    """The report as one object; `format` changes when a program that reads it must."""
    scenes = [
        {
            "scene": scene.scene,
            "seconds": round(scene.seconds, 3),
            "steps": [_rounded(step) for step in scene.steps],
            "apps": [_rounded(one) for one in scene.felt],
            "objectives": [_objective(one) for one in scene.measures],
            "problems": list(scene.problems),
        }
        for scene in result.scenes
    ]
    report = {
        "format": 1,
        "lessee": __version__,
        "environment": result.environment,
        "server": result.where,
        "archive": result.archive,
        "archive_created": result.archive_created,
        "started": result.started,
        "seconds": round(result.seconds, 3),
        "met": not result.missed and not result.problems,
        "complete": not result.not_played,
        "objectives": [_objective(one) for one in result.measures],
        "scenes": scenes,
        "not_played": [{"app": app, "reason": why} for app, why in result.not_played],
        "notes": list(result.substitutes),
    }
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def as_markdown(result: Result) -> str:
    """A page that people read who were not there: each step with its command, and questions to discuss."""
    return "\n".join(_plain(line) for line in _markdown(result)) + "\n"


def _markdown(result: Result) -> Iterator[str]:
    yield f"# Drill of {result.environment}, {result.started}"
    yield ""
    yield f"Played in {result.where}, by lessee {__version__}, in {seconds_text(result.seconds)}."
    if result.archive:
        yield f"Archive: `{result.archive}` of {result.archive_created}."
    yield "Times are of machines: what people need to notice, decide and deliver is not in them."
    yield ""
    yield "| objective | measured | at most | met | |"
    yield "|---|---:|---:|---|---|"
    for one in result.measures:
        met = "yes" if one.met else "**no**"
        cells = (seconds_text(one.seconds), seconds_text(one.objective), met, MEANINGS[one.name])
        yield f"| `{one.name}` | {' | '.join(cells)} |"
    for scene in result.scenes:
        yield from _scene(scene)
    if result.not_played:
        yield from ("", "## Not played", "")
        yield from (f"- {app}: {why}" for app, why in result.not_played)
    if result.substitutes:
        yield from ("", "## What was not as in reality", "")
        yield from (f"- {note}" for note in result.substitutes)


def _scene(scene: SceneResult) -> Iterator[str]:
    yield from ("", f"## {TITLES[scene.scene]}", "", "| at | step | took |", "|---:|---|---:|")
    for step in scene.steps:
        command = f"<br>`{_cell(step.command)}`" if step.command else ""
        yield f"| {step.at:.2f} s | {_cell(step.what)}{command} | {seconds_text(step.seconds)} |"
    yield from ("", f"| {' | '.join(_HEADINGS)} |", f"|---|{'---:|' * (len(_HEADINGS) - 1)}")
    for one in scene.felt:
        numbers = (one.notifications, one.loads, one.uses, one.stale_uses)
        times = (seconds_text(one.stale_for), seconds_text(one.without_credential))
        yield f"| {' | '.join(map(str, (one.app, *numbers, *times, one.missing)))} |"
    yield ""
    yield from (f"**Problem**: {problem}  " for problem in scene.problems)
    yield "To discuss:"
    yield ""
    yield from (f"- {question}" for question in _QUESTIONS[scene.scene])


def _sentence(one: Felt) -> str:
    words = [f"{one.notifications} notifications", f"{one.loads} loads of new files", f"{one.uses} uses"]
    words.append(f"{one.stale_uses} of them with a value older than Vault's ({seconds_text(one.stale_for)})")
    words.append(f"{seconds_text(one.without_credential)} without a valid credential")
    if one.missing:
        words.append(f"{one.missing} times without readable files")
    return ", ".join(words)


def _verdict(one: Measure) -> str:
    return "met" if one.met else "MISSED"


def _compared(one: Measure) -> str:
    return f"{seconds_text(one.seconds)} of at most {seconds_text(one.objective)}: {MEANINGS[one.name]}"


def _objective(one: Measure) -> Mapping[str, object]:
    return {"name": one.name, "seconds": one.seconds, "objective": one.objective, "met": one.met}


def _rounded(found: Felt | Step) -> Mapping[str, object]:
    values = ((name, getattr(found, name)) for name in found.__struct_fields__)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    return spelled_out(text)
