"""The reward of an episode, R = alpha * R_acc + beta * R_format + gamma * R_par + delta * R_evi.

The first three parts are the paper's (section 3.3). Of the fourth it has none.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

from configs.episode import EpisodeConfig, RewardConfig
from configs.own_code import own_code
from env.judging.judge import Judge
from env.judging.rules import certain
from env.task import Task
from env.trajectory import Rewards, ToolCallRecord, Trajectory
from tools.registry import cost_of

RewardFunction = Callable[[RewardConfig, Task, str | None, float, bool, float, float], Rewards]
"""What is called as `score` at the end of an episode."""


def reward_of(config: RewardConfig) -> RewardFunction:
    """The reward that the config names: `score`, or a function of your own.

    Raises:
        ConfigError: it cannot be imported.
    """
    if not config.function:
        return score
    function: RewardFunction = own_code("episode.reward.function", config.function)
    return function


def score(
    config: RewardConfig,
    task: Task,
    answer: str | None,
    accuracy: float,
    format_ok: bool,
    calls: float,
    evidence: float,
) -> Rewards:
    """The reward and its parts.

    Args:
        answer: the parsed answer; None if the episode ended without one.
        accuracy: R_acc, the judge's verdict on it, 0 to 1.
        format_ok: every turn was well formed and the episode ended with an answer.
        calls: N, the tool calls asked for, the refused ones included, each counted at its tool's cost.
        evidence: share of the stretches of the task's evidence that tools showed, 1 where it has none.
    """
    form = float(format_ok)
    counts = accuracy > 0 or not config.parsimony_needs_right
    parsimony = max(0.0, 1.0 - config.parsimony_lambda * calls) if counts else 0.0
    total = config.alpha * accuracy + config.beta * form + config.gamma * parsimony + config.delta * evidence
    return Rewards(accuracy=accuracy, format=form, parsimony=parsimony, total=total)


def at_end(
    config: EpisodeConfig,
    task: Task,
    answer: str | None,
    accuracy: float,
    format_ok: bool,
    calls: Sequence[ToolCallRecord],
    evidence: float,
) -> Rewards:
    """The reward of an episode that has ended, by the function that the config names; see `score`."""
    asked = sum(cost_of(call.name, config.tools) for call in calls)
    rewards = reward_of(config.reward)(config.reward, task, answer, accuracy, format_ok, asked, evidence)
    return dataclasses.replace(rewards, evidence=evidence)


async def judged(played: Trajectory, task: Task, config: EpisodeConfig, judge: Judge | None) -> Trajectory:
    """The episode with the judge's verdict on its answer where the rules are not certain of it. Raises JudgeError where
    there is none."""
    if judge is None or certain(task, played.answer) is not None:
        return played
    started = time.monotonic()
    verdict = await judge.verdict(task, played.answer)
    return dataclasses.replace(with_accuracy(played, task, config, verdict), judge_s=time.monotonic() - started)


def with_accuracy(played: Trajectory, task: Task, config: EpisodeConfig, accuracy: float) -> Trajectory:
    """The episode as it is rewarded with another R_acc."""
    format_ok = all(turn.parsed.well_formed for turn in played.turns)
    rewards = at_end(config, task, played.answer, accuracy, format_ok, played.calls, played.rewards.evidence)
    return dataclasses.replace(played, rewards=rewards)
