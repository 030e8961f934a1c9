"""The demo: one agent from nothing to an answer over HTTP."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from actors.ray_start import stop_ray
from configs import Config, to_yaml
from configs.rules import check
from configs.world import SEEKING_KINDS, TOLD_KINDS
from env.task import load_tasks
from env.trajectory import load_trajectories
from evals.pages.report import write_report
from evals.prior import prior
from evals.score import Scores, accuracy_over
from recipes.folder import RunFolder, with_arm
from recipes.peak_memory import PeakMemory
from recipes.phases import trained_arm
from recipes.progress import seconds_by_phase
from recipes.studies.served_question import ask_served
from storage.files import JsonObject, write_text
from storage.logs import whole_rows


def run_demo(config: Config) -> Path:
    """Train the agent and its no-tool baseline, measure both, serve the agent and ask it. Returns the report,
    `report.html`; beside it lies `report.json`. Raises ConfigError, before anything is started, where either cannot be
    trained with these settings."""
    for arm in ("both", "no_tools"):
        check(with_arm(config, arm), "grpo")
    started, resumed = time.monotonic(), (Path(config.runs_dir) / config.name).exists()
    with PeakMemory() as memory:
        agent = trained_arm(config, "both")
        scores = {"no_tools": trained_arm(config, "no_tools")["grpo"], **agent}
        stop_ray()
        folder = RunFolder.of(with_arm(config, "both"))
        asked = load_tasks(folder.test)
        served = ask_served(config, folder.policy, asked[0])
    guessed, guessed_by_kind = prior(load_tasks(folder.train), asked)
    rows = list(whole_rows(folder.metrics))
    baseline = whole_rows(RunFolder.of(with_arm(config, "no_tools")).metrics)
    report = {
        "name": config.name,
        "seed": config.seed,
        "resumed": resumed,
        "wall_s": round(time.monotonic() - started, 1),
        "peak_rss_gib": round(memory.peak_gib, 2),
        **summary(scores, rows, baseline),
        "prior": round(guessed, 4),
        "prior_by_kind": {kind: round(share, 4) for kind, share in guessed_by_kind.items()},
        "seconds_by_phase": seconds_by_phase(),
        "served_answer": served,
    }
    write_text(folder.root / "config.yaml", to_yaml(config))
    write_text(folder.root / "report.json", json.dumps(report, indent=2) + "\n")
    episodes = load_trajectories(folder.episodes("grpo"))
    page = write_report(folder.root, report, rows, list(scores.items()), episodes)
    print(f"{json.dumps(report['accuracy'])}\nreport: {page}")
    return page


TRAINED_STEPS = 6
"""Last steps of GRPO over which the training accuracy is taken, at the training's temperature."""


def training_accuracy(rows: Iterable[JsonObject]) -> float | None:
    """Mean accuracy of the last `TRAINED_STEPS` steps of GRPO, 0 to 1; None where there are none."""
    played = [row["accuracy"] for row in rows if row["stage"] == "grpo" and "accuracy" in row]
    return fmean(played[-TRAINED_STEPS:]) if played else None


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def summary(scores: dict[str, Scores], rows: Iterable[JsonObject], others: Iterable[JsonObject] = ()) -> JsonObject:
    """Return the figures of `report.json` that scores and metrics hold; `rows` are the agent's own, `others` those of
    the baseline."""
    trained = [row for row in rows if row["stage"] == "grpo" and "accuracy" in row]
    steps = [row for row in (*trained, *others) if row["stage"] == "grpo" and row.get("updates")]
    tools = {name: scores[name] for name in ("sft", "grpo")}
    sought = {name: found.seeking for name, found in tools.items() if found.seeking}
    after = sought.get("grpo")
    seek, told = (
        {name: _rounded(accuracy_over(found, kinds)) for name, found in scores.items()}
        for kinds in (SEEKING_KINDS, TOLD_KINDS)
    )
    return {
        "heldout_questions": scores["grpo"].accuracy.tasks,
        "accuracy": {name: round(found.accuracy.mean, 4) for name, found in scores.items()},
        "accuracy_train": _rounded(training_accuracy(trained)),
        "accuracy_seek": seek,
        # Footage has kinds of its own, one of which bears a name of the procedural world's.
        "accuracy_told": {name: None if seek[name] is None else share for name, share in told.items()},
        "accuracy_by_kind": {
            name: {kind: round(part.mean, 4) for kind, part in found.kinds.items()} for name, found in scores.items()
        },
        "accuracy_by_dimension": {
            name: {dimension: round(part.mean, 4) for dimension, part in found.dimensions.items()}
            for name, found in scores.items()
        },
        "found": {name: round(found.found, 4) for name, found in sought.items()},
        "look_iou": {name: round(found.iou, 4) for name, found in sought.items()},
        "second_crop": {
            "after_miss": _rounded(after.again_after_miss if after else None),
            "after_hit": _rounded(after.again_after_hit if after else None),
        },
        "frames_share": {name: round(found.frames_share, 4) for name, found in sought.items()},
        "tool_calls_per_episode": {name: round(found.tool_calls, 3) for name, found in tools.items()},
        "tool_error_rate": round(scores["grpo"].tool_error_rate, 4),
        "parse_rate": round(scores["grpo"].parse_rate, 4),
        "seconds_per_episode": round(scores["grpo"].seconds, 3),
        "mismatch_kl_max": max((abs(row["mismatch_kl"]) for row in steps), default=0.0),
        "tokens_per_s": {
            who: round(fmean(row[f"{who}_tokens_per_s"] for row in steps), 1) if steps else 0.0
            for who in ("rollout", "learner")
        },
    }
