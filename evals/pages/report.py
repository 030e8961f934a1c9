"""The report of a run: one HTML file that needs no network, no script and no other file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from configs.world import SEEKING_KINDS
from env.trajectory import Trajectory
from evals.pages.curves import Curve, line_chart, number
from evals.pages.filmstrip import choose, errors_shown_by_calls, film
from evals.score import Scores
from pages.rendering import render
from storage.files import JsonObject, write_text

TEMPLATE = Path(__file__).with_name("report.html")
Arms = Sequence[tuple[str, Scores]]

ARM_LABELS = {"no_tools": "No tools", "sft": "SFT", "grpo": "SFT + GRPO"}
"""Arms of the headline chart, in the order of the method."""
DIMENSIONS = {
    "OA": "object attribute",
    "HA": "human attribute",
    "OD": "object direction",
    "FM": "feature mapping",
    "CR": "causal relationship",
    "PU": "plot understanding",
    "CI": "counterfactual inference",
    "FT": "forward temporal",
    "RT": "reverse temporal",
    "AS": "action sequence",
    "SR": "spatial relationship",
    "GC": "general counting",
}
"""V2P-Bench dimensions."""


@dataclass(frozen=True)
class Panel:
    """One chart of the training curves: metric keys by the name they are shown under."""

    title: str
    phase: str
    keys: Mapping[str, str]
    note: str = ""
    share: bool = False
    """The values lie between 0 and 1."""


PANELS = (
    Panel("Loss", "sft", {"loss": "loss"}, "Cross-entropy of the teacher's tokens, nats."),
    Panel(
        "Reward and its parts",
        "grpo",
        {
            "total": "reward",
            "accuracy": "accuracy",
            "format": "format_reward",
            "parsimony": "parsimony_reward",
            "evidence": "evidence_reward",
        },
        "Mean over the step's episodes; each part before its weight.",
        share=True,
    ),
    Panel("Held-out accuracy", "grpo", {"accuracy": "eval_accuracy"}, "At temperature 0, on test tasks.", share=True),
    Panel("Tool calls", "grpo", {"calls": "tool_calls"}, "Calls an episode."),
    Panel("Found", "grpo", {"share": "found"}, "Episodes that looked at all that is asked for.", share=True),
    Panel(
        "Second look",
        "grpo",
        {"after a miss": "second_look_after_miss", "after a hit": "second_look_after_hit"},
        "Chance of another look after the first.",
        share=True,
    ),
    Panel("Failed calls", "grpo", {"share": "tool_error_rate"}, "Share of the tool calls.", share=True),
    Panel("Tokens written", "grpo", {"tokens": "response_tokens"}, "Sampled tokens an episode."),
    Panel("Entropy", "grpo", {"entropy": "entropy"}, "Of the policy at sampled tokens, nats."),
    Panel("KL to the reference", "grpo", {"KL": "kl"}, "Low-variance estimate, nats a token."),
    Panel(
        "Mismatch KL",
        "grpo",
        {"KL": "mismatch_kl"},
        "Between the engine that sampled and the learner that trains, nats a token.",
    ),
)


def write_report(
    run_dir: str | Path, report: JsonObject, metrics: Sequence[JsonObject], arms: Arms, episodes: Sequence[Trajectory]
) -> Path:
    """Write `run_dir/report.html`, whose path is returned.

    Args:
        run_dir: The run's folder; its `config.yaml`, where there is one, is shown too.
        report: What is known of the run, nested as you like; `name` is its title.
        metrics: Rows with `stage`, `step` and numbers; see `PANELS` for the keys that have a chart of their own. The
            sentences in `rang` are alarms, which are told before the charts.
        arms: Name and scores of each policy or ablation that was evaluated.
        episodes: Two are shown whole; of more, `filmstrip.choose` picks a right and a wrong one.
    """
    run_dir = Path(run_dir)
    config = run_dir / "config.yaml"
    headline = headline_arms(arms)
    values = {
        "name": report.get("name", run_dir.name),
        "headline": headline,
        "lead": lead(headline),
        "arms": arms,
        "names": DIMENSIONS,
        "errors_shown_by_calls": errors_shown_by_calls,
        "dimensions": [(key, DIMENSIONS.get(key, "")) for key in _dimensions(arms)],
        "kinds": [(kind, kind in SEEKING_KINDS) for kind in _kinds(headline)],
        "alarms": [sentence for row in metrics for sentence in row.get("rang", ())],
        "panels": charts(metrics, PANELS),
        "more": charts(metrics, other_panels(metrics)),
        "films": [film(episode) for episode in choose(episodes)],
        "facts": list(_flat(report)),
        "config": config.read_text() if config.exists() else "",
    }
    path = run_dir / "report.html"
    write_text(path, render(TEMPLATE, values, {"percent": percent, "number": number, "label": arm_label}))
    return path


def percent(share: float) -> str:
    """0.7125 as `71.3`."""
    return f"{100 * share:.1f}"


def arm_label(name: str) -> str:
    """An arm's name for people."""
    return ARM_LABELS.get(name, name.replace("_", " ").capitalize())


def headline_arms(arms: Arms) -> list[tuple[str, Scores]]:
    """The arms of the headline chart: those of the method, or all where none of these was evaluated."""
    found = dict(arms)
    return [(name, found[name]) for name in ARM_LABELS if name in found] or list(arms)


def lead(headline: Arms) -> str:
    """The result in one sentence: the last headline arm against the first."""
    if not headline:
        return ""
    name, last = headline[-1]
    text = (
        f"{arm_label(name)} answers {percent(last.accuracy.mean)} % of {last.accuracy.tasks} held-out questions right"
    )
    if len(headline) == 1:
        return f"{text}."
    first_name, first = headline[0]
    return f"{text}, against {percent(first.accuracy.mean)} % ({arm_label(first_name)})."


def charts(metrics: Sequence[JsonObject], panels: Sequence[Panel]) -> list[dict[str, str]]:
    """The panels that the metrics have numbers for, as `title`, `phase`, `note`, `last` and `svg`."""
    drawn = []
    for panel in panels:
        curves = [c for label, key in panel.keys.items() if (c := _curve(metrics, panel.phase, key, label))]
        if curves:
            svg = line_chart(panel.title, curves, (0.0, 1.0) if panel.share else None)
            last = number(curves[0].values[-1])
            phase = panel.phase.upper()
            drawn.append({"title": panel.title, "phase": phase, "note": panel.note, "last": last, "svg": svg})
    return drawn


def other_panels(metrics: Sequence[JsonObject]) -> list[Panel]:
    """A panel for every other number of the metrics."""
    shown = {(panel.phase, key) for panel in PANELS for key in panel.keys.values()}
    known = {(str(row["stage"]), key) for row in metrics for key in row if key not in ("stage", "step", "rang")}
    return [Panel(key, phase, {key: key}) for phase, key in sorted(known - shown)]


def _curve(metrics: Sequence[JsonObject], phase: str, key: str, label: str) -> Curve | None:
    points = [
        (float(row["step"]), float(row[key]))
        for row in metrics
        if row["stage"] == phase and isinstance(row.get(key), Real) and math.isfinite(row[key])
    ]
    return Curve(label, [step for step, _ in points], [value for _, value in points]) if points else None


def _dimensions(arms: Arms) -> list[str]:
    found = {name for _, scores in arms for name in scores.dimensions}
    return sorted(found, key=lambda name: (list(DIMENSIONS).index(name) if name in DIMENSIONS else 99, name))


def _kinds(headline: Arms) -> list[str]:
    """Kinds of question that every arm was asked, the told ones first."""
    asked = [set(scores.kinds) for _, scores in headline]
    found = set.intersection(*asked) if asked else set()
    return sorted(found, key=lambda kind: (kind in SEEKING_KINDS, kind))


def _flat(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted names and values of a nested report."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list | tuple):
        yield prefix, ", ".join(str(value) for value in tree)
    else:
        yield prefix, number(tree) if isinstance(tree, float) else tree
