"""The tool ablation over several seeds, and the page that tells it (paper, Tables 2 to 4)."""

import dataclasses
import json
from pathlib import Path
from statistics import fmean, stdev

from configs import Config
from evals.score import Scores
from recipes.folder import ARMS, RunFolder, with_arm
from recipes.phases import trained_arm
from storage.files import JsonObject, write_text
from storage.logs import whole_rows

SEEDS = (0, 1, 2)
PHASES = ("sft", "grpo")
LABELS = {"no_tools": "no tools", "mark": "mark only", "crop": "crop only", "both": "mark + crop"}
PAGE = Path("docs/results.md")


def run_results(config: Config) -> Path:
    """Train every arm with every seed with one recipe and budget, unless it was done before. The config's own seed goes
    on in the run of `make demo`, the others in runs of their own. Returns the page, `docs/results.md`."""
    scores: dict[str, dict[str, list[Scores]]] = {arm: {phase: [] for phase in PHASES} for arm in ARMS}
    rows: list[JsonObject] = []
    for seed in SEEDS:
        name = config.name if seed == config.seed else f"{config.name}-seed{seed}"
        run = dataclasses.replace(config, name=name, seed=seed)
        for arm in ARMS:
            for phase, found in trained_arm(run, arm).items():
                scores[arm][phase].append(found)
            rows += whole_rows(RunFolder.of(with_arm(run, arm)).metrics)
    report = Path(config.runs_dir) / config.name / "report.json"
    write_text(PAGE, page(config, scores, rows, json.loads(report.read_text()) if report.is_file() else None))
    print(f"results: {PAGE}")
    return PAGE


def page(
    config: Config, scores: dict[str, dict[str, list[Scores]]], rows: list[JsonObject], demo: JsonObject | None = None
) -> str:
    """The Markdown of the results; `demo` is the report of `make demo` with this config, if it was run."""
    questions = scores["both"]["grpo"][0].accuracy.tasks
    mismatch = max(abs(row["mismatch_kl"]) for row in rows if row["stage"] == "grpo" and row.get("updates"))
    lines = [
        "# Results",
        "",
        f"Made by `make results` (`videoseeker results configs/{config.name}.yaml`): {len(SEEDS)} seeds, "
        f"{questions} held-out questions each, temperature 0. Every arm has the same recipe and budget; where "
        "`view_visual_prompt` is missing the marked frame stands in the prompt. Means ± standard deviation over seeds.",
        "",
        "| tools | SFT accuracy | SFT + GRPO accuracy | SFT calls | SFT + GRPO calls | tool errors | parsed |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_arm_row(arm, scores[arm]) for arm in ARMS]
    lines += ["", *_margins(scores), "", f"Largest mismatch KL of any step of any run: {mismatch:.1e}."]
    lines += ["", "## By dimension (SFT + GRPO)", "", *_dimension_table(scores), ""]
    if demo:
        speed = demo["tokens_per_s"]
        lines += [
            "## What one run costs",
            "",
            f"`make demo` (two arms, seed {demo['seed']}, and a question to the served agent): "
            f"{demo['wall_s'] / 60:.1f} minutes after the install, at most {demo['peak_rss_gib']:.1f} GiB of memory of "
            f"all processes together; {speed['rollout']:,.0f} tokens a second sampled in rollouts, "
            f"{speed['learner']:,.0f} trained on.",
            "",
        ]
    accuracy = {
        arm: {phase: [round(found.accuracy.mean, 4) for found in phases[phase]] for phase in PHASES}
        for arm, phases in scores.items()
    }
    return "\n".join([*lines, "```json", json.dumps({"accuracy": accuracy}), "```", ""])


def _arm_row(arm: str, phases: dict[str, list[Scores]]) -> str:
    final = phases["grpo"]
    cells = [LABELS[arm]]
    cells += [_spread([100 * found.accuracy.mean for found in phases[phase]]) for phase in PHASES]
    cells += [f"{fmean(found.tool_calls for found in phases[phase]):.2f}" for phase in PHASES]
    cells += [f"{100 * fmean(found.tool_error_rate for found in final):.2f} %"]
    cells += [f"{100 * fmean(found.parse_rate for found in final):.2f} %"]
    return f"| {' | '.join(cells)} |"


def _margins(scores: dict[str, dict[str, list[Scores]]]) -> list[str]:
    """What the tools and GRPO are worth, in points."""
    final = {arm: 100 * fmean(found.accuracy.mean for found in phases["grpo"]) for arm, phases in scores.items()}
    start = 100 * fmean(found.accuracy.mean for found in scores["both"]["sft"])
    against = {f"over {LABELS[arm]}": final["both"] - final[arm] for arm in ARMS if arm != "both"}
    margins = {**against, "over SFT alone": final["both"] - start}
    return [f"Mark + crop after GRPO: {', '.join(f'{points:+.1f} points {what}' for what, points in margins.items())}."]


def _dimension_table(scores: dict[str, dict[str, list[Scores]]]) -> list[str]:
    dimensions = sorted(scores["both"]["grpo"][0].dimensions)
    lines = [f"| tools | {' | '.join(dimensions)} |", "|---" * (len(dimensions) + 1) + "|"]
    for arm in ARMS:
        cells = [
            f"{100 * fmean(found.dimensions[name].mean for found in scores[arm]['grpo']):.1f}" for name in dimensions
        ]
        lines.append(f"| {LABELS[arm]} | {' | '.join(cells)} |")
    return lines


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
