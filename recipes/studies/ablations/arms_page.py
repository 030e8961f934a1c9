"""The page of a study whose arms differ in how the policy came about, from its figures. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from configs import Config
from configs.world import SEEKING_KINDS
from evals.score import Scores, accuracy_over
from recipes.studies.ablations.tables import MISSING, percent, points, spread, table


@dataclass(frozen=True)
class Arm:
    """What an arm is."""

    label: str
    """What the page calls it."""
    paper: float | None = None
    """Accuracy of its counterpart in the paper, percent."""


@dataclass(frozen=True)
class Study:
    """What is compared, and how it is told."""

    name: str
    """As `videoseeker ablate` knows it; the page is NAME.md."""
    title: str
    lead: str
    """What the arms have in common."""
    arms: Mapping[str, Arm]
    against: str
    """The arm that the others are compared with."""
    made_of: str = ""
    """What `ArmScores.made_of` counts: the head of its column; empty leaves it out."""


@dataclass(frozen=True)
class ArmScores:
    """What the held-out questions of one seed show of an arm."""

    seed: int
    scores: Scores
    right: Mapping[str, float]
    """Accuracy of each question, 0 to 1, by its id."""
    made_of: str = ""
    """What the arm was made of, in a word."""


def page(config: Config, study: Study, found: Mapping[str, Sequence[ArmScores]]) -> str:
    """The Markdown of what was found so far, by arm."""
    seeds = ",".join(map(str, config.ablation.seeds))
    accuracy = {name: [round(arm.scores.accuracy.mean, 4) for arm in arms] for name, arms in found.items()}
    lines = [
        f"# {study.title}",
        "",
        f"Made by `videoseeker ablate {study.name} configs/{config.name}.yaml ablation.seeds=[{seeds}]`. {study.lead} "
        f"{config.eval.questions or 'All'} held-out questions a seed, temperature 0, percent; means ± standard "
        "deviation over seeds, differences on the same questions with their 95 % interval. Seeking questions name "
        "what happens and not when; found is the share of episodes that saw all that is asked for.",
        "",
        *_outcomes(study, found),
        "",
        "## Seed by seed",
        "",
        *_by_seed(study, found),
        "",
        "```json",
        json.dumps({"accuracy": accuracy}),
        "```",
        "",
    ]
    return "\n".join(lines)


def _outcomes(study: Study, found: Mapping[str, Sequence[ArmScores]]) -> list[str]:
    reference = found.get(study.against, ())
    of_paper = study.arms[study.against].paper
    head = [
        "",
        *([study.made_of] if study.made_of else []),
        *("accuracy", f"against {study.arms[study.against].label}", "seeking questions", "found"),
        *("calls", "tokens", "seconds an episode", "parsed", "paper", "paper's difference"),
    ]
    rows = []
    for name, arm in study.arms.items():
        seen = found.get(name, ())
        if not seen:
            continue
        scores = [each.scores for each in seen]
        same = name == study.against
        differs = arm.paper is not None and of_paper is not None and not same
        rows.append(
            [
                arm.label,
                *([", ".join(each.made_of for each in seen)] if study.made_of else []),
                spread(each.accuracy.mean for each in scores),
                "" if same else _against(reference, seen),
                spread(accuracy_over(each, SEEKING_KINDS) for each in scores),
                spread(each.seeking.found if each.seeking else None for each in scores),
                f"{fmean(each.tool_calls for each in scores):.2f}",
                f"{fmean(each.response_tokens for each in scores):.0f}",
                f"{fmean(each.seconds for each in scores):.2f}",
                spread(each.parse_rate for each in scores),
                MISSING if arm.paper is None else f"{arm.paper:.1f}",
                f"{(arm.paper or 0) - (of_paper or 0):+.1f}" if differs else "" if same else MISSING,
            ]
        )
    return table(head, rows)


def _against(reference: Sequence[ArmScores], arms: Sequence[ArmScores]) -> str:
    """The difference on the same questions, over the seeds that both have."""
    theirs = {arm.seed: arm.right for arm in reference}
    differences = []
    for arm in arms:
        other = theirs.get(arm.seed, {})
        if both := sorted(arm.right.keys() & other.keys()):
            differences.append(np.array([arm.right[question] - other[question] for question in both]))
    return points(differences) if differences else MISSING


def _by_seed(study: Study, found: Mapping[str, Sequence[ArmScores]]) -> list[str]:
    shown = {name: {arm.seed: arm.scores.accuracy.mean for arm in arms} for name, arms in found.items() if arms}
    seeds = dict.fromkeys(seed for by_seed in shown.values() for seed in by_seed)
    rows = [[str(seed), *(percent(by_seed.get(seed)) for by_seed in shown.values())] for seed in seeds]
    return table(["seed", *(study.arms[name].label for name in shown)], rows)
