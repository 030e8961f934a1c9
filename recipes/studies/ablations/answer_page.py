"""The page of the answer ablation, from its figures. Pure."""

import json
from collections.abc import Sequence
from statistics import fmean

from configs import Config
from recipes.studies.ablations.tables import spread, table
from storage.files import JsonObject

FORMS = {"open": "open", "choice": "multiple choice"}
CURVES = {"reward": "reward", "accuracy": "R_acc", "tool_calls": "calls an episode"}
Report = JsonObject
"""Of one seed: `seed`, and by policy what `answer_ablation.examine` found by form; but for the start also `curve`."""


def page(config: Config, reports: Sequence[Report]) -> str:
    """The Markdown of the study, from one report a seed."""
    seeds = ",".join(str(seed) for seed in config.ablation.seeds)
    spread = " ± standard deviation" if len(reports) > 1 else ""
    rounded = json.loads(json.dumps(reports), parse_float=lambda text: round(float(text), 4))
    lines = [
        "# What guessing is worth",
        "",
        "The paper's Table 6: RL on multiple choice ends at 43.8 %, because guessing is rewarded; RL on open questions "
        "ends at 74.5 %. Here all arms begin with one policy and are trained on the same questions of the same films, "
        "asked openly or with options; the answer to a choice is an option's letter or its text.",
        "",
        f"Made by `videoseeker ablate answers configs/{config.name}.yaml ablation.seeds=[{seeds}]`: "
        f"{config.grpo.steps} GRPO steps of {config.grpo.prompts_per_step} x {config.grpo.group_size} episodes; "
        f"{config.eval.questions or 'all'} held-out questions, each asked openly and with up to "
        f"{max(config.ablation.options)} options, temperature 0. Means{spread} over seeds.",
        "",
        *_accuracy_table(config, reports),
        "",
        "Against GRPO on open questions, by seed in brackets:",
        "",
        *_differences(config, reports),
        "",
        "## Who looked",
        "",
        "Questions about a stretch of film that the first look shows nothing of. *Looked*: a crop reached into that "
        "stretch. *Right without*: accuracy of those who did not look. *Lucky*: share of the right answers that were "
        "given without having looked.",
        "",
        *_evidence_table(config, reports),
        "",
        "## Training curves, first and last steps",
        "",
        *_curve_table(config, reports),
        "",
        "```json",
        json.dumps({"answers": rounded}),
        "```",
        "",
    ]
    return "\n".join(lines)


def _policies(config: Config) -> dict[str, str]:
    """What the page calls the policies: the start, the arm on open questions, those on multiple choice."""
    choices = {f"choice{most}": f"GRPO on up to {most} options" for most in config.ablation.options}
    return {"start": "SFT, the start of all", "open": "GRPO on open questions", **choices}


def _accuracy_table(config: Config, reports: Sequence[Report]) -> list[str]:
    head = ["policy", "accuracy, open", "accuracy, multiple choice", "calls, open", "calls, multiple choice"]
    rows = [
        [
            label,
            *(spread([r[policy][form]["accuracy"] for r in reports]) for form in FORMS),
            *(spread([r[policy][form]["tool_calls"] for r in reports], times=1, digits=2) for form in FORMS),
        ]
        for policy, label in _policies(config).items()
    ]
    return table(head, rows)


def _differences(config: Config, reports: Sequence[Report]) -> list[str]:
    lines = []
    for arm, label in list(_policies(config).items())[2:]:
        told = []
        for form, name in FORMS.items():
            points = [100 * (r[arm][form]["accuracy"] - r["open"][form]["accuracy"]) for r in reports]
            told.append(f"{fmean(points):+.1f} points on {name} questions ({', '.join(f'{p:+.1f}' for p in points)})")
        lines.append(f"- {label}: {', '.join(told)}.")
    return lines


def _evidence_table(config: Config, reports: Sequence[Report]) -> list[str]:
    head = ["policy", "asked as", "looked", "right after a look", "right without", "lucky"]
    parts = ("looked", "right_if_looked", "right_if_not", "lucky")
    rows = [
        [label, name, *(spread([r[policy][form][part] for r in reports]) for part in parts)]
        for policy, label in _policies(config).items()
        for form, name in FORMS.items()
    ]
    return table(head, rows)


def _curve_table(config: Config, reports: Sequence[Report]) -> list[str]:
    rows = []
    for arm, label in list(_policies(config).items())[1:]:
        ends = (
            (spread([r[arm]["curve"][name][end] for r in reports], times=1, digits=2) for end in (0, 1))
            for name in CURVES
        )
        rows.append([label, *map(" → ".join, ends)])
    return table(["arm", *CURVES.values()], rows)
