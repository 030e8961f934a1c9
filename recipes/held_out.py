"""Held-out questions asked while a policy is trained.

Invariant: a look at them changes nothing of the training; one that a question does not let end is a warning and no
figure. Engines and env runners that fail in it are mended as they are in training.
"""

import logging
import math
from pathlib import Path

from configs import Config
from env.task import TaskFile
from env.trajectory import stream_trajectories
from evals.evaluate import EvaluationError, evaluate_on
from evals.score import score
from learner.algorithm import GRPO
from recipes.folder import RunFolder

_log = logging.getLogger(__name__)
PREFIX = "eval_"


class HeldOut:
    """Asks the first `eval.questions_during` held-out questions every `eval.every` training steps, on the run's own
    engines. The episodes are in `episodes/step-NNNNNN.jsonl`."""

    def __init__(self, config: Config, algorithm: GRPO, folder: RunFolder) -> None:
        self._config, self._algorithm, self._folder = config, algorithm, folder

    def figures(self, step: int) -> dict[str, float]:
        """The scores after a step, their names beginning with `eval_`; of the last step, and where none is due, none:
        the last step's policy is asked all questions."""
        every = self._config.eval.every
        if not every or step % every or step == self._config.grpo.steps:
            return {}
        out = self.file(step)
        for old in out.parent.glob(f"{out.name}*"):  # of a step that was taken before, and is taken again
            old.unlink()
        tasks = TaskFile(self._folder.test)[: self._config.eval.questions_during]
        try:
            version, players = self._algorithm.version, self._algorithm.players()
            evaluate_on(players, version, self._config, self._folder.sft, tasks, out)
        except EvaluationError as error:
            _log.warning("step %d: the held-out questions could not be asked (%s)", step, error)
            return {}
        scores = score(stream_trajectories(out), seed=self._config.seed)
        figures = {"accuracy": scores.accuracy.mean, "reward": scores.reward, "tool_calls": scores.tool_calls}
        if scores.seeking is not None:
            figures["found"] = scores.seeking.found
        return {f"{PREFIX}{name}": value for name, value in figures.items()}

    def file(self, step: int) -> Path:
        """Where the episodes of a step are."""
        return self._folder.episodes(f"step-{step:06d}")


def observed(metrics: dict[str, float], metric: str) -> dict[str, float]:
    """Metrics as the best checkpoint is chosen by: a held-out figure is not a number where none was taken."""
    name = metric.removeprefix("-")
    return {name: math.nan, **metrics} if name.startswith(PREFIX) else metrics
