"""The page of the reward ablation, from its figures. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from configs import Config
from configs.episode import RewardConfig
from evals.score import Scores
from recipes.studies.ablations.tables import MISSING, percent, points, spread, table

LABELS = {
    "accuracy": "accuracy",
    "format": "+ format",
    "paper": "+ parsimony: the paper's",
    "gated": "+ parsimony of right answers alone",
    "own": "the config's own",
}
"""The arms, in the order of the page."""
AGAINST = "paper"
"""The arm that the others are compared with."""


@dataclass(frozen=True)
class RewardArm:
    """What GRPO with one reward made of the policy of one seed's cold start."""

    seed: int
    before: Scores
    """Held-out, after SFT."""
    after: Scores
    """Held-out, after GRPO."""
    gains: np.ndarray
    """[questions] what GRPO added to the accuracy of each held-out question, -1 to 1; the arms of a seed have the same
    questions in the same order."""


def page(config: Config, rewards: Mapping[str, RewardConfig], found: Mapping[str, Sequence[RewardArm]]) -> str:
    """The Markdown of what was found so far, by arm."""
    seeds = ",".join(map(str, config.ablation.seeds))
    steps = f"{config.grpo.steps} GRPO steps of {config.grpo.prompts_per_step} x {config.grpo.group_size} episodes"
    lines = [
        "# What each part of the reward is worth",
        "",
        f"Made by `videoseeker ablate reward configs/{config.name}.yaml ablation.seeds=[{seeds}]`: from one SFT a seed "
        f"{steps} with each reward, R = alpha R_acc + beta R_format + gamma R_par + delta R_evi; "
        f"{config.eval.questions or 'all'} held-out questions a seed, temperature 0, percent. Means ± standard "
        "deviation over seeds; what GRPO adds has its 95 % interval, and is compared with the paper's reward on the "
        "same questions. Found is the share of episodes that saw all that is asked for.",
        "",
        *_weights_table(rewards),
        "",
        *_outcomes_table(found),
        "",
        "## Seed by seed: after SFT, then after GRPO with each reward",
        "",
        *_seeds_table(found),
        "",
        "```json",
        json.dumps(
            {"accuracy": {name: [round(arm.after.accuracy.mean, 4) for arm in arms] for name, arms in found.items()}}
        ),
        "```",
        "",
    ]
    return "\n".join(lines)


def _weights_table(rewards: Mapping[str, RewardConfig]) -> list[str]:
    head = ["reward", "alpha", "beta", "gamma", "delta", "parsimony counts for"]
    rows = [
        [
            LABELS[name],
            *(f"{weight:g}" for weight in (reward.alpha, reward.beta, reward.gamma, reward.delta)),
            MISSING if not reward.gamma else "right answers" if reward.parsimony_needs_right else "all answers",
        ]
        for name, reward in rewards.items()
    ]
    return table(head, rows)


def _outcomes_table(found: Mapping[str, Sequence[RewardArm]]) -> list[str]:
    head = [
        *("reward", "seeds", "accuracy", "GRPO adds", "against the paper's", "found", "second look after a miss"),
        *("after a hit", "calls", "parsed"),
    ]
    rows = []
    for name, arms in found.items():
        if not arms:
            continue
        after = [arm.after for arm in arms]
        sought = [scores.seeking for scores in after if scores.seeking]
        rows.append(
            [
                LABELS[name],
                str(len(arms)),
                spread(scores.accuracy.mean for scores in after),
                points([arm.gains for arm in arms]),
                _against(found[AGAINST], arms) if name != AGAINST else "",
                spread(seek.found for seek in sought),
                spread(seek.again_after_miss for seek in sought),
                spread(seek.again_after_hit for seek in sought),
                f"{fmean(scores.tool_calls for scores in after):.2f}",
                f"{100 * fmean(scores.parse_rate for scores in after):.2f}",
            ]
        )
    return table(head, rows)


def _against(others: Sequence[RewardArm], arms: Sequence[RewardArm]) -> str:
    """The difference on the same questions, over the seeds that both have."""
    theirs = {arm.seed: arm.gains for arm in others}
    differences = [arm.gains - theirs[arm.seed] for arm in arms if arm.seed in theirs]
    return points(differences) if differences else MISSING


def _seeds_table(found: Mapping[str, Sequence[RewardArm]]) -> list[str]:
    seeds: dict[int, dict[str, RewardArm]] = {}
    for name, arms in found.items():
        for arm in arms:
            seeds.setdefault(arm.seed, {})[name] = arm
    rows = []
    for seed, by_name in seeds.items():
        before = next(iter(by_name.values())).before.accuracy.mean
        after = (by_name[name].after.accuracy.mean if name in by_name else None for name in found)
        rows.append([str(seed), *map(percent, (before, *after))])
    return table(["seed", "SFT", *(LABELS[name] for name in found)], rows)
