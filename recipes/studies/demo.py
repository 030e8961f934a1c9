"""The demo: one agent from nothing to an answer over HTTP."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import ray

from configs import Config
from env.task import load_tasks
from env.trajectory import load_trajectories
from evals.pages.report import write_report
from evals.score import Scores
from recipes.folder import RunFolder, with_arm
from recipes.peak_memory import PeakMemory
from recipes.phases import trained_arm
from recipes.studies.served_question import ask_served
from storage.files import JsonObject, write_text
from storage.logs import whole_rows


def run_demo(config: Config) -> Path:
    """Train the agent and its no-tool baseline, measure both, serve the agent and ask it. Returns the report,
    `report.html`; beside it lies `report.json`."""
    started = time.monotonic()
    with PeakMemory() as memory:
        agent = trained_arm(config, "both")
        scores = {"no_tools": trained_arm(config, "no_tools")["grpo"], **agent}
        ray.shutdown()
        folder = RunFolder.of(with_arm(config, "both"))
        served = ask_served(config, folder.policy, load_tasks(folder.test)[0])
    rows = list(whole_rows(folder.metrics))
    baseline = whole_rows(RunFolder.of(with_arm(config, "no_tools")).metrics)
    report = {
        "name": config.name,
        "seed": config.seed,
        "wall_s": round(time.monotonic() - started, 1),
        "peak_rss_gib": round(memory.peak_gib, 2),
        **summary(scores, [*rows, *baseline]),
        "served_answer": served,
    }
    write_text(folder.root / "report.json", json.dumps(report, indent=2) + "\n")
    episodes = load_trajectories(folder.episodes("grpo"))
    page = write_report(folder.root, report, rows, list(scores.items()), episodes)
    print(f"{json.dumps(report['accuracy'])}\nreport: {page}")
    return page


def summary(scores: dict[str, Scores], rows: Iterable[JsonObject]) -> JsonObject:
    """Return the figures of `report.json` that scores and metrics hold."""
    steps = [row for row in rows if row["stage"] == "grpo" and row.get("updates")]
    tools = {name: scores[name] for name in ("sft", "grpo")}
    return {
        "heldout_questions": scores["grpo"].accuracy.tasks,
        "accuracy": {name: round(found.accuracy.mean, 4) for name, found in scores.items()},
        "accuracy_by_dimension": {
            name: {dimension: round(part.mean, 4) for dimension, part in found.dimensions.items()}
            for name, found in scores.items()
        },
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
