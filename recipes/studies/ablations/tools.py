"""The tool ablation over several seeds, and the page that tells it (paper, Tables 2 to 4)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from configs import Config
from configs.rules import check
from configs.world import SEEKING_KINDS, TOLD_KINDS
from env.task import load_tasks
from env.trajectory import stream_trajectories
from evals.prior import prior
from evals.score import Scores, accuracy_over, gains
from recipes.folder import RunFolder, with_arm
from recipes.phases import trained_arm
from recipes.studies.ablations.branches import each_seed
from recipes.studies.ablations.tables import interval, percent, spread, table
from recipes.studies.demo import training_accuracy
from storage.files import JsonObject, write_text
from storage.logs import whole_rows

LABELS = {
    "both": "mark + crop",
    "no_tools": "no tools",
    "crop_unmarked": "crop only",
    "mark": "mark only",
    "crop": "crop, mark in the prompt",
}
"""The arms, those that matter most first."""
PAGE = "results.md"
"""In the folder of the config's own run."""


@dataclass(frozen=True)
class Trained:
    """One arm, trained with one seed."""

    seed: int
    scores: dict[str, Scores]
    """Held-out scores after `sft` and after `grpo`."""
    rows: list[JsonObject]
    """Its metrics."""
    gains: np.ndarray
    """[questions] what GRPO added to the accuracy of each held-out question, -1 to 1."""
    prior: tuple[float, dict[str, float]]
    """Accuracy of who always gives the commonest answer of a question's form: over all, and by kind."""


def ablate_tools(config: Config) -> Path:
    """Train every arm with every seed of `ablation.seeds` with one recipe, unless it was done before. The config's own
    seed goes on in the run of `make demo`, the others in runs of their own. Returns the page, which is written anew
    after every arm of a seed."""
    for arm in LABELS:
        check(with_arm(config, arm), "ablation")
    found: dict[str, list[Trained]] = {arm: [] for arm in LABELS}
    folder = Path(config.runs_dir) / config.name
    report, written = folder / "report.json", folder / PAGE
    for arm in LABELS:
        for run in each_seed(config):
            found[arm].append(_trained(run, arm))
            demo = json.loads(report.read_text()) if report.is_file() else None
            write_text(written, page(config, found, demo))
    print(f"results: {written}")
    return written


def _trained(config: Config, arm: str) -> Trained:
    scores = trained_arm(config, arm)
    folder = RunFolder.of(with_arm(config, arm))
    before, after = (stream_trajectories(folder.episodes(phase)) for phase in ("sft", "grpo"))
    known = prior(load_tasks(folder.train), load_tasks(folder.test))
    return Trained(config.seed, scores, list(whole_rows(folder.metrics)), gains(before, after), known)


def page(config: Config, found: dict[str, list[Trained]], demo: JsonObject | None = None) -> str:
    """The Markdown of the results so far; `demo` is the report of `make demo` with this config, if it was run."""
    agent = found["both"]
    questions = agent[0].scores["grpo"].accuracy.tasks
    steps = [row for arm in found.values() for trained in arm for row in trained.rows if row["stage"] == "grpo"]
    mismatch = max((abs(row["mismatch_kl"]) for row in steps if row.get("updates")), default=0.0)
    lines = [
        "# Results",
        "",
        f"Made by `make results` (`videoseeker ablate tools configs/{config.name}.yaml`): {questions} held-out "
        "questions a seed, temperature 0, percent. Every arm has the same recipe; SFT ends sooner where the teacher "
        "was right less often. As in the paper's released code, crop only never sees the mark; the last arm, like the "
        "one without tools, has the marked frame in the prompt. Means ± standard deviation over seeds. Questions that "
        "seek name what happens, the others tell when to look ([what is asked](synthesis.md#the-procedural-world)). "
        "The prior is the accuracy of who always gives the commonest answer of a question's form.",
        "",
        *_arms_table(found),
        "",
        *_margins(found),
        "",
        f"Largest mismatch KL of any step of any run: {mismatch:.1e}.",
        "",
        "## Seed by seed",
        "",
        *_seeds_table(found),
        "",
        *_what_grpo_adds(agent),
        "",
        "## By kind of question",
        "",
        *_kinds_table(found),
        "",
        f"{_those_that_seek(agent)}All but SFT are after GRPO; found is the share of episodes that saw all that is "
        "asked for.",
        "",
    ]
    if demo and not demo.get("resumed"):
        lines += [*_cost(demo), ""]
    accuracy = {
        arm: {phase: [round(run.scores[phase].accuracy.mean, 4) for run in runs] for phase in ("sft", "grpo")}
        for arm, runs in found.items()
    }
    return "\n".join([*lines, "```json", json.dumps({"accuracy": accuracy}), "```", ""])


def _those_that_seek(agent: Sequence[Trained]) -> str:
    asked = {kind for run in agent for kind in run.scores["grpo"].kinds}
    seek = [kind for kind in SEEKING_KINDS if kind in asked]
    return f"The first {len(seek)} kinds seek. " if seek else ""


def _arms_table(found: dict[str, list[Trained]]) -> list[str]:
    head = ["tools", "seeds", "SFT", "SFT + GRPO", "those that seek", "those that tell"]
    head += ["calls", "tool errors", "parsed"]
    return table(head, (_arm_cells(arm, runs) for arm, runs in found.items() if runs))


def _arm_cells(arm: str, runs: Sequence[Trained]) -> list[str]:
    return [
        LABELS[arm],
        str(len(runs)),
        *(spread(run.scores[phase].accuracy.mean for run in runs) for phase in ("sft", "grpo")),
        *(spread(accuracy_over(run.scores["grpo"], kinds) for run in runs) for kinds in (SEEKING_KINDS, TOLD_KINDS)),
        f"{fmean(run.scores['grpo'].tool_calls for run in runs):.2f}",
        f"{100 * fmean(run.scores['grpo'].tool_error_rate for run in runs):.2f}",
        f"{100 * fmean(run.scores['grpo'].parse_rate for run in runs):.2f}",
    ]


def _margins(found: dict[str, list[Trained]]) -> list[str]:
    """What the tools and GRPO are worth, in points, each over the seeds that the other arm has."""
    agent = {run.seed: run for run in found["both"]}
    said = []
    for arm, runs in found.items():
        if arm != "both" and runs:
            pairs = [(agent[run.seed].scores["grpo"], run.scores["grpo"]) for run in runs]
            gap = 100 * fmean(ours.accuracy.mean - theirs.accuracy.mean for ours, theirs in pairs)
            seek = [_points(ours, SEEKING_KINDS) - _points(theirs, SEEKING_KINDS) for ours, theirs in pairs]
            said.append(f"{gap:+.1f} points over {LABELS[arm]} ({fmean(seek):+.1f} on those that seek)")
    gain = 100 * fmean(run.scores["grpo"].accuracy.mean - run.scores["sft"].accuracy.mean for run in found["both"])
    return [f"Mark + crop after GRPO: {', '.join([*said, f'{gain:+.1f} points over SFT alone'])}."]


def _points(scores: Scores, kinds: Sequence[str]) -> float:
    return 100 * (accuracy_over(scores, kinds) or 0.0)


def _seeds_table(found: dict[str, list[Trained]]) -> list[str]:
    """The agent's arm, and beside it the arm without tools."""
    titles = [
        *("seed", "prior", "no tools", "SFT", "SFT + GRPO", "gain", "seek, SFT", "seek, GRPO", "in training"),
        *("found, SFT", "found, GRPO", "second look after a miss", "after a hit"),
    ]
    without = {run.seed: run.scores["grpo"].accuracy.mean for run in found["no_tools"]}
    rows = []
    for run in found["both"]:
        sft, grpo = (run.scores[phase] for phase in ("sft", "grpo"))
        cells = [
            *(run.prior[0], without.get(run.seed), sft.accuracy.mean, grpo.accuracy.mean),
            grpo.accuracy.mean - sft.accuracy.mean,
            *(accuracy_over(scores, SEEKING_KINDS) for scores in (sft, grpo)),
            training_accuracy(run.rows),
            *(scores.seeking.found if scores.seeking else None for scores in (sft, grpo)),
            *((seek.again_after_miss, seek.again_after_hit) if (seek := grpo.seeking) else (None, None)),
        ]
        rows.append([str(run.seed), *map(percent, cells)])
    return table(titles, rows)


def _what_grpo_adds(runs: Sequence[Trained]) -> list[str]:
    mean, low, high = interval([run.gains for run in runs])
    questions = sum(len(run.gains) for run in runs)
    return [
        f"GRPO adds {mean:+.1f} points on the same questions, 95 % interval {low:+.1f} to {high:+.1f} "
        f"({questions:,} questions of {len(runs)} seeds). Accuracy in training is at the training's temperature."
    ]


def _kinds_table(found: dict[str, list[Trained]]) -> list[str]:
    agent = found["both"]
    kinds = {kind for run in agent for kind in run.scores["grpo"].kinds}
    others = ("no_tools", "mark", "crop_unmarked", "crop")
    titles = ["kind", "n", "prior", *(LABELS[arm] for arm in others), "SFT", LABELS["both"], "found"]
    rows = []
    known = (*SEEKING_KINDS, *TOLD_KINDS)
    for kind in (*(kind for kind in known if kind in kinds), *sorted(kinds.difference(known))):
        asked = [run for run in agent if kind in run.scores["grpo"].kinds]
        sizes = [run.scores["grpo"].kinds[kind].tasks for run in asked]
        looked = [
            (sought.found, sought.episodes) for run in asked if (sought := run.scores["grpo"].seeking_by_kind.get(kind))
        ]
        cells = [
            _mean([(run.prior[1][kind], size) for run, size in zip(asked, sizes, strict=True)]),
            *(_of_kind(found[arm], "grpo", kind) for arm in others),
            *(_of_kind(agent, phase, kind) for phase in ("sft", "grpo")),
            _mean(looked),
        ]
        rows.append([f"`{kind}`", str(sum(sizes)), *map(percent, cells)])
    return table(titles, rows)


def _of_kind(runs: Sequence[Trained], phase: str, kind: str) -> float | None:
    """Accuracy over all questions of a kind, of all seeds together."""
    parts = [run.scores[phase].kinds[kind] for run in runs if kind in run.scores[phase].kinds]
    return _mean([(part.mean, part.tasks) for part in parts])


def _mean(parts: Sequence[tuple[float, int]]) -> float | None:
    """Mean of values by their weights."""
    return sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts) if parts else None


def _cost(demo: JsonObject) -> list[str]:
    speed = demo["tokens_per_s"]
    return [
        "## What one run costs",
        "",
        f"`make demo` (two arms, seed {demo['seed']}, and a question to the served agent): {demo['wall_s'] / 60:.1f} "
        f"minutes after the install, at most {demo['peak_rss_gib']:.1f} GiB of memory of all processes together; "
        f"{speed['rollout']:,.0f} tokens a second sampled in rollouts, {speed['learner']:,.0f} trained on. Seconds by "
        f"phase: {', '.join(f'{name} {seconds:.0f}' for name, seconds in demo['seconds_by_phase'].items())}.",
    ]
