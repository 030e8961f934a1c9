"""Held-out evaluation: a model plays the test tasks at temperature 0.

Invariant: a question that could not be played ends the evaluation with its cause. It is neither a wrong answer nor
left out of the denominator.
"""

from pathlib import Path

from actors.engine.supervision import Engines
from actors.rollout.groups import FailedEpisode, play_tasks
from configs import Config
from configs.policy import SamplingConfig
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory


class EvaluationError(RuntimeError):
    """The evaluation could not be finished, said in one sentence."""


def evaluate(config: Config, model_dir: str | Path, tasks: list[Task]) -> list[Trajectory]:
    """Start engines, play the first `eval.questions` tasks greedily, stop them; episodes in the tasks' order.

    Raises:
        EvaluationError: an episode could not be played.
        EngineError: no engine came up.
    """
    engines = Engines(config.engine, str(model_dir), config.seed)
    try:
        engines.wait()
        return evaluate_on(engines, config, model_dir, tasks)
    finally:
        engines.close()


def evaluate_on(engines: Engines, config: Config, model_dir: str | Path, tasks: list[Task]) -> list[Trajectory]:
    """The same, on engines that run and hold the policy to be measured; `model_dir` has its tokenizer and processor."""
    chosen = tasks[: config.eval.questions] if config.eval.questions else tasks
    chat = ChatFormat.from_pretrained(model_dir)
    chat.check(config.episode)
    greedy = SamplingConfig(temperature=0.0)
    played = play_tasks(chosen, config, chat, engines.handles, greedy, config.eval.episodes_in_flight)
    failures = [episode for episode in played if isinstance(episode, FailedEpisode)]
    if failures:
        raise EvaluationError(f"{len(failures)} of {len(played)} questions could not be played; {failures[0].error}")
    return [episode for episode in played if isinstance(episode, Trajectory)]
