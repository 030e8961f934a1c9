"""The reward of an episode, R = alpha * R_acc + beta * R_format + gamma * R_par + delta * R_evi.

The first three parts are the paper's (section 3.3). Of the fourth it has none.
"""

from collections.abc import Callable

from configs.episode import RewardConfig
from configs.own_code import own_code
from env.judging.rules import judge
from env.task import Task
from env.trajectory import Rewards

RewardFunction = Callable[[RewardConfig, Task, str | None, bool, float, float], Rewards]
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
    config: RewardConfig, task: Task, answer: str | None, format_ok: bool, calls: float, evidence: float
) -> Rewards:
    """The reward and its parts.

    Args:
        answer: the parsed answer; None if the episode ended without one.
        format_ok: every turn was well formed and the episode ended with an answer.
        calls: N, the tool calls asked for, the refused ones included, each counted at its tool's cost.
        evidence: share of the stretches of the task's evidence that tools showed, 1 where it has none.
    """
    accuracy = judge(task, answer)
    form = float(format_ok)
    counts = accuracy > 0 or not config.parsimony_needs_right
    parsimony = max(0.0, 1.0 - config.parsimony_lambda * calls) if counts else 0.0
    total = config.alpha * accuracy + config.beta * form + config.gamma * parsimony + config.delta * evidence
    return Rewards(accuracy=accuracy, format=form, parsimony=parsimony, total=total)
